"""Small things that many tests build on: a 2-layer, 32-wide BERT that fits in memory and in milliseconds."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.errors import RepositoryNotFoundError
from hypothesis import settings
from small_models import BERT_SIZES, compact_model, word_tokenizer
from transformers import BertConfig, BertForSequenceClassification, BertModel
from unmeasured import unmeasured_but_for_the_model

from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.export.convert import export_onnx
from bertcompress.export.folder import export_folder
from bertcompress.export.optimize import optimize
from bertcompress.export.quantize import quantize_int8
from bertcompress.measure import time_interleaved
from bertcompress.space import Architecture

# A law holds or does not, however busy the machine is.
settings.register_profile("without-a-clock", deadline=None)
settings.register_profile("many", deadline=None, max_examples=2000)
settings.load_profile("without-a-clock")

GOOD_WORDS = ("great", "moving", "funny")
BAD_WORDS = ("dull", "clumsy", "hollow")
FILLERS = ("film", "story", "scene", "actor", "and", "the", "quite", "rather")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")

RECIPE = """
name: tiny
data: {{source: {data}, max_length: 16}}
teacher: {{source: {teacher}, epochs: 12, patience: 24, learning_rate: 2.0e-3}}
space: {{num_positions: 2, operators: [mha2, ffn16, conv3, identity], embedding_size: 16, pooling: mean_max}}
supernet:
  strategy: magic-at
  steps: 120
  learning_rate: 2.0e-3
  train_embeddings: true
  alignment: {{check_every: 20, check_batches: 1}}
budget: {{num_parameters: 9000, speedup: 0.2}}
latency: {{sequence_length: 8, num_chains: 4, num_heldout: 2}}
search: {{num_evaluations: 6, population_size: 4, num_finalists: 2}}
student: {{views: 1, epochs: 3, learning_rate: 3.0e-3, embedding_learning_rate_factor: 1.0}}
race: {{num_entrants: 4, shares: [0.3, 1.0]}}
benchmark: {{batch_sizes: [1], sequence_lengths: [8], num_threads: [1], seconds_per_point: 0.05}}
"""


@pytest.fixture
def tiny_bert_config() -> BertConfig:
    """A BERT of 2 layers, width 32, 4 heads of size 8, feed-forward 64, 2 labels and no dropout."""
    return BertConfig(
        vocab_size=97,
        **BERT_SIZES,
        max_position_embeddings=48,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=2,
    )


@pytest.fixture
def tiny_bert(tiny_bert_config: BertConfig) -> BertForSequenceClassification:
    """The stock classifier of `tiny_bert_config`, in eval mode, its weights drawn from seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BertForSequenceClassification(tiny_bert_config).eval()


@pytest.fixture(scope="session")
def converted_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`compact_model()` as an ONNX file, nothing fused."""
    return export_onnx(compact_model(), tmp_path_factory.mktemp("converted") / "model.onnx")


@pytest.fixture(scope="session")
def optimized_graph(converted_graph: Path) -> Path:
    """`converted_graph` with its fusions."""
    return optimize(converted_graph, converted_graph.with_name("optimized.onnx"))


@pytest.fixture(scope="session")
def quantized_graph(optimized_graph: Path) -> Path:
    """`optimized_graph` in dynamic int8."""
    path = optimized_graph.with_name("int8.onnx")
    quantize_int8(optimized_graph, path)
    return path


@pytest.fixture(scope="session")
def exported_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`compact_model()` with its tokenizer as an exported folder, texts cut at 12 tokens."""
    path = tmp_path_factory.mktemp("exported")
    export_folder(compact_model(), word_tokenizer(), ("negative", "positive"), path, max_length=12)
    return path


@pytest.fixture
def padded_batch() -> Callable[..., dict[str, torch.Tensor]]:
    """Make a batch of random ids, right-padded to the longest of `lengths`: batch([5, 9], vocab_size=97)."""

    def make(lengths: list[int], *, vocab_size: int = 97, seed: int = 0) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        shape = (len(lengths), max(lengths))  # (B, T)
        kept = torch.arange(shape[1])[None, :] < torch.tensor(lengths)[:, None]
        ids = torch.randint(1, vocab_size, shape, generator=generator) * kept
        return {
            "input_ids": ids,
            "attention_mask": kept.long(),
            "token_type_ids": torch.zeros(shape, dtype=torch.long),
        }

    return make


@pytest.fixture
def random_split() -> TokenizedSplit:
    """37 rows of 3 to 12 random ids; the label says whether the first id is a small one."""
    generator = np.random.default_rng(0)
    offsets = np.cumsum([0, *generator.integers(3, 13, size=37)], dtype=np.int64)
    ids = generator.integers(1, 97, size=offsets[-1], dtype=np.int32)
    return TokenizedSplit(ids, np.zeros_like(ids), offsets, (ids[offsets[:-1]] < 48).astype(np.int64))


def not_found(message: str) -> RepositoryNotFoundError:
    """What the Hub's client raises for a name that it does not know."""
    response: Any = SimpleNamespace(headers={}, request=None)
    return RepositoryNotFoundError(message, response=response)


def save_teacher(bert: BertForSequenceClassification, folder: Path) -> None:
    """The encoder without a head, and a tokenizer of whole words, as a checkpoint folder."""
    words = (*SPECIAL, *GOOD_WORDS, *BAD_WORDS, *FILLERS)
    word_tokenizer(words).save_pretrained(folder)
    encoder = BertModel(bert.config)
    encoder.load_state_dict(bert.bert.state_dict())
    encoder.save_pretrained(folder)


def write_sentences(path: Path, num_rows: int = 400) -> None:
    rng = random.Random(0)
    rows = set()
    while len(rows) < num_rows:
        label = rng.choice(["negative", "positive"])
        words = rng.choices(FILLERS, k=rng.randint(3, 7))
        words.insert(rng.randrange(len(words)), rng.choice(GOOD_WORDS if label == "positive" else BAD_WORDS))
        rows.add((" ".join(words), label))
    lines = [json.dumps({"text": text, "label": label}) for text, label in sorted(rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def latency_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where flows keep their latencies: whichever test asks first measures, as it would have done alone."""
    return tmp_path_factory.mktemp("latencies")


@pytest.fixture
def brief_timings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time a file for a twentieth of a second where it would be one or more: less exactly, not otherwise."""

    def briefly(*contenders: Any, min_seconds: float, max_seconds: float, **named: Any) -> Any:
        limits = {"min_seconds": min(min_seconds, 0.05), "max_seconds": min(max_seconds, 0.1)}
        return time_interleaved(*contenders, **limits, **named)

    monkeypatch.setattr("bertcompress.measure.files.time_interleaved", briefly)


@pytest.fixture
def count_latencies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Architecture], float]], None]:
    """Let flows count latencies in place of exporting and timing networks; no other test sees the counts."""

    def use(count: Callable[[Architecture], float]) -> None:
        def all_of(architectures: Sequence[Architecture], *_: Any, **__: Any) -> list[float]:
            return [count(architecture) for architecture in architectures]

        def twice(*arguments: Any, **named: Any) -> tuple[list[float], list[float]]:
            return all_of(*arguments, **named), all_of(*arguments, **named)

        monkeypatch.setattr("bertcompress.pipeline.timing.measure_architectures_ms", all_of)
        monkeypatch.setattr("bertcompress.latency.table.measure_architectures_twice_ms", twice)
        monkeypatch.setattr("bertcompress.latency.store.default_cache_dir", lambda: tmp_path / "counted")

    return use


@pytest.fixture
def tiny_recipe(
    tmp_path: Path,
    latency_cache: Path,
    brief_timings: None,
    tiny_bert: BertForSequenceClassification,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A recipe's file for a tiny teacher and a handful of sentences, both written beside it."""
    monkeypatch.setenv("BERTCOMPRESS_CACHE", str(latency_cache))
    save_teacher(tiny_bert, tmp_path / "teacher-files")
    write_sentences(tmp_path / "sentences.jsonl")
    path = tmp_path / "tiny.yaml"
    text = RECIPE.format(data=tmp_path / "sentences.jsonl", teacher=tmp_path / "teacher-files")
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="session", autouse=True)
def _export_unmeasured() -> Iterator[None]:
    """Coverage looks away while torch exports, here and in all tests."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.onnx, "export", unmeasured_but_for_the_model(torch.onnx.export))
        yield
