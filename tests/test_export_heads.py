"""Heads that score texts, tag words and answer questions export, and serve what PyTorch answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from small_models import word_tokenizer
from test_export_teachers import make_teacher
from transformers import PreTrainedTokenizerFast, pipeline

from bertcompress.errors import DataError, ExportError, VerificationError
from bertcompress.export.calibration import random_calibration
from bertcompress.export.folder import ExportRows, export_folder
from bertcompress.export.heads import SEQUENCE, SPAN, TOKEN, Head, choices, same_answers, stacked
from bertcompress.export.precisions import PRECISIONS
from bertcompress.export.runtime import OnnxClassifier
from bertcompress.export.runtime_tokens import OnnxQuestionAnswerer, OnnxTokenClassifier, join_labels
from bertcompress.export.teachers import AUTO_CLASSES
from bertcompress.export.verify import feed_logits, reference_of
from bertcompress.export.weight_only import BLOCKED
from bertcompress.export.weights import QUANTIZED, check_weights
from bertcompress.sources.limits import input_limits

TAGS = ("O", "B-film", "I-film")
# More words than the models have positions.
LONG = "good film a very bad film and so " * 12


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return word_tokenizer(second_segment=0)


@pytest.fixture(scope="module", params=["bert", "distilbert"])
def folders(
    request: pytest.FixtureRequest,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[Head, Path]:
    """A model of every head, exported in every precision."""
    found = {}
    for head, names in ((SEQUENCE, ("a", "b", "c")), (TOKEN, TAGS), (SPAN, ("start", "end"))):
        found[head] = tmp_path_factory.mktemp(head.task)
        teacher = make_teacher(request.param, head)
        limits = input_limits(teacher.config.to_dict())
        rows = ExportRows(calibration=random_calibration(limits.vocab_size, limits.max_length))
        export_folder(teacher, tokenizer, names, found[head], precisions=tuple(PRECISIONS), rows=rows)
    return found


def pytorch(folder: Path, head: Head, *texts: str) -> Any:
    """PyTorch's output on a text or a pair, by the class that the folder's own weights load into."""
    rows = word_tokenizer(second_segment=0)(*texts, return_tensors="pt")
    model = AUTO_CLASSES[head].from_pretrained(folder).eval()
    if model.config.model_type == "distilbert":
        rows.pop("token_type_ids", None)
    with torch.no_grad():
        return model(**rows)


def test_every_file_has_the_outputs_of_its_head(folders: dict[Head, Path]) -> None:
    for head, folder in folders.items():
        for file in [precision.file_name for precision in PRECISIONS.values()]:
            graph = onnx.load(folder / file).graph
            assert tuple(output.name for output in graph.output) == head.outputs
        card = (folder / "README.md").read_text(encoding="utf-8")
        assert f"pipeline_tag: {head.task}\n" in card
        assert f"AutoModel{head.class_suffix}.from_pretrained(" in card
        assert f"ORTModel{head.class_suffix}.from_pretrained(" in card


@pytest.mark.parametrize("precision", ["int8", "int8_static", "int8_weights", "int4_weights"])
def test_the_head_stays_in_fp32(folders: dict[Head, Path], precision: str) -> None:
    for head, folder in folders.items():
        model = AUTO_CLASSES[head].from_pretrained(folder)
        found = check_weights(folder / PRECISIONS[precision].file_name, model, precision=precision).matched
        narrowed = {name for key, name in found.items() if key.endswith((QUANTIZED, *BLOCKED)) and name}
        assert len(narrowed) > 10
        assert not [name for name in narrowed if "classifier" in name or "qa_outputs" in name]


def test_tags_are_those_of_pytorch(folders: dict[Head, Path]) -> None:
    sentence = ["good", "film", "a", "very", "bad", "film"]
    logits = pytorch(folders[TOKEN], TOKEN, " ".join(sentence)).logits[0, 1:-1]  # [CLS] and [SEP] aside
    tagger = OnnxTokenClassifier(folders[TOKEN])
    (found,) = tagger.tag([sentence])
    assert [word["label"] for word in found] == [TAGS[index] for index in logits.argmax(-1)]
    expected = logits.softmax(-1).amax(-1).tolist()
    assert [word["score"] for word in found] == pytest.approx(expected, abs=1e-5)


def test_entities_are_those_of_the_pipeline(
    folders: dict[Head, Path], tokenizer: PreTrainedTokenizerFast
) -> None:
    texts = ["good film a very bad film", "so good", "a film and a very very bad film so good"]
    model = AUTO_CLASSES[TOKEN].from_pretrained(folders[TOKEN])
    theirs = pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="first")
    found = OnnxTokenClassifier(folders[TOKEN]).entities(texts)
    for text, ours, expected in zip(texts, found, theirs(texts), strict=True):
        assert [(each["label"], each["start"], each["end"]) for each in ours] == [
            (each["entity_group"], each["start"], each["end"]) for each in expected
        ]
        assert [each["score"] for each in ours] == pytest.approx(
            [float(e["score"]) for e in expected], abs=1e-5
        )
        assert [each["text"] for each in ours] == [text[each["start"] : each["end"]] for each in ours]
    assert any(found)


def test_a_long_text_is_read_in_windows(folders: dict[Head, Path]) -> None:
    tagger, words = OnnxTokenClassifier(folders[TOKEN]), LONG.split()
    (tags,) = tagger.tag([words])
    assert len(tags) == len(words) > tagger.max_length
    # Up to where the second window knows more about a word, the first one alone has told its label.
    (alone,) = tagger.tag([words[: tagger.max_length - 2]])
    assert [tag["label"] for tag in tags[:30]] == [tag["label"] for tag in alone[:30]]
    assert [tag["score"] for tag in tags[:30]] == pytest.approx(
        [tag["score"] for tag in alone[:30]], abs=1e-5
    )
    reader = OnnxQuestionAnswerer(folders[SPAN])
    (answer,) = reader.answer([("good film", LONG)])
    assert answer["text"] == LONG[answer["start"] : answer["end"]] != ""


@pytest.mark.parametrize("longest", [1, 3, 30])
def test_an_answer_is_the_likeliest_span(folders: dict[Head, Path], longest: int) -> None:
    question, text = "a good film", "so very bad and a good film and very good"
    output = pytorch(folders[SPAN], SPAN, question, text)
    first = 3 + 2  # of the text's tokens, after [CLS], the question and [SEP]
    kept = [0, *range(first, first + len(text.split()))]
    starts, ends = (
        logits[0, kept].softmax(-1).numpy() for logits in (output.start_logits, output.end_logits)
    )
    spans = {
        (a, b): float(starts[a] * ends[b])
        for a in range(1, len(kept))
        for b in range(a, min(a + longest, len(kept)))
    }
    a, b = max(spans, key=spans.__getitem__)
    reader = OnnxQuestionAnswerer(folders[SPAN])
    (found,) = reader.answer([(question, text)], max_answer_tokens=longest)
    assert found["text"] == " ".join(text.split()[a - 1 : b])
    assert found["score"] == pytest.approx(spans[a, b], abs=1e-5)
    (empty,) = reader.answer([(question, text)], max_answer_tokens=longest, may_be_empty=True)
    no_answer = float(starts[0] * ends[0])
    assert empty["text"] == ("" if no_answer > spans[a, b] else found["text"])


@pytest.mark.parametrize(("problem", "score"), [("regression", 1.0), ("multi_label_classification", 0.5)])
def test_numbers_and_several_labels(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, problem: str, score: float
) -> None:
    names = ("stars",) if problem == "regression" else ("sad", "long")
    teacher = make_teacher("bert", num_labels=len(names), problem_type=problem)
    record = export_folder(teacher, tokenizer, names, tmp_path)
    assert record["precisions"]["fp32"]["agreement"] == 1.0
    logits = pytorch(tmp_path, SEQUENCE, "a good film").logits[0]
    expected = logits[0] if problem == "regression" else logits.sigmoid().max()
    (found,) = OnnxClassifier(tmp_path).classify(["a good film"])
    assert found == {"label": names[int(logits.argmax())], "score": pytest.approx(float(expected), abs=1e-5)}


def test_a_folder_is_opened_by_the_class_of_its_head(folders: dict[Head, Path]) -> None:
    with pytest.raises(
        ExportError, match="holds a token classifier; OnnxClassifier serves a text classifier"
    ):
        OnnxClassifier(folders[TOKEN])
    with pytest.raises(ExportError, match="holds a text classifier; OnnxQuestionAnswerer serves"):
        OnnxQuestionAnswerer(folders[SEQUENCE])


@pytest.mark.parametrize("sentences", [["good film"], [["good", " "]], [[3]]])
def test_sentences_have_to_be_lists_of_words(folders: dict[Head, Path], sentences: Sequence[Any]) -> None:
    with pytest.raises(DataError, match="give a list of words"):
        OnnxTokenClassifier(folders[TOKEN]).tag(sentences)


@pytest.mark.parametrize("texts", ["good film", ["good", " "], [None]])
def test_texts_have_to_be_a_list(folders: dict[Head, Path], texts: Any) -> None:
    with pytest.raises(DataError, match=r"put it in a list|is blank or no text"):
        OnnxTokenClassifier(folders[TOKEN]).entities(texts)


@pytest.mark.parametrize(
    ("pair", "message"),
    [("good", "no pair"), (("good", " "), "blank"), ((LONG, "a film"), "tokens; at most 27 leave room")],
)
def test_questions_have_to_be_answerable(folders: dict[Head, Path], pair: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        OnnxQuestionAnswerer(folders[SPAN]).answer([pair])


def test_labels_are_joined_by_their_prefixes() -> None:
    labels = ["B-work-of-art", "I-work-of-art", "B-work-of-art", "O", "I-x", "I-y", "z", "z"]
    runs = [(kind, len(run)) for kind, run in join_labels([{"label": label} for label in labels])]
    assert runs == [("work-of-art", 2), ("work-of-art", 1), ("x", 1), ("y", 1), ("z", 2)]


def test_padded_tokens_are_never_judged() -> None:
    mask = np.array([[1, 1, 0], [1, 1, 1]])
    logits = np.arange(12.0).reshape(2, 3, 2)
    assert choices(logits, mask, TOKEN).tolist() == [[0, 1], [2, 3], [6, 7], [8, 9], [10, 11]]
    spans = choices(logits, mask, SPAN)
    assert spans.argmax(-1).tolist() == [1, 1, 2, 2]
    assert stacked([spans, np.zeros((1, 5))]).shape == (5, 5)
    np.testing.assert_array_equal(choices(logits[0], mask, SEQUENCE), logits[0])


def test_numbers_are_the_same_when_they_are_near() -> None:
    stars = np.array([[1.0], [3.0], [5.0]])
    assert same_answers(stars + np.array([[0.1], [0.3], [-0.1]]), stars).tolist() == [True, False, True]
    labels = np.array([[-9.0, 1.0], [-8.0, 2.0], [-7.0, 3.0]])
    off = labels + np.array([[0.05, 0.0], [0.0, 0.5], [0.0, 0.0]])
    assert same_answers(off, labels).all()
    assert same_answers(off, labels, numbers=True).tolist() == [True, False, True]
    assert same_answers(np.array([[1.0, 2.0]]), np.array([[2.0, 1.0]])).tolist() == [False]


def test_batches_of_different_lengths_are_judged_together(folders: dict[Head, Path]) -> None:
    feeds = [
        {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        for ids in (np.full((2, 4), 5), np.full((1, 7), 6))
    ]
    shapes = {
        head.task: feed_logits(folder / PRECISIONS["fp32"].file_name, feeds).shape
        for head, folder in folders.items()
    }
    assert shapes == {SEQUENCE.task: (3, 3), TOKEN.task: (15, 3), SPAN.task: (6, 7)}


def test_a_file_or_model_of_no_known_head_is_refused(folders: dict[Head, Path], tmp_path: Path) -> None:
    proto = onnx.load(folders[SEQUENCE] / PRECISIONS["fp32"].file_name)
    proto.graph.output[0].name = "scores"
    next(node for node in proto.graph.node if "logits" in node.output).output[0] = "scores"
    onnx.save(proto, tmp_path / "model.onnx")
    with pytest.raises(VerificationError, match="gives scores of rank 2; known are logits of rank 2; logits"):
        feed_logits(tmp_path / "model.onnx", [])
    with pytest.raises(VerificationError, match="BertModel: has no known head"):
        reference_of(make_teacher("bert").bert)
