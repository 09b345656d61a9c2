"""Laws that every registered kind of operator obeys: a new kind is tested by being listed in `KINDS`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import widely_drawn
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertForSequenceClassification

from bertcompress.errors import ExportError, SpaceError
from bertcompress.evolve_space.inherit import inherit
from bertcompress.export.audit import audit
from bertcompress.export.calibration import random_calibration
from bertcompress.export.convert import export_onnx
from bertcompress.export.optimize import optimize
from bertcompress.export.precisions import PRECISIONS
from bertcompress.export.size import MIB, estimate_size_mib
from bertcompress.export.verify import verify
from bertcompress.export.weights import check_weights
from bertcompress.export.write import write_precisions
from bertcompress.model import CompactBertConfig, CompactBertForSequenceClassification, bert_dimensions
from bertcompress.model.operators import MODULES
from bertcompress.recipe.schema import Space
from bertcompress.recipe.template import render_recipe
from bertcompress.space import (
    IDENTITY,
    KINDS,
    Architecture,
    BertSizes,
    Dimensions,
    Operator,
    Pooling,
    SearchSpace,
)
from bertcompress.supernet import SuperBert, extract, warm_start

Batch = Callable[..., dict[str, Tensor]]
DIMENSIONS = Dimensions(97, 32, 32, 8, 2, "mean", max_position_embeddings=40)
SIZED = [word for word in KINDS if word != IDENTITY.kind]


def sizes_of(word: str, dimensions: Dimensions = DIMENSIONS) -> list[int]:
    """The smallest size of a kind, one in the middle and a large one."""
    sizes = KINDS[word].sizes(dimensions, 48)
    return sorted({sizes[0], sizes[len(sizes) // 2], sizes[-1]})


def operators_of(word: str) -> tuple[Operator, ...]:
    return tuple(Operator(word, size) for size in sizes_of(word))


def build(*operators: Operator, pooling: Pooling = "mean") -> CompactBertForSequenceClassification:
    dimensions = Dimensions(97, 32, 32, 8, 2, pooling, max_position_embeddings=40)
    config = CompactBertConfig.from_architecture(Architecture(dimensions, operators))
    return widely_drawn(lambda: CompactBertForSequenceClassification(config))


def test_all_but_identity_have_a_module() -> None:
    assert [*MODULES, IDENTITY.kind] == list(KINDS)
    assert [word for word, kind in KINDS.items() if word != kind.word] == []


def test_kinds_are_told_apart_in_words_graphs_and_plots() -> None:
    assert len({kind.colour for kind in KINDS.values()}) == len(KINDS)
    assert len({kind.title for kind in KINDS.values()}) == len(KINDS)
    assert len({kind.node for kind in KINDS.values()}) == len(KINDS)


@pytest.mark.parametrize("word", KINDS)
def test_words_read_back_and_a_recipe_takes_them(word: str) -> None:
    names = [operator.name for operator in operators_of(word)]
    assert tuple(map(Operator.parse, names)) == operators_of(word)
    assert [name for name in names if not name.startswith(word)] == []
    space = Space(operators=(*names, "mha2" if word == "identity" else "identity"))
    assert space.operators[: len(names)] == tuple(names)
    assert KINDS[word].form in str(Space.model_fields["operators"].description)


def test_the_readme_and_a_new_recipe_name_every_kind() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    assert [kind.form for kind in KINDS.values() if f"`{kind.form}`" not in readme] == []
    template = render_recipe("a.csv", text_columns=["text"], label_column="label", max_length=64, reasons=[])
    assert [kind.form for kind in KINDS.values() if kind.description not in template] == []


@pytest.mark.parametrize("word", ["lstm", "mha-", "conv_"])
def test_an_unknown_kind_is_an_error_that_lists_the_known(word: str) -> None:
    with pytest.raises(SpaceError, match="unknown kind") as error:
        Operator(word, 3)
    assert all(known in str(error.value) for known in KINDS)
    with pytest.raises(SpaceError, match="is no operator") as error:
        Operator.parse(f"{word}3")
    assert all(kind.description in str(error.value) for kind in KINDS.values())


@pytest.mark.parametrize("word", SIZED)
def test_a_kind_with_sizes_refuses_none(word: str) -> None:
    with pytest.raises(SpaceError, match="is no operator"):
        Operator.parse(word)
    with pytest.raises(SpaceError, match="is empty"):
        Operator(word, 0)


@pytest.mark.parametrize("word", KINDS)
def test_the_sizes_that_a_kind_offers_can_be_built(word: str) -> None:
    kind, bert = KINDS[word], BertSizes(4, 64)
    for size in {*kind.teacher_sizes(bert), *kind.ladder_sizes(DIMENSIONS, bert)}:
        SearchSpace(DIMENSIONS, ((Operator(word, size),),))
    assert kind.ladder_sizes(DIMENSIONS, bert)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("word", SIZED)
def test_counted_parameters_and_macs_are_built(word: str, pooling: Pooling) -> None:
    for operator in operators_of(word):
        model = build(operator, pooling=pooling)
        assert sum(weight.numel() for weight in model.parameters()) == model.architecture.num_parameters
        # Longer than the largest size, and shorter than it.
        for length in (40, 3):
            ids = torch.ones(2, length, dtype=torch.long)
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
                model(ids)
            assert counter.get_total_flops() == 2 * model.architecture.macs(length, batch_size=2), operator


@pytest.mark.parametrize("word", SIZED)
def test_a_kind_mixes_tokens_as_it_says(word: str) -> None:
    for operator in operators_of(word):
        if operator.mixes_tokens and operator.size == 1 and len(sizes_of(word)) > 1:
            continue  # a kernel of one token mixes none
        chain = build(operator).chain
        x = torch.randn(1, 6, 32, generator=torch.Generator().manual_seed(0))
        changed = x.clone()
        changed[0, 1] += 1
        moved = (chain[0](changed, torch.ones(1, 6)) - chain[0](x, torch.ones(1, 6))).abs().amax(dim=-1)[0]
        assert bool((moved[[0, 2]] > 1e-6).all()) is operator.mixes_tokens
        assert moved[1] > 1e-6


@pytest.mark.parametrize("word", SIZED)
def test_the_first_token_alone_is_the_first_of_all(word: str) -> None:
    for operator in operators_of(word):
        module = build(operator).chain[0]
        for length in (1, 5, 33):
            x = torch.randn(2, length, 32, generator=torch.Generator().manual_seed(0))
            mask = torch.ones(2, length)
            mask[0, length // 2 + 1 :] = 0
            first = module(x, mask, first_token=True)
            torch.testing.assert_close(first, module(x, mask)[:, :1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("word", SIZED)
def test_padding_never_changes_a_logit(word: str, pooling: Pooling, padded_batch: Batch) -> None:
    model = build(*operators_of(word), pooling=pooling)
    lengths = [9, 5, 2]
    batch = padded_batch(lengths)
    expected = model(**batch).logits
    widened = {key: torch.nn.functional.pad(value, (0, 11)) for key, value in batch.items()}
    rubbish = torch.randint(0, 97, widened["input_ids"].shape, generator=torch.Generator().manual_seed(5))
    widened["input_ids"] = torch.where(widened["attention_mask"] == 1, widened["input_ids"], rubbish)
    torch.testing.assert_close(model(**widened).logits, expected, rtol=0, atol=5e-6)
    for row, length in enumerate(lengths):
        alone = {key: value[row : row + 1, :length] for key, value in batch.items()}
        torch.testing.assert_close(model(**alone).logits[0], expected[row], rtol=0, atol=5e-6)
    batch["attention_mask"][1] = 0
    assert torch.isfinite(model(**batch).logits).all()


@pytest.mark.parametrize("word", SIZED)
def test_onnx_runtime_computes_what_pytorch_does_in_every_precision(word: str, tmp_path: Path) -> None:
    model = build(*operators_of(word))
    converted = export_onnx(model, tmp_path / "converted.onnx")
    paths = {precision: tmp_path / f"{precision}.onnx" for precision in PRECISIONS}
    write_precisions(converted, paths, calibration=random_calibration(97, 40))
    for precision, path in paths.items():
        audit(path, model.architecture, precision=precision)
        check_weights(path, model, precision=precision)
        size_mib = path.stat().st_size / MIB
        # Three operators without their nodes would be off by 3,700 bytes or more.
        assert estimate_size_mib(model.architecture, precision) == pytest.approx(size_mib, abs=1_200 / MIB)
    assert verify(paths["fp32"], model).max_logit_error < 1e-5
    for precision in ("int8", "int8_static"):
        assert verify(paths[precision], model, precision=precision).agreement == 1.0


@pytest.mark.parametrize("word", SIZED)
def test_the_audit_refuses_an_operator_of_another_kind_or_size(word: str, tmp_path: Path) -> None:
    operator, *_, larger = operators_of(word)
    path = optimize(export_onnx(build(operator), tmp_path / "a.onnx"), tmp_path / "b.onnx")
    others = [larger, *(operators_of(other)[0] for other in SIZED if other != word)]
    for other in others:
        with pytest.raises(ExportError, match=f"position 0: {other.name} has no .*found {operator.name}"):
            audit(path, Architecture(DIMENSIONS, (other,)))


@pytest.mark.parametrize("word", SIZED)
def test_an_extracted_child_equals_the_supernet(
    word: str, tiny_bert: BertForSequenceClassification, padded_batch: Batch
) -> None:
    dimensions = bert_dimensions(tiny_bert.config)
    space = SearchSpace(dimensions, ((*operators_of(word), IDENTITY),) * 2)
    supernet = SuperBert(space).eval()
    warm_start(supernet, tiny_bert)
    batch = padded_batch([9, 4])
    for child in ((operator, IDENTITY) for operator in space.choices[0]):
        inside = supernet(**batch, architecture=child).logits
        torch.testing.assert_close(extract(supernet, child)(**batch).logits, inside, rtol=0, atol=1e-5)


@pytest.mark.parametrize("word", SIZED)
def test_weights_are_handed_on_to_the_next_supernet(word: str) -> None:
    small, *_, large = operators_of(word)
    older = SuperBert(SearchSpace(DIMENSIONS, ((small,),)), generator=torch.Generator().manual_seed(0))
    newer = SuperBert(SearchSpace(DIMENSIONS, ((small, large),)), generator=torch.Generator().manual_seed(1))
    inherit(newer, older)
    ours, theirs = newer.module_at(0, small), older.module_at(0, small)
    assert ours is not None
    assert theirs is not None
    assert all(torch.equal(weight, theirs.state_dict()[name]) for name, weight in ours.state_dict().items())


def test_a_gated_feed_forward_starts_as_the_teachers_plain_one(
    tiny_bert: BertForSequenceClassification, padded_batch: Batch, tmp_path: Path
) -> None:
    plain, gated = ("mha4", "ffn64", "ffn16", "ffn80"), ("mha4", "geglu64", "geglu16", "geglu80")
    dimensions = bert_dimensions(tiny_bert.config)
    choices = tuple(tuple({one: None, other: None}) for one, other in zip(plain, gated, strict=True))
    supernet = SuperBert(SearchSpace.of_names(dimensions, choices)).eval()
    warm_start(supernet, tiny_bert)
    batch = padded_batch([9, 4])
    children = [tuple(map(Operator.parse, names)) for names in (plain, gated)]
    one, other = (supernet(**batch, architecture=child).logits for child in children)
    assert torch.equal(one, other)
    # It is no dead end: the value's weights, all zero, have a gradient.
    other.sum().backward()
    module: Any = supernet.module_at(1, Operator.parse("geglu64"))
    assert module.value.weight.grad.abs().max() > 0
    # Weights of zero have no range, and still become int8.
    model = extract(supernet, children[1])
    converted = export_onnx(model, tmp_path / "converted.onnx")
    write_precisions(converted, {"int8": tmp_path / "int8.onnx"})
    audit(tmp_path / "int8.onnx", model.architecture, precision="int8")
    verify(tmp_path / "int8.onnx", model, precision="int8")


def test_a_longer_kernel_starts_as_the_shorter_one() -> None:
    for word in ("conv", "gconv"):
        short, long = Operator(word, 3), Operator(word, 9)
        older = SuperBert(SearchSpace(DIMENSIONS, ((short,),)), generator=torch.Generator().manual_seed(0))
        newer = SuperBert(SearchSpace(DIMENSIONS, ((long,),)), generator=torch.Generator().manual_seed(1))
        inherit(newer, older)
        x = torch.randn(2, 12, 32, generator=torch.Generator().manual_seed(2))
        ours, theirs = newer.eval().module_at(0, long), older.eval().module_at(0, short)
        assert ours is not None
        assert theirs is not None
        torch.testing.assert_close(ours(x, torch.ones(2, 12)), theirs(x, torch.ones(2, 12)))
