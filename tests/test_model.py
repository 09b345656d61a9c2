"""The compact model: counted is built, BERT is a chain, padding is invisible, and Hugging Face loads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
)

from bertcompress.errors import TeacherError
from bertcompress.model import (
    CompactBertConfig,
    CompactBertForSequenceClassification,
    as_stock_bert,
    bert_architecture,
    build_operator,
    compact_from_bert,
    stock_obstacles,
)
from bertcompress.space import IDENTITY, Architecture, Dimensions, Operator, Pooling

Batch = Callable[..., dict[str, Tensor]]
NAMES = ("mha1", "mha2", "mha4", "ffn16", "ffn64", "conv1", "conv3", "conv5", "identity")
CHAIN = ("mha2", "conv5", "ffn16", "conv3")


def roughen(model: torch.nn.Module, seed: int = 1) -> None:
    """Weights large enough that a wrong connection moves the logits far beyond rounding."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.2)


def build(
    names: Sequence[str], pooling: Pooling = "mean", *, embedding_size: int = 32, num_labels: int = 3
) -> CompactBertForSequenceClassification:
    dimensions = Dimensions(97, 32, embedding_size, 8, num_labels, pooling, max_position_embeddings=48)
    architecture = Architecture(dimensions, tuple(Operator.parse(name) for name in names))
    model = CompactBertForSequenceClassification(CompactBertConfig.from_architecture(architecture)).eval()
    roughen(model)
    return model


@given(
    st.lists(st.sampled_from(NAMES), max_size=6),
    st.sampled_from(["cls", "mean", "mean_max"]),
    st.sampled_from([8, 31, 32]),
    st.integers(1, 5),
)
@settings(max_examples=30, deadline=None)
def test_counted_parameters_are_built(
    names: list[str], pooling: Pooling, embedding_size: int, num_labels: int
) -> None:
    model = build(names, pooling, embedding_size=embedding_size, num_labels=num_labels)
    assert sum(weight.numel() for weight in model.parameters()) == model.architecture.num_parameters
    parts = {"embeddings": model.embeddings, "encoder": model.chain, "head": model.head}
    built = {name: sum(weight.numel() for weight in part.parameters()) for name, part in parts.items()}
    assert built == model.architecture.parameter_breakdown()


@given(
    st.lists(st.sampled_from(NAMES), max_size=6),
    st.sampled_from(["cls", "mean", "mean_max"]),
    st.integers(1, 9),
)
@settings(max_examples=60, deadline=None)
def test_what_the_head_never_reads_is_not_computed(names: list[str], pooling: Pooling, length: int) -> None:
    model = build(names, pooling)
    ids = torch.randint(1, 97, (2, length))
    mask = torch.ones_like(ids)
    mask[0, length // 2 + 1 :] = 0
    # Hidden states are of all tokens.
    whole = model(ids, attention_mask=mask, output_hidden_states=True)
    assert all(state.shape == (2, length, 32) for state in whole.hidden_states)
    torch.testing.assert_close(model(ids, attention_mask=mask).logits, whole.logits, rtol=1e-5, atol=1e-5)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(ids, attention_mask=mask)
    assert counter.get_total_flops() == 2 * model.architecture.macs(length, batch_size=2)


def test_bert_is_a_chain(tiny_bert: BertForSequenceClassification, padded_batch: Batch) -> None:
    roughen(tiny_bert)
    batch = padded_batch([11, 4, 1])
    ours = compact_from_bert(tiny_bert)(**batch, output_hidden_states=True)
    theirs = tiny_bert(**batch, output_hidden_states=True)
    torch.testing.assert_close(ours.logits, theirs.logits, rtol=0, atol=1e-5)
    kept = batch["attention_mask"].bool()
    # Hugging Face gives a state a layer, the chain one an operator.
    for mine, yours in zip(ours.hidden_states[::2], theirs.hidden_states, strict=True):
        torch.testing.assert_close(mine[kept], yours[kept], rtol=0, atol=1e-5)


def test_an_expressible_chain_goes_back_to_bert(
    tiny_bert: BertForSequenceClassification, padded_batch: Batch
) -> None:
    tiny_bert.config.id2label = {0: "bad", 1: "good"}
    again = as_stock_bert(compact_from_bert(tiny_bert))
    assert again is not None
    assert again.config.id2label == {0: "bad", 1: "good"}
    assert again.state_dict().keys() == tiny_bert.state_dict().keys()
    batch = padded_batch([7, 3])
    torch.testing.assert_close(again(**batch).logits, tiny_bert(**batch).logits, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("names", "changes", "obstacles"),
    [
        ((), {}, ["do not alternate"]),
        (("mha4",), {}, ["do not alternate"]),
        (("mha4", "conv3"), {}, ["do not alternate"]),
        (("ffn64", "mha4"), {}, ["do not alternate"]),
        (("mha2", "ffn64"), {}, ["2 heads of 8 do not fill the hidden size of 32"]),
        (("mha4", "ffn64", "mha4", "ffn16"), {}, ["layers differ in size"]),
        (("mha4", "ffn64"), {"embedding_size": 8}, ["factorized, 8 for 32"]),
        (("mha4", "ffn64"), {"pooling": "mean"}, ["pools by mean"]),
        (("mha2",), {"pooling": "mean"}, ["do not alternate", "2 heads", "pools by mean"]),
    ],
)
def test_other_chains_are_no_stock_bert_and_it_is_said_why(
    names: tuple[str, ...], changes: dict[str, object], obstacles: list[str]
) -> None:
    model = build(names, **{"pooling": "cls", **changes})  # type: ignore[arg-type]
    assert as_stock_bert(model) is None
    found = stock_obstacles(model.architecture)
    assert len(found) == len(obstacles)
    assert all(expected in reason for expected, reason in zip(obstacles, found, strict=True))


@pytest.mark.parametrize("pooling", ["cls", "mean", "mean_max"])
def test_padding_never_changes_a_logit(pooling: Pooling, padded_batch: Batch) -> None:
    model = build(CHAIN, pooling)
    batch = padded_batch([9, 5, 2])
    wider = padded_batch([9, 5, 2, 20])  # the same ids in no row: only its width counts
    padding = wider["input_ids"].shape[1] - batch["input_ids"].shape[1]
    widened = {key: torch.nn.functional.pad(value, (0, padding)) for key, value in batch.items()}
    rubbish = torch.randint(0, 97, widened["input_ids"].shape, generator=torch.Generator().manual_seed(5))
    widened["input_ids"] = torch.where(widened["attention_mask"] == 1, widened["input_ids"], rubbish)
    expected = model(**batch).logits
    torch.testing.assert_close(model(**widened).logits, expected, rtol=0, atol=2e-6)
    for row, length in enumerate([9, 5, 2]):
        alone = {key: value[row : row + 1, :length] for key, value in batch.items()}
        torch.testing.assert_close(model(**alone).logits[0], expected[row], rtol=0, atol=2e-6)


@pytest.mark.parametrize("pooling", ["cls", "mean", "mean_max"])
def test_a_row_without_tokens_is_finite(pooling: Pooling, padded_batch: Batch) -> None:
    model = build(CHAIN, pooling)
    batch = padded_batch([6, 4])
    batch["attention_mask"][1] = 0
    loss = model(**batch, labels=torch.tensor([0, 1])).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters() if weight.grad is not None)


def test_missing_mask_and_segments_mean_all_tokens_of_the_first(padded_batch: Batch) -> None:
    model = build(CHAIN)
    batch = padded_batch([8, 8])
    torch.testing.assert_close(model(batch["input_ids"]).logits, model(**batch).logits, rtol=0, atol=0)


def test_output_is_as_hugging_face_gives_it(padded_batch: Batch) -> None:
    model = build(CHAIN)
    batch = padded_batch([8, 3])
    labels = torch.tensor([2, 0])
    output = model(**batch, labels=labels, output_hidden_states=True)
    expected = torch.nn.functional.cross_entropy(output.logits, labels)
    torch.testing.assert_close(output.loss, expected)
    assert len(output.hidden_states) == len(CHAIN) + 1
    loss, logits = model(**batch, labels=labels, return_dict=False)
    torch.testing.assert_close((loss, logits), (output.loss, output.logits))
    assert model(**batch).hidden_states is None


@pytest.mark.parametrize("names", [(), CHAIN])
def test_saved_and_loaded_by_auto_classes(
    names: tuple[str, ...], tmp_path: Path, padded_batch: Batch
) -> None:
    model = build(names, "mean_max", embedding_size=8)
    model.config.id2label, model.config.label2id = {0: "a", 1: "b", 2: "c"}, {"a": 0, "b": 1, "c": 2}
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert isinstance(loaded, CompactBertForSequenceClassification)
    assert loaded.architecture == model.architecture
    assert AutoConfig.from_pretrained(tmp_path).id2label == {0: "a", 1: "b", 2: "c"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    batch = padded_batch([8, 3])
    torch.testing.assert_close(loaded(**batch).logits, model(**batch).logits, rtol=0, atol=0)


def test_word_embeddings_can_be_replaced() -> None:
    model = build(CHAIN)
    model.set_input_embeddings(torch.nn.Embedding(10, 32))
    assert model.get_input_embeddings().num_embeddings == 10


def test_identity_has_no_module() -> None:
    dimensions = Dimensions(97, 32, 32, 8, 2, "mean")
    with pytest.raises(ValueError, match="identity has no module"):
        build_operator(IDENTITY, dimensions, 0.0, 1e-12)


def test_a_bert_that_is_no_chain_is_refused_with_all_reasons() -> None:
    config = BertConfig(hidden_act="relu", is_decoder=True)
    with pytest.raises(TeacherError, match="2 problems") as error:
        bert_architecture(config)
    assert "hidden_act" in str(error.value)
    assert "is_decoder" in str(error.value)
    config = BertConfig()
    config.position_embedding_type = "relative_key"
    with pytest.raises(TeacherError, match="position_embedding_type"):
        bert_architecture(config)


def test_attention_is_exported_as_one_operator(tmp_path: Path, padded_batch: Batch) -> None:
    batch = padded_batch([8, 3])
    program = torch.onnx.export(
        build(("mha2", "mha4")), kwargs=batch, dynamo=True, opset_version=20, verbose=False
    )
    operators = [node.op_type for node in program.model.graph]
    assert operators.count("MultiHeadAttention") == 2
    assert "Softmax" not in operators
