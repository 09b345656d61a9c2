"""A checkpoint is loaded whole or refused with its cause, alike for export-model and a recipe's teacher."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import (
    WEIGHTS,
    Weights,
    beside,
    change_weights,
    in_type,
    renamed,
    save_classifier,
    save_recipe,
    with_value,
    without,
)
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from small_models import compact_model
from transformers import (
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)
from typer.testing import CliRunner

from bertcompress.cli.app import app
from bertcompress.cli.options import EXIT_REFUSED
from bertcompress.errors import TeacherError
from bertcompress.export.teachers import load_model
from bertcompress.pipeline import run_recipe
from bertcompress.recipe import load_recipe
from bertcompress.sources.checkpoint import label_names_of, read_config
from bertcompress.training.loop import seeded
from bertcompress.training.teacher import load_teacher

LABELS = ("negative", "positive")
LOADERS: dict[str, Callable[[str], Any]] = {
    "export-model": load_model,
    "teacher": lambda location: load_teacher(location, LABELS),
}


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """The folder of a small fine-tuned BERT with its tokenizer."""
    return save_classifier(tmp_path / "classifier")


@pytest.fixture(params=LOADERS)
def load(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """Each of the ways by which a user's checkpoint comes in."""
    return LOADERS[request.param]


def configure(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


QUERY = "bert.encoder.layer.0.attention.self.query.weight"
# What is wrong: how the tensors are changed, and the cause that the message has to name.
BROKEN: dict[str, tuple[Callable[[Weights], Any], str]] = {
    "DataParallel": (renamed("module."), r'named "module\.\*".*save model\.module'),
    "torch.compile": (renamed("_orig_mod."), r'named "_orig_mod\.\*".*torch\.compile'),
    "a wrapper of one's own": (renamed("backbone."), r'named "backbone\.\*".*save the model inside'),
    "peft": (renamed("base_model.model."), "merge_and_unload"),
    "an adapter": (beside(bert__encoder__lora_A=torch.ones(2, 2)), "adapters that are not merged"),
    "scales": (beside(bert__pooler__dense__SCB=torch.ones(2)), "quantized weights"),
    "8 bits": (in_type(torch.int8), "of type I8: quantized weights"),
    "8 bits of a float": (in_type(torch.float8_e4m3fn), "of type F8_E4M3: quantized weights"),
    "no head": (without("classifier.weight", "classifier.bias"), "an encoder without its head"),
    "no pooler": (without("pooler.dense.weight", "pooler.dense.bias"), "an encoder without its head"),
    "half a head": (without("classifier.bias"), "missing: 1 tensor: classifier.bias"),
    "another head": (
        lambda weights: beside(qa_outputs__weight=torch.ones(2, 32))(without("classifier.weight")(weights)),
        "the head qa_outputs of another task",
    ),
    "one head too many": (beside(qa_outputs__weight=torch.ones(2, 32)), "give a checkpoint with one head"),
    "a layer too many": (beside(bert__encoder__layer__2__x=torch.ones(1)), "stores 3 layers .* says .* 2"),
    "a layer too few": (
        lambda weights: {name: each for name, each in weights.items() if "layer.1." not in name},
        "stores 1 layers .* says num_hidden_layers 2",
    ),
    "a stray tensor": (beside(temperature=torch.ones(1)), "of no use to the model: 1 tensor: temperature"),
    "NaN": (with_value(QUERY, float("nan")), f"NaN or infinity in 1 tensor: {QUERY}"),
    "infinity": (with_value("classifier.bias", float("-inf")), "NaN or infinity in 1 tensor"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_not_loaded_whole_is_refused_with_its_cause(
    broken: str, classifier: Path, load: Callable[[str], Any]
) -> None:
    """Sources: unslothai/unsloth-zoo pull request 1087 (a merge without its head), nyu-mll/jiant 714 (layer
    norms left as drawn), rasbt/LLMs-from-scratch 580 (_orig_mod), ermongroup/TEOChat 16 (random weights).
    """
    change, cause = BROKEN[broken]
    change_weights(classifier, change)
    with pytest.raises(TeacherError, match=cause):
        load(str(classifier))


def test_at_most_five_tensors_are_named(classifier: Path, load: Callable[[str], Any]) -> None:
    change_weights(classifier, renamed("module."))
    with pytest.raises(TeacherError, match=r"missing: 41 tensors: (\S+, ){4}\S+ and 36 more") as caught:
        load(str(classifier))
    assert "stored, but of no use to the model: 41 tensors: module.bert." in str(caught.value)


@pytest.mark.parametrize("folder_holds", ["adapter_config.json", "a cut file", "a pointer", "no weights"])
def test_files_that_hold_no_weights_are_refused(
    classifier: Path, load: Callable[[str], Any], folder_holds: str
) -> None:
    weights = classifier / WEIGHTS
    match folder_holds:
        case "adapter_config.json":
            (classifier / folder_holds).write_text('{"peft_type": "LORA"}', encoding="utf-8")
        case "a cut file":
            weights.write_bytes(weights.read_bytes()[:2000])
        case "a pointer":
            weights.write_text("version https://git-lfs.github.com/spec/v1\n", encoding="utf-8")
        case "no weights":
            weights.rename(classifier / "adapter_model.safetensors")
    with pytest.raises(TeacherError, match=r"cannot be loaded|merge it with peft"):
        load(str(classifier))


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        (
            {"vocab_size": 99},
            r"is \(10, 32\), not \(99, 32\)(.|\n)*vocab_size in config.json is another model's",
        ),
        ({"max_position_embeddings": 64}, "max_position_embeddings in config.json"),
        ({"intermediate_size": 48}, "of another shape than its config says: 6 tensors"),
        ({"num_attention_heads": 5}, "cannot be loaded"),
        (
            {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
            "quantization_config",
        ),
    ],
)
def test_a_config_of_another_model_is_refused(
    classifier: Path, load: Callable[[str], Any], values: dict[str, Any], cause: str
) -> None:
    configure(classifier, **values)
    with pytest.raises(TeacherError, match=cause):
        load(str(classifier))


def test_labels_beside_the_head_are_refused(classifier: Path) -> None:
    configure(classifier, id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2})
    with pytest.raises(TeacherError, match=r"id2label or num_labels in config\.json is not of this head"):
        load_model(str(classifier))
    with pytest.raises(TeacherError, match="id2label"):
        load_teacher(str(classifier), LABELS)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"0": "a", "2": "b"}, r"numbers \[0, 2\]"),
        ({"0": "a", "1": "a"}, "names a twice"),
        ({"0": "a", "1": None}, "a label without a name"),
    ],
)
def test_labels_that_are_no_list_are_refused(
    classifier: Path, labels: dict[str, str | None], message: str
) -> None:
    configure(classifier, id2label=labels)
    with pytest.raises(TeacherError, match=message):
        label_names_of(read_config(str(classifier), "model"))


def test_a_config_that_claims_two_heads_is_refused(classifier: Path) -> None:
    configure(classifier, architectures=["BertForSequenceClassification", "BertForTokenClassification"])
    with pytest.raises(TeacherError, match="name one class in a list"):
        load_model(str(classifier))


def test_labels_that_are_numbers_become_text(classifier: Path) -> None:
    configure(classifier, id2label={"0": 1, "1": 2}, label2id=None)
    assert label_names_of(read_config(str(classifier), "model")) == ["1", "2"]


@pytest.mark.parametrize(
    "change",
    [
        in_type(torch.bfloat16),
        in_type(torch.float16),
        beside(bert__embeddings__position_ids=torch.arange(40)[None]),
        beside(cls__predictions__bias=torch.ones(10)),
        lambda weights: {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            ): each
            for name, each in weights.items()
        },
    ],
    ids=["bf16", "fp16", "counted positions", "a pretraining head", "gamma and beta"],
)
def test_what_does_not_matter_is_loaded(
    classifier: Path, load: Callable[[str], Any], change: Callable[[Weights], Any]
) -> None:
    """What an older or smaller checkpoint looks like is no fault of it (huggingface/transformers 11809)."""
    expected = load_file(classifier / WEIGHTS)[QUERY]
    change_weights(classifier, change)
    found = load(str(classifier)).state_dict()[QUERY]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)


def test_shards_are_loaded_and_a_lost_one_is_refused(classifier: Path, load: Callable[[str], Any]) -> None:
    whole = load_file(classifier / WEIGHTS)
    model = BertForSequenceClassification.from_pretrained(classifier)
    (classifier / WEIGHTS).unlink()
    model.save_pretrained(classifier, max_shard_size="20KB")
    torch.testing.assert_close(dict(load(str(classifier)).state_dict()), whole, rtol=0, atol=0)
    sorted(classifier.glob("model-*.safetensors"))[1].unlink()
    with pytest.raises(TeacherError, match="cannot be loaded"):
        load(str(classifier))


def test_loaded_weights_are_those_of_the_file_for_our_own_class_too(tmp_path: Path) -> None:
    """A clean loading report does not prove it: classes of one's own were drawn anew after loading
    (huggingface/transformers 46620).
    """
    model = compact_model()
    model.save_pretrained(tmp_path)
    loaded = load_model(str(tmp_path))
    torch.testing.assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)
    change_weights(tmp_path, renamed("module."))
    with pytest.raises(TeacherError, match="not a whole CompactBertForSequenceClassification"):
        load_model(str(tmp_path))


@pytest.mark.parametrize("parent", [BertModel, BertForMaskedLM, BertForTokenClassification])
def test_a_teacher_without_this_head_gets_a_new_one(classifier: Path, parent: Any) -> None:
    source = BertForSequenceClassification.from_pretrained(classifier)
    other = parent(source.config)
    (other if parent is BertModel else other.bert).load_state_dict(source.bert.state_dict(), strict=False)
    other.save_pretrained(classifier)
    with seeded(0):
        first = load_teacher(str(classifier), LABELS)
    with seeded(1):
        second = load_teacher(str(classifier), LABELS)
    assert torch.equal(first.state_dict()[QUERY], source.state_dict()[QUERY])
    assert not torch.equal(first.classifier.weight, second.classifier.weight)


def test_another_head_under_the_same_name_is_not_taken_for_this_one(classifier: Path) -> None:
    config = read_config(str(classifier), "model")
    other = BertForTokenClassification(config)
    other.save_pretrained(classifier)
    with seeded(0):
        teacher = load_teacher(str(classifier), LABELS)
    assert not torch.equal(teacher.classifier.weight, other.classifier.weight)
    BertForNextSentencePrediction(config).save_pretrained(classifier)
    load_teacher(str(classifier), LABELS)


def test_a_stored_head_that_the_config_does_not_claim_is_refused(classifier: Path) -> None:
    configure(classifier, architectures=["BertModel"])
    with pytest.raises(TeacherError, match="stores a classifier, and its config claims none"):
        load_teacher(str(classifier), LABELS)


@pytest.mark.parametrize("lost", ["bert.pooler.dense.bias", "bert.embeddings.LayerNorm.weight"])
def test_an_encoder_lacks_nothing_but_the_whole_head(classifier: Path, lost: str) -> None:
    BertModel(read_config(str(classifier), "model")).save_pretrained(classifier)
    change_weights(classifier, without(lost.removeprefix("bert.")))
    with pytest.raises(TeacherError, match=f"missing: 1 tensor: {lost}"):
        load_teacher(str(classifier), LABELS)


def test_a_teacher_of_several_labels_a_text_is_refused(classifier: Path) -> None:
    configure(classifier, problem_type="multi_label_classification")
    with pytest.raises(TeacherError, match="problem_type is multi_label_classification"):
        load_teacher(str(classifier), LABELS)


def broken_once(weights: Weights, draw: st.DrawFn) -> Weights:
    """One tensor removed, renamed, cut, widened or made partly NaN or infinite."""
    name = draw(st.sampled_from(sorted(weights)))
    tensor = weights.pop(name)
    match draw(
        st.sampled_from(["removed", "renamed", "cut", "wider", "flat", "not finite", "whole numbers"])
    ):
        case "renamed":
            part, ending = name.rsplit(".", 1)
            weights[draw(st.sampled_from([f"{name}_", f"x.{name}", f"{part}.0.{ending}", name.upper()]))] = (
                tensor
            )
        case "cut":
            weights[name] = tensor[: len(tensor) - 1]
        case "wider":
            weights[name] = torch.cat([tensor, tensor])
        case "flat":
            weights[name] = tensor[None]
        case "not finite":
            place = draw(st.integers(0, tensor.numel() - 1))
            tensor.view(-1)[place] = draw(st.sampled_from([float("nan"), float("inf"), float("-inf")]))
            weights[name] = tensor
        case "whole numbers":
            weights[name] = tensor.to(draw(st.sampled_from([torch.int8, torch.uint8, torch.int64])))
    return weights


@given(data=st.data(), headless=st.booleans())
def test_a_checkpoint_with_any_one_tensor_broken_is_refused_by_every_command(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, headless: bool
) -> None:
    """More examples: pytest --hypothesis-profile many."""
    folder = tmp_path_factory.mktemp("broken")
    recipe, teacher, out = save_recipe(folder), folder / "teacher", folder / "out"
    if headless:
        BertForSequenceClassification.from_pretrained(teacher).bert.save_pretrained(teacher)
    change_weights(teacher, lambda weights: broken_once(weights, data.draw))
    for command in (["export-model", teacher, out], ["validate", recipe]):
        done = CliRunner().invoke(app, [str(word) for word in command])
        assert done.exit_code == EXIT_REFUSED, done.output
        assert done.stderr.startswith("TeacherError: ")
    with pytest.raises(TeacherError):
        run_recipe(load_recipe(recipe), folder / "run", "teacher")
    assert not out.exists()
    assert not (folder / "run").exists()
    shutil.rmtree(folder)
