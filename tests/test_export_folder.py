"""An exported folder holds all that serving needs, says what pays, and is refused before it is begun."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from small_models import compact_model, word_tokenizer
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification

from bertcompress.errors import ExportError, VerificationError
from bertcompress.export.folder import export_folder
from bertcompress.export.quantize import needs_reduced_range
from bertcompress.export.recommend import Trial
from bertcompress.export.tokenizer_files import check_tokenizer, tokenizer_settings
from bertcompress.export.verify import verify
from bertcompress.space import Architecture


def test_the_folder_is_self_contained(exported_folder: Path) -> None:
    record = json.loads((exported_folder / "export.json").read_text(encoding="utf-8"))
    assert record["precisions"]["fp32"]["max_logit_error"] < 1e-5
    assert record["precisions"]["int8"]["quantization"]["reduce_range"] is needs_reduced_range()
    assert Architecture.from_dict(record["architecture"]) == compact_model().architecture
    for entry in record["precisions"].values():
        assert (exported_folder / entry["file"]).stat().st_size == round(entry["size_mib"] * 2**20)
    loaded = AutoModelForSequenceClassification.from_pretrained(exported_folder)
    assert loaded.config.id2label == {0: "negative", 1: "positive"}
    assert verify(exported_folder / "model.onnx", loaded).max_logit_error < 1e-5


def test_a_tokenizer_that_gives_other_ids_is_refused(exported_folder: Path, tmp_path: Path) -> None:
    tokenizer = word_tokenizer()
    settings = tokenizer_settings(tokenizer)
    assert check_tokenizer(tokenizer, exported_folder, settings, 12, ["a very good film"], words=True) > 20
    broken = json.loads((exported_folder / "tokenizer.json").read_text(encoding="utf-8"))
    broken["model"]["vocab"].update({"good": 5, "bad": 4})
    shutil.copytree(exported_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tokenizer.json").write_text(json.dumps(broken), encoding="utf-8")
    with pytest.raises(VerificationError, match=r"without transformers: .*input_ids from token") as caught:
        check_tokenizer(tokenizer, tmp_path, settings, 12, ["a very good film"])
    assert "read by AutoTokenizer: " in str(caught.value)


def test_a_stock_bert_is_written_as_stock_bert(
    tiny_bert: BertForSequenceClassification, tmp_path: Path
) -> None:
    record = export_folder(tiny_bert, word_tokenizer(), ("no", "yes"), tmp_path, precisions=("fp32",))
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(loaded) is BertForSequenceClassification
    assert loaded.config.id2label == {0: "no", 1: "yes"}
    assert verify(tmp_path / "model.onnx", loaded).max_logit_error < 1e-5
    assert list(record["precisions"]) == ["fp32"]
    assert record["max_length"] == 48


def test_a_precision_that_does_not_pay_is_not_recommended(tmp_path: Path) -> None:
    record = export_folder(
        compact_model(),
        word_tokenizer(),
        ("a", "b"),
        tmp_path,
        trial=Trial(
            lambda files: dict.fromkeys(files, 2.0), lambda path: 0.7 if "int8" in path.name else 0.9
        ),
    )
    fp32, int8 = record["precisions"]["fp32"], record["precisions"]["int8"]
    assert (fp32["recommended"], fp32["reason"]) == (True, None)
    assert not int8["recommended"]
    # On a processor without VNNI it says so, inside the brackets.
    assert "not faster than fp32 here (2.00 against 2.00 ms" in int8["reason"]
    assert "0.2000 below fp32's" in int8["reason"]


def test_int8_alone_leaves_no_fp32_file(tmp_path: Path) -> None:
    export_folder(compact_model(), word_tokenizer(), ("a", "b"), tmp_path, precisions=("int8",))
    assert [path.name for path in tmp_path.glob("*.onnx")] == ["model_int8.onnx"]


def test_export_tells_all_problems_at_once(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="2 problems") as caught:
        export_folder(compact_model(), word_tokenizer(), ("only",), tmp_path / "out", precisions=("int9",))
    assert "'int9' is unknown; did you mean int8?" in str(caught.value)
    assert "1 names; the model has 2 labels" in str(caught.value)
    assert not (tmp_path / "out").exists()
