"""The exported file computes what PyTorch computes, holds its fusions, and serves without torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModelForSequenceClassification,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
)

from bertcompress.errors import DataError, ExportError, VerificationError
from bertcompress.export.attention import branch_attention
from bertcompress.export.audit import audit
from bertcompress.export.convert import export_onnx
from bertcompress.export.folder import export_folder
from bertcompress.export.optimize import CANDIDATES, choose_fusions, optimize, timer
from bertcompress.export.precisions import write_precisions
from bertcompress.export.quantize import needs_reduced_range, quantize_int8
from bertcompress.export.recommend import Trial
from bertcompress.export.runtime import OnnxClassifier
from bertcompress.export.verify import check_tokenizer, graph_logits, shape_cases, verify
from bertcompress.measure import Conditions
from bertcompress.model import CompactBertConfig, CompactBertForSequenceClassification
from bertcompress.space import Architecture, Dimensions, Operator, Pooling

ROOT = Path(__file__).parent.parent
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "a", "the", "very"]
CHAIN = ("mha2", "conv3", "ffn48", "mha4", "conv5")


def make_model(
    names: tuple[str, ...] = CHAIN, *, pooling: Pooling = "mean_max", embedding_size: int = 16, seed: int = 0
) -> CompactBertForSequenceClassification:
    """A compact model of width 32 and 97 words in eval mode, its weights drawn widely enough to matter."""
    dimensions = Dimensions(97, 32, embedding_size, 8, 2, pooling, max_position_embeddings=40)
    architecture = Architecture(dimensions, tuple(Operator.parse(name) for name in names))
    torch.manual_seed(seed)
    model = CompactBertForSequenceClassification(CompactBertConfig.from_architecture(architecture))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


@pytest.fixture(scope="module")
def model() -> CompactBertForSequenceClassification:
    return make_model()


@pytest.fixture(scope="module")
def converted(model: CompactBertForSequenceClassification, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_onnx(model, tmp_path_factory.mktemp("converted") / "model.onnx")


@pytest.fixture(scope="module")
def optimized(converted: Path) -> Path:
    return optimize(converted, converted.with_name("optimized.onnx"))


@pytest.fixture(scope="module")
def quantized(optimized: Path) -> Path:
    path = optimized.with_name("int8.onnx")
    quantize_int8(optimized, path)
    return path


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    rust = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    rust.pre_tokenizer = pre_tokenizers.Whitespace()
    rust.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=rust, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )


@pytest.fixture(scope="module")
def folder(
    model: CompactBertForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    path = tmp_path_factory.mktemp("exported")
    export_folder(model, tokenizer, ("negative", "positive"), path, max_length=12)
    return path


def test_ort_equals_pytorch_at_every_shape_and_padding(
    optimized: Path, model: CompactBertForSequenceClassification
) -> None:
    result = verify(optimized, model)
    assert result.max_logit_error < 1e-5
    assert result.agreement == 1.0


@pytest.mark.parametrize(
    ("names", "pooling", "embedding_size"), [((), "mean", 32), (("mha1", "ffn8", "conv7"), "cls", 32)]
)
def test_every_pooling_and_an_empty_chain_export(
    tmp_path: Path, names: tuple[str, ...], pooling: Pooling, embedding_size: int
) -> None:
    model = make_model(names, pooling=pooling, embedding_size=embedding_size)
    path = optimize(export_onnx(model, tmp_path / "a.onnx"), tmp_path / "b.onnx")
    assert verify(path, model).max_logit_error < 1e-5
    audit(path, model.architecture)


def test_padding_never_changes_a_logit(optimized: Path) -> None:
    ids = torch.randint(1, 97, (3, 9), generator=torch.Generator().manual_seed(0))
    short = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    longer = torch.randint(1, 97, (3, 20), generator=torch.Generator().manual_seed(1))
    longer[:, :9] = ids
    mask = torch.zeros_like(longer)
    mask[:, :9] = 1
    alone, padded = (
        graph_logits(optimized, [batch]) for batch in (short, {"input_ids": longer, "attention_mask": mask})
    )
    np.testing.assert_allclose(padded, alone, atol=1e-5)


def test_export_leaves_the_model_as_it_is(tmp_path: Path) -> None:
    model = make_model(("conv3",)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export_onnx(model, tmp_path / "model.onnx")
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_small_model_is_one_file(converted: Path) -> None:
    assert not converted.with_name(f"{converted.name}.data").exists()
    assert all(not tensor.external_data for tensor in onnx.load(converted).graph.initializer)


def test_a_model_that_cannot_be_traced_is_an_export_error(tmp_path: Path) -> None:
    class Branching(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, **_: torch.Tensor) -> torch.Tensor:
            return input_ids if bool(input_ids.sum() > 3) else -input_ids

    with pytest.raises(ExportError, match="Branching"):
        export_onnx(Branching(), tmp_path / "model.onnx")


def test_optimize_names_a_file_that_is_no_graph(tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"not a graph")
    with pytest.raises(ExportError, match=r"bad\.onnx"):
        optimize(bad, tmp_path / "out.onnx")


def node_types(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.mark.parametrize("fastest", list(CANDIDATES))
def test_the_fusions_that_are_fastest_are_chosen(
    converted: Path, tmp_path: Path, model: CompactBertForSequenceClassification, fastest: str
) -> None:
    def clock(files: Mapping[str, Path]) -> dict[str, float]:
        return {name: 1.0 if name == fastest else 2.0 for name in files}

    choice = choose_fusions(converted, clock)
    assert choice.to_dict() == {**CANDIDATES[fastest].to_dict(), "measured_ms": choice.measured_ms}
    assert choice.measured_ms[fastest] == 1.0
    path = tmp_path / "out.onnx"
    write_precisions(converted, {"fp32": path}, choice)
    assert ("SkipLayerNormalization" in node_types(path)) is choice.fuse_skip_layer_norm
    assert ("If" in node_types(path)) is choice.branch_attention
    assert verify(path, model).max_logit_error < 1e-5
    audit(path, model.architecture)


def test_a_tie_leaves_the_simplest_file(converted: Path) -> None:
    choice = choose_fusions(converted, lambda files: dict.fromkeys(files, 1.0))
    assert (choice.fuse_skip_layer_norm, choice.branch_attention) == (False, False)


def test_both_branches_of_attention_agree_where_nothing_is_padded(
    optimized: Path, tmp_path: Path, model: CompactBertForSequenceClassification
) -> None:
    branched = branch_attention(shutil.copy(optimized, tmp_path / "branched.onnx"))
    ids = torch.randint(1, 97, (3, 9), generator=torch.Generator().manual_seed(0))
    whole = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    np.testing.assert_allclose(graph_logits(branched, [whole]), graph_logits(optimized, [whole]), atol=1e-5)
    assert verify(branched, model).max_logit_error < 1e-5
    assert node_types(branched).count("If") == 2
    assert "MultiHeadAttention" not in node_types(branched)


def test_a_graph_without_attention_is_not_branched(tmp_path: Path) -> None:
    path = optimize(export_onnx(make_model(("conv3",)), tmp_path / "a.onnx"), tmp_path / "b.onnx")
    before = path.read_bytes()
    assert branch_attention(path).read_bytes() == before


def test_audit_wants_attention_in_both_branches(optimized: Path, tmp_path: Path) -> None:
    path = branch_attention(shutil.copy(optimized, tmp_path / "branched.onnx"))
    graph = onnx.load(path)
    first = next(node for node in graph.graph.node if node.op_type == "If")
    branch = next(attribute.g for attribute in first.attribute if attribute.name == "then_branch")
    branch.node[0].op_type = "Identity"
    onnx.save(graph, path)
    with pytest.raises(ExportError, match="position 0: mha2 has no MultiHeadAttention"):
        audit(path, make_model().architecture)


def test_int8_has_one_or_two_nodes_a_dense_layer(quantized: Path) -> None:
    found = Counter(node_types(quantized))
    # Query, key and value share the quantization of their input; every other layer holds its own.
    assert (found["MatMulIntegerToFloat"], found["DynamicQuantizeLinear"]) == (6, 2)
    assert found["DynamicQuantizeMatMul"] == 6
    assert found["BiasGelu"] == 0


def test_the_timer_times_every_file(optimized: Path, quantized: Path) -> None:
    files = {"fp32": optimized, "int8": quantized}
    times = timer(Conditions(sequence_length=8), vocab_size=97, seconds=0.02)(files)
    assert set(times) == set(files)
    assert min(times.values()) > 0


def test_audit_finds_every_operator(optimized: Path, quantized: Path, model: object) -> None:
    architecture = make_model().architecture
    for path, precision, gelu, dense in (
        (optimized, "fp32", "BiasGelu", "MatMul"),
        (quantized, "int8", "Gelu", "DynamicQuantizeMatMul or MatMulIntegerToFloat"),
    ):
        counts = audit(path, architecture, precision=precision)
        assert counts["expected"] == {"MultiHeadAttention": 2, gelu: 1, "Conv": 2, dense: 12}
        assert all(counts["found"][name] >= number for name, number in counts["expected"].items())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((*CHAIN, "mha4"), r"position 5: mha4 has no MultiHeadAttention"),
        (
            ("mha2", "conv3", "ffn64", "mha4", "conv5"),
            r"2: ffn64 has no BiasGelu \(found ffn48 there\)",
        ),
        (CHAIN[:4], r"before position 4: found conv5"),
    ],
)
def test_audit_names_the_position(optimized: Path, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        audit(optimized, make_model(names).architecture)


def test_audit_says_that_a_graph_was_not_quantized(optimized: Path) -> None:
    with pytest.raises(ExportError, match="MatMulIntegerToFloat: 0 nodes; the chain has 12 dense layers"):
        audit(optimized, make_model().architecture, precision="int8")


def test_int8_is_smaller_and_close(
    optimized: Path, quantized: Path, model: CompactBertForSequenceClassification
) -> None:
    result = verify(quantized, model, precision="int8")
    assert 0 < result.max_logit_error < 0.5
    assert result.agreement > 0.8
    weights = {tensor.data_type for tensor in onnx.load(quantized).graph.initializer if len(tensor.dims) == 2}
    assert onnx.TensorProto.INT8 in weights


@pytest.mark.parametrize(
    ("flags", "reduced"), [("fpu avx2", True), ("avx2 avx512_vnni", False), ("avx2 avx_vnni", False)]
)
def test_reduced_range_follows_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, reduced: bool
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"model name\t: X\nflags\t\t: {flags}\n", encoding="utf-8")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert needs_reduced_range(cpuinfo) is reduced
    assert needs_reduced_range(tmp_path / "missing") is True
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert needs_reduced_range(cpuinfo) is False


def test_verify_refuses_another_model(optimized: Path) -> None:
    with pytest.raises(VerificationError, match="right padding: logits differ"):
        verify(optimized, make_model(seed=1))


def test_verify_counts_agreement_on_real_rows(
    optimized: Path,
    model: CompactBertForSequenceClassification,
    padded_batch: Callable[..., dict[str, torch.Tensor]],
) -> None:
    batches = [padded_batch([5, 9]), padded_batch([3, 4, 7], seed=1)]
    assert verify(optimized, model, batches=batches).num_rows == 5
    assert graph_logits(optimized, batches).shape == (5, 2)


def test_shape_cases_reach_the_corners() -> None:
    cases = dict(shape_cases(vocab_size=97, max_length=40))
    shapes = {feed["input_ids"].shape for _, feed in cases.items()}
    assert {(1, 1), (1, 40), (2, 1)} <= shapes
    assert all(feed["attention_mask"].any(axis=1).all() for feed in cases.values())
    assert (cases["left padding"]["attention_mask"][:, -1] == 1).all()
    assert cases["two segments"]["token_type_ids"].max() == 1


def test_the_folder_is_self_contained(folder: Path, model: CompactBertForSequenceClassification) -> None:
    record = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    assert record["precisions"]["fp32"]["max_logit_error"] < 1e-5
    assert record["precisions"]["int8"]["quantization"]["reduce_range"] is needs_reduced_range()
    assert Architecture.from_dict(record["architecture"]) == model.architecture
    for entry in record["precisions"].values():
        assert (folder / entry["file"]).stat().st_size == round(entry["size_mib"] * 2**20)
    loaded = AutoModelForSequenceClassification.from_pretrained(folder)
    assert loaded.config.id2label == {0: "negative", 1: "positive"}
    assert verify(folder / "model.onnx", loaded).max_logit_error < 1e-5


def test_the_served_tokenizer_gives_the_trained_ids(
    tokenizer: PreTrainedTokenizerFast, folder: Path, tmp_path: Path
) -> None:
    check_tokenizer(tokenizer, folder / "tokenizer.json", 12, ["a very good film"])
    broken = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    broken["model"]["vocab"].update({"good": 5, "bad": 4})
    (tmp_path / "tokenizer.json").write_text(json.dumps(broken), encoding="utf-8")
    with pytest.raises(VerificationError, match="'a very good film': ids"):
        check_tokenizer(tokenizer, tmp_path / "tokenizer.json", 12, ["a very good film"])


def test_the_example_serves_with_three_packages(folder: Path) -> None:
    # The interpreter refuses everything that a server without torch would not have.
    program = (
        "import runpy, sys\n"
        "for name in ('torch', 'transformers', 'bertcompress'): sys.modules[name] = None\n"
        "sys.argv = ['serve_without_torch.py', sys.argv[1], 'good film', 'a very bad film']\n"
        "runpy.run_path('examples/serve_without_torch.py', run_name='__main__')\n"
    )
    command = [sys.executable, "-c", program, str(folder)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
    expected = OnnxClassifier(folder).classify(["good film", "a very bad film"])
    lines = [f"{row['label']} {row['score']:.3f}" for row in expected]
    assert [line.split("  ")[0] for line in answer.stdout.splitlines()] == lines


def test_a_stock_bert_is_written_as_stock_bert(
    tiny_bert: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    record = export_folder(tiny_bert, tokenizer, ("no", "yes"), tmp_path, precisions=("fp32",))
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(loaded) is BertForSequenceClassification
    assert loaded.config.id2label == {0: "no", 1: "yes"}
    assert verify(tmp_path / "model.onnx", loaded).max_logit_error < 1e-5
    assert list(record["precisions"]) == ["fp32"]
    assert record["max_length"] == 48


def test_a_precision_that_does_not_pay_is_not_recommended(
    model: CompactBertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    record = export_folder(
        model,
        tokenizer,
        ("a", "b"),
        tmp_path,
        trial=Trial(
            lambda files: dict.fromkeys(files, 2.0), lambda path: 0.7 if "int8" in path.name else 0.9
        ),
    )
    fp32, int8 = record["precisions"]["fp32"], record["precisions"]["int8"]
    assert (fp32["recommended"], fp32["reason"]) == (True, None)
    assert not int8["recommended"]
    assert "not faster than fp32 here (2.00 against 2.00 ms)" in int8["reason"]
    assert "0.2000 below fp32's" in int8["reason"]


def test_int8_alone_leaves_no_fp32_file(
    model: CompactBertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    export_folder(model, tokenizer, ("a", "b"), tmp_path, precisions=("int8",))
    assert [path.name for path in tmp_path.glob("*.onnx")] == ["model_int8.onnx"]


def test_export_tells_all_problems_at_once(
    model: CompactBertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="2 problems") as caught:
        export_folder(model, tokenizer, ("only",), tmp_path / "out", precisions=("int9",))
    assert "'int9' is unknown; did you mean int8?" in str(caught.value)
    assert "1 names; the model has 2 labels" in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_classify_keeps_the_order_of_its_rows(folder: Path, precision: str) -> None:
    classifier = OnnxClassifier(folder, precision)
    texts = ["good film", "a very very very bad film", "the", ("good", "bad film")]
    together = classifier.classify(texts, batch_size=2)
    alone = [classifier.classify([text])[0] for text in texts]
    assert [row["label"] for row in together] == [row["label"] for row in alone]
    tolerance = 1e-5 if precision == "fp32" else 0.1  # int8 takes its scales over the whole batch
    scores = [[row["score"] for row in rows] for rows in (together, alone)]
    np.testing.assert_allclose(*scores, atol=tolerance)
    assert all(0.5 <= row["score"] <= 1 for row in together)
    assert classifier.classify([]) == []


def test_classify_equals_pytorch(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    loaded = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    texts = [("good film", "a bad film"), ("the very", "film")]
    encoded = tokenizer(texts, padding=True, return_token_type_ids=True, return_tensors="pt")
    with torch.no_grad():
        shares = loaded(**encoded).logits.softmax(-1)
    for row, expected in zip(OnnxClassifier(folder).classify(texts), shares, strict=True):
        assert row["score"] == pytest.approx(expected.max().item(), abs=1e-5)
        assert row["label"] == ("negative", "positive")[int(expected.argmax())]


def test_a_long_text_is_cut_at_the_stored_length(folder: Path) -> None:
    classifier = OnnxClassifier(folder)
    assert classifier.max_length == 12
    long, cut = classifier.classify(["good " * 500, "good " * 10])
    assert long == pytest.approx(cut)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", "put it in a list"),
        (["good", " ", ("a", "")], "2 problems"),
        (["good", 3], "row 1: 3 is neither"),
        ([("a", "b", "c")], "neither a text nor a pair"),
    ],
)
def test_bad_texts_are_named(folder: Path, texts: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        OnnxClassifier(folder).classify(texts)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"input_ids": np.zeros((1, 0), dtype=np.int64)}, "shape"),
        ({"input_ids": np.zeros((1, 13), dtype=np.int64)}, "a length of 1 to 12"),
        ({"input_ids": np.array([[-1, 2]])}, "use 0 to 96"),
        ({"input_ids": np.array([[97]])}, "use 0 to 96"),
        ({"input_ids": np.array([[1.5]])}, "use integers"),
        ({"input_ids": np.array([[1]]), "attention_mask": np.array([[0]])}, r"rows \[0\] have no token"),
        ({"input_ids": np.array([[1]]), "token_type_ids": np.array([[1, 0]])}, "input_ids has"),
    ],
)
def test_bad_arrays_are_named(folder: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        OnnxClassifier(folder).logits(**arrays)


def test_logits_take_any_integer_type(folder: Path) -> None:
    classifier = OnnxClassifier(folder)
    ids = np.array([[2, 4, 6, 3]])
    np.testing.assert_array_equal(classifier.logits(ids.astype(np.int32)), classifier.logits(ids))


def test_a_bad_folder_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"tokenizer\.json: missing"):
        OnnxClassifier(tmp_path)
    with pytest.raises(ExportError, match="use one of fp32, int8"):
        OnnxClassifier(folder, "fp64")
    with pytest.raises(ExportError, match="this model takes 3 to 40 tokens"):
        OnnxClassifier(folder, max_length=41)


def test_serving_loads_no_torch(folder: Path) -> None:
    program = (
        "import sys; from bertcompress.export.runtime import OnnxClassifier; "
        "print(OnnxClassifier(sys.argv[1]).classify(['good film'])[0]['label']); "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(folder)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() in {"negative", "positive"}
