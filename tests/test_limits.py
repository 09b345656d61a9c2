"""One limit of length, read from the model: no command times or serves more tokens than it has positions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import save_classifier
from small_models import BERT_SIZES
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    RobertaConfig,
)
from typer.testing import CliRunner

from bertcompress.cli.app import app
from bertcompress.sources.limits import input_limits, too_long

SMALL: dict[str, Any] = {"vocab_size": 20, "max_position_embeddings": 24}
CONFIGS = {
    "bert": BertConfig(**SMALL, **BERT_SIZES),
    "electra": ElectraConfig(**SMALL, **BERT_SIZES),
    "distilbert": DistilBertConfig(**SMALL, dim=32, n_layers=2, n_heads=4, hidden_dim=64),
    "roberta": RobertaConfig(**SMALL, **BERT_SIZES),
    "roberta that pads with 3": RobertaConfig(**SMALL, **BERT_SIZES, pad_token_id=3),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_limit_is_the_longest_row_that_the_model_takes(config: Any, tmp_path: Path) -> None:
    """huggingface/transformers 14243; with another padding id, rinnakk/japanese-pretrained-models 3."""
    config.save_pretrained(tmp_path)
    limits = input_limits(AutoConfig.from_pretrained(tmp_path).to_dict())
    model = AutoModelForSequenceClassification.from_config(config).eval()
    model(input_ids=torch.full((1, limits.max_length), 7))
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, limits.max_length + 1), 7))


def test_a_config_may_leave_out_the_padding_of_a_roberta() -> None:
    sizes = {"model_type": "roberta", "vocab_size": 9, "max_position_embeddings": 514}
    assert input_limits(sizes).max_length == 512
    assert too_long("--max-length", 512, input_limits(sizes)) is None
    assert "513 tokens; the teacher has positions for 512" in str(
        too_long("--max-length", 513, input_limits(sizes))
    )


@pytest.mark.parametrize("option", ["--sequence-length", "--max-length"])
def test_export_model_takes_no_length_beyond_the_model(tmp_path: Path, option: str) -> None:
    model = save_classifier(tmp_path / "model")
    done = CliRunner().invoke(app, ["export-model", str(model), str(tmp_path / "out"), option, "41"])
    assert done.exit_code == 2, done.output
    assert f"{option.strip('-').replace('-', '_')}: 41 tokens; the model has positions for 40" in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "command", [["benchmark", "--sequence-lengths", "8,41"], ["latency", "time", "--sequence-length", "41"]]
)
def test_no_file_is_timed_beyond_its_model(exported_folder: Path, tmp_path: Path, command: list[str]) -> None:
    output = tmp_path / "result.json"
    done = CliRunner().invoke(app, [*command, str(exported_folder), "--output", str(output)])
    assert done.exit_code == 2, done.output
    assert "41 tokens" in done.output
    assert "positions for 40" in done.output
    assert not output.exists()
