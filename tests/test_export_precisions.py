"""Every precision is the same network, narrowed: held against PyTorch, complete, refused with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from small_models import compact_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from bertcompress.errors import ExportError, VerificationError
from bertcompress.export.audit import audit
from bertcompress.export.calibration import Calibration, batches_of, logit_change, random_calibration
from bertcompress.export.convert import export_onnx
from bertcompress.export.optimize import CANDIDATES, optimize
from bertcompress.export.precisions import PRECISIONS
from bertcompress.export.quantize import quantize_int8
from bertcompress.export.recommend import Trial, precision_problems, recommend
from bertcompress.export.sensitivity import keep_sensitive, layer_groups
from bertcompress.export.static import LEVELS, activation_ranges, dense_inputs, scaling
from bertcompress.export.verify import compare, feed_logits, reference_of
from bertcompress.export.weight_only import narrow_weights
from bertcompress.export.weights import check_weights
from bertcompress.export.write import write_precisions
from bertcompress.model import CompactBertForSequenceClassification

NARROWED = [word for word in PRECISIONS if word != "fp32"]


def random_rows(number: int, length: int = 12, seed: int = 1) -> Calibration:
    """Unpadded rows of random words."""
    ids = np.random.default_rng(seed).integers(0, 97, (number, length), dtype=np.int64)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return Calibration((feed,))


@pytest.fixture(scope="module")
def model() -> CompactBertForSequenceClassification:
    return compact_model(("mha2", "conv3", "ffn48"))


@pytest.fixture(scope="module")
def converted(model: CompactBertForSequenceClassification, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_onnx(model, tmp_path_factory.mktemp("converted") / "model.onnx")


@pytest.fixture(scope="module")
def files(converted: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of every precision."""
    folder = tmp_path_factory.mktemp("precisions")
    paths = {word: folder / precision.file_name for word, precision in PRECISIONS.items()}
    write_precisions(converted, paths, calibration=random_rows(32))
    return paths


@pytest.fixture(scope="module")
def fp32(converted: Path) -> Path:
    return optimize(converted, converted.with_name("fp32.onnx"))


@pytest.mark.parametrize("precision", list(PRECISIONS))
def test_every_precision_passes_every_gate(
    files: dict[str, Path], model: CompactBertForSequenceClassification, precision: str
) -> None:
    path = files[precision]
    counts = audit(path, model.architecture, precision=precision)
    assert all(counts["found"][name] >= number for name, number in counts["expected"].items())
    assert len(check_weights(path, model, precision=precision).matched) > 10
    most = {"fp32": 1e-5, "fp16": 5e-3, "int4_weights": 0.6}.get(precision, 0.2)
    assert compare(path, reference_of(model), precision=precision).max_logit_error < most


@pytest.mark.parametrize("fusion", list(CANDIDATES))
def test_every_choice_of_fusions_is_narrowed(
    converted: Path, tmp_path: Path, model: CompactBertForSequenceClassification, fusion: str
) -> None:
    paths = {word: tmp_path / precision.file_name for word, precision in PRECISIONS.items()}
    write_precisions(converted, paths, CANDIDATES[fusion], random_calibration(97, 40))
    reference = reference_of(model)
    for precision, path in paths.items():
        audit(path, model.architecture, precision=precision)
        compare(path, reference, precision=precision)


def test_the_narrowest_feed_forward_is_found_in_every_precision(tmp_path: Path) -> None:
    model = compact_model(("ffn1", "mha1"))
    paths = {word: tmp_path / precision.file_name for word, precision in PRECISIONS.items()}
    write_precisions(export_onnx(model, tmp_path / "c.onnx"), paths, calibration=random_calibration(97, 40))
    for precision, path in paths.items():
        audit(path, model.architecture, precision=precision)


@pytest.mark.parametrize("precision", NARROWED)
def test_a_narrowed_file_is_smaller(files: dict[str, Path], precision: str) -> None:
    assert files[precision].stat().st_size < files["fp32"].stat().st_size


@pytest.mark.parametrize("precision", NARROWED)
def test_a_fault_in_any_weight_is_caught(
    files: dict[str, Path], model: CompactBertForSequenceClassification, tmp_path: Path, precision: str
) -> None:
    original = onnx.load(files[precision])
    path = tmp_path / "mutant.onnx"
    alive = []
    for tensor in original.graph.initializer:
        # Scales stand with the levels that they scale; that of a table may be part of a dense layer's.
        if not tensor.dims or tensor.name.endswith(("_scale", "_zero_point", "scales_mul")):
            continue
        kept = tensor.SerializeToString()
        values = numpy_helper.to_array(tensor).copy()
        if values.dtype == np.int64:
            continue
        row = values[len(values) // 2]
        values[len(values) // 2] = -row if values.dtype != np.uint8 else row ^ 0x88
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        onnx.save(original, path)
        try:
            check_weights(path, model, precision=precision)
            alive.append(tensor.name)
        except VerificationError:
            pass
        tensor.ParseFromString(kept)
    assert alive == []


def test_static_rows_do_not_depend_on_the_rows_beside_them(files: dict[str, Path]) -> None:
    rows = random_rows(6).feeds[0]
    alone = [{name: array[row : row + 1] for name, array in rows.items()} for row in range(6)]

    def difference(precision: str) -> float:
        together = feed_logits(files[precision], [rows])
        return float(np.abs(together - feed_logits(files[precision], alone)).max())

    assert difference("int8_static") < 1e-5
    assert difference("int8") > 1e-4  # what it is told apart from


def test_static_scales_every_dense_layer_once(files: dict[str, Path]) -> None:
    graph = onnx.load(files["int8_static"]).graph
    kinds = [node.op_type for node in graph.node]
    assert not {"DynamicQuantizeLinear", "DynamicQuantizeMatMul"} & set(kinds)
    # Query, key and value share theirs: attention has 2, a feed-forward 2, a convolution 1.
    assert kinds.count("QuantizeLinear") == 5


def test_ranges_hold_what_was_seen_and_clip_only_to_err_less(fp32: Path) -> None:
    names = dense_inputs(fp32)
    rows = random_rows(16)
    ranges = activation_ranges(fp32, names, rows.feeds)
    again = activation_ranges(fp32, names, random_rows(4).feeds)
    assert set(ranges["whole"]) == set(names)
    for name in names:
        low, high = ranges["whole"][name]
        assert low <= 0 <= high
        inner_low, inner_high = ranges["least error"][name]
        assert low <= inner_low <= 0 <= inner_high <= high
        assert again["whole"][name] != ranges["whole"][name]


@pytest.mark.parametrize("span", [(-1.0, 3.0), (0.0, 2.0), (-2.0, 0.0)])
def test_a_range_reaches_its_ends_to_a_step(span: tuple[float, float]) -> None:
    scale, zero_point = scaling(span)
    lowest, highest = -int(zero_point) * float(scale), (LEVELS - int(zero_point)) * float(scale)
    assert abs(lowest - span[0]) <= scale
    assert abs(highest - span[1]) <= scale


def test_an_activation_that_is_always_zero_has_a_scale() -> None:
    scale, zero_point = scaling((0.0, 0.0))
    assert scale > 0
    assert zero_point == 0


def test_layers_are_grouped_by_what_they_share(fp32: Path) -> None:
    groups = layer_groups(fp32)
    assert {
        "embeddings.word",
        "embeddings.token_type",
        "chain.0.key+query+value",
        "chain.0.output",
        "chain.1.pointwise",
        "chain.2.inner",
        "chain.2.output",
    } < set(groups)
    assert len(groups["chain.0.key+query+value"]) == 3
    assert "head" not in " ".join(groups)


@pytest.fixture(scope="module")
def harmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose feed-forward int8 ruins: weights of a feature that is always zero use up the range."""
    model = compact_model(("mha2", "ffn48"))
    with torch.no_grad():
        model.chain[0].norm.weight[0] = model.chain[0].norm.bias[0] = 0.0
        model.chain[1].inner.weight[:, 0] = 300.0
    folder = tmp_path_factory.mktemp("harmed")
    return optimize(export_onnx(model, folder / "converted.onnx"), folder / "fp32.onnx")


@pytest.mark.parametrize("max_drop", [0.02, 1.0])
def test_what_int8_harms_stays_in_fp32_where_it_costs_too_much(
    harmed: Path, tmp_path: Path, max_drop: float
) -> None:
    rows = Calibration(random_rows(128).feeds, max_drop=max_drop)
    path = tmp_path / "int8.onnx"
    found = keep_sensitive(harmed, path, lambda out, kept: quantize_int8(harmed, out, kept=kept), rows)
    assert found.drop_of_all > 0.02
    if max_drop == 1.0:
        assert (found.kept, found.logit_change) == ((), {})
        return
    assert found.kept == ("chain.1.inner",)
    assert max(found.logit_change, key=found.logit_change.__getitem__) == "chain.1.inner"
    assert found.drop <= max_drop
    architecture = compact_model(("mha2", "ffn48")).architecture
    audit(path, architecture, precision="int8", num_kept=len(found.kept_nodes))
    with pytest.raises(ExportError, match="the chain has 6 dense layers"):
        audit(path, architecture, precision="int8")


def test_int8_static_spares_the_same_layer(harmed: Path, tmp_path: Path) -> None:
    rows = Calibration(random_rows(128).feeds, max_drop=0.02)
    paths = {"fp32": tmp_path / "fp32.onnx", "int8_static": tmp_path / "static.onnx"}
    made = write_precisions(harmed.with_name("converted.onnx"), paths, calibration=rows)["int8_static"]
    assert made["sensitivity"]["kept"] == ["chain.1.inner"]
    assert made["ranges"] == min(made["logit_change"], key=made["logit_change"].__getitem__)
    assert rows.drop(rows.logits(paths["int8_static"]), rows.logits(paths["fp32"])) <= 0.02


def test_nobody_is_asked_to_spare_more_than_half(fp32: Path, tmp_path: Path) -> None:
    asked: list[int] = []

    def make(path: Path, kept: object) -> None:
        asked.append(len(list(kept)))
        path.write_bytes(fp32.read_bytes())

    class Never(Calibration):
        def drop(self, logits: np.ndarray, fp32_logits: np.ndarray) -> float:
            return 0.5

    found = keep_sensitive(fp32, tmp_path / "out.onnx", make, Never(random_rows(2).feeds))
    groups = layer_groups(fp32)
    assert found.kept == ()
    assert found.drop == 0.5
    # The file with every layer narrowed, each group alone, half of them one by one, and the best again.
    assert len(asked) == 1 + len(groups) + len(groups) // 2 + 1


def test_labels_judge_where_there_are_some() -> None:
    fp32, int8 = np.eye(2)[[0, 0, 1, 1]], np.eye(2)[[0, 1, 1, 0]]
    assert Calibration(()).drop(int8, fp32) == 0.5
    assert Calibration((), np.array([0, 1, 1, 1])).drop(int8, fp32) == 0.0
    assert logit_change(int8, fp32) == pytest.approx(0.5**0.5)


def entries(*names: str) -> dict[str, dict[str, object]]:
    return {name: {"file": PRECISIONS[name].file_name, "agreement": 1.0} for name in names}


def clock(milliseconds: Mapping[str, float]) -> Trial:
    return Trial(lambda files: {name: milliseconds[name] for name in files})


def test_fp16_is_recommended_on_gpus_alone() -> None:
    for provider, reason in (("cpu", "fp16 on CPU"), ("cuda", None)):
        files = entries("fp32", "fp16")
        trial = Trial(clock({"fp32": 2.0, "fp16": 1.0}).timer, provider=provider)
        recommend(files, Path(), trial)
        assert files["fp16"]["recommended"] is (reason is None)
        assert reason is None or str(files["fp16"]["reason"]).startswith(reason)
        assert files["fp32"]["recommended"]


def test_a_slow_int8_says_what_the_processor_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertcompress.export.quantize.needs_reduced_range", lambda: True)
    files = entries("fp32", "int8", "int4_weights")
    recommend(files, Path(), clock({"fp32": 1.0, "int8": 1.5, "int4_weights": 1.5}))
    assert "(1.50 against 1.00 ms, without VNNI)" in str(files["int8"]["reason"])
    assert "VNNI" not in str(files["int4_weights"]["reason"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bf16"], "no bf16 kernels on the CPU"),
        (["int4"], "use int4_weights"),
        (["int8-static"], "did you mean int8_static"),
        ([], "use one or more of fp32, int8"),
        (["int8_static"], "given none"),
    ],
)
def test_what_cannot_be_written_says_why(words: list[str], message: str) -> None:
    (problem,) = precision_problems(words, None)
    assert message in problem
    assert precision_problems(list(PRECISIONS), random_rows(2)) == []


def test_static_wants_rows(converted: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="given none"):
        write_precisions(converted, {"int8_static": tmp_path / "out.onnx"})


def test_texts_are_cut_and_batched() -> None:
    rust = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "good": 2}, unk_token="[UNK]"))
    rust.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=rust, unk_token="[UNK]", pad_token="[PAD]")
    rows = Calibration.from_batches(batches_of(["good film", "a very bad film " * 9] * 20, tokenizer, 12))
    assert [feed["input_ids"].shape for feed in rows.feeds] == [(32, 12), (8, 12)]
    assert rows.num_rows == 40


def test_an_onnxruntime_without_the_quantizer_of_weights_is_told(
    fp32: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Older:
        def __init__(self, model: onnx.ModelProto) -> None:
            """As in 1.22: without a choice of bits."""

    monkeypatch.setattr("onnxruntime.quantization.matmul_nbits_quantizer.MatMulNBitsQuantizer", Older)
    with pytest.raises(ExportError, match=r"int8_weights: onnxruntime .* upgrade onnxruntime, or use int8"):
        narrow_weights(fp32, tmp_path / "out.onnx", bits=8)


def test_no_noted_shape_is_left_for_a_quantizer_to_stumble_over(fp32: Path, tmp_path: Path) -> None:
    # ONNX Runtime 1.22 infers shapes anew after it has transposed the head's weight, and refuses stale ones.
    model = onnx.load(fp32)
    wrong = onnx.helper.make_tensor_value_info("model.head.classifier.weight", onnx.TensorProto.FLOAT, [7, 7])
    kept = [info for info in model.graph.value_info if info.name != wrong.name]
    del model.graph.value_info[:]
    model.graph.value_info.extend([*kept, wrong])
    path = tmp_path / "stale.onnx"
    onnx.save(model, path)
    quantize_int8(path, tmp_path / "int8.onnx")
    narrow_weights(path, tmp_path / "weights.onnx", bits=8)
    assert [left.name for left in tmp_path.iterdir() if left.name.startswith(".")] == []
