"""One run: its recipe, its folder, and what earlier stages left there, loaded when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file
from transformers import BertForSequenceClassification, PreTrainedTokenizerBase

from bertcompress.data.prepare import PreparedData
from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.files import read_json
from bertcompress.latency.table import LatencyTable
from bertcompress.measure import Conditions
from bertcompress.model.convert_bert import bert_architecture
from bertcompress.pipeline.costs import LATENCY, cost_function, latency_conditions
from bertcompress.pipeline.recipe_space import recipe_space
from bertcompress.pipeline.run_folder import RunFolder
from bertcompress.pipeline.sources import Sources, read_texts
from bertcompress.recipe import Recipe
from bertcompress.search import Budgets, CostOf
from bertcompress.sources.teacher import hash_teacher, resolve_teacher
from bertcompress.sources.tokenizer import load_tokenizer
from bertcompress.space import Architecture, SearchSpace
from bertcompress.tasks.text_classification import TextClassification
from bertcompress.training.distill import TeacherTargets
from bertcompress.training.teacher import keep_tokens, load_config, load_teacher

SPLITS = ("train", "validation", "test")


def table_file(name: str) -> str:
    """The file of a latency's table in the latency stage's folder."""
    return f"table{name.removeprefix(LATENCY)}.json"


@dataclass(frozen=True, eq=False)
class Run:
    """A recipe in its folder. Properties read what the stages made; they fail where a stage has not run.

    `sources` are the teacher and texts found and checked before; without them a run looks them up itself.
    """

    recipe: Recipe
    folder: RunFolder
    console: Console | None
    sources: Sources | None = None

    def path(self, stage: str, *parts: str) -> Path:
        """A path inside a stage's folder."""
        return self.folder.stage(stage).joinpath(*parts)

    def say(self, message: str) -> None:
        """A line of progress, where somebody listens."""
        if self.console is not None:
            self.console.print(message)

    @cached_property
    def prepared(self) -> PreparedData:
        """The checked splits as text, read from the source."""
        if self.sources is not None and self.sources.prepared is not None:
            return self.sources.prepared
        return read_texts(self.recipe)

    @cached_property
    def task(self) -> TextClassification:
        """Columns, label names and metrics, as the data stage settled them."""
        values = read_json(self.path("data", "task.json"))
        return TextClassification(
            tuple(values["text_columns"]), values["label_column"], tuple(values["label_names"])
        )

    @cached_property
    def teacher_splits(self) -> dict[str, TokenizedSplit]:
        """The splits in the teacher's tokens."""
        return self._load_splits("data")

    @property
    def student_stage(self) -> str:
        """The stage that holds the splits in the children's tokens."""
        return "data" if self.recipe.space.vocabulary == "full" else "vocabulary"

    @cached_property
    def student_splits(self) -> dict[str, TokenizedSplit]:
        """The splits in the children's tokens, the same rows in the same order."""
        return self.teacher_splits if self.student_stage == "data" else self._load_splits(self.student_stage)

    def _load_splits(self, stage: str) -> dict[str, TokenizedSplit]:
        return {name: TokenizedSplit.load(self.path(stage, f"{name}.safetensors")) for name in SPLITS}

    @cached_property
    def teacher_location(self) -> str:
        """Where the recipe's teacher lies before fine-tuning."""
        return self.sources.teacher_location if self.sources else resolve_teacher(self.recipe.teacher.source)

    @cached_property
    def teacher_files(self) -> dict[str, dict[str, str]]:
        """Hashes of the files that are read of the recipe's teacher, see hash_teacher."""
        return hash_teacher(self.teacher_location)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The teacher's tokenizer."""
        return load_tokenizer(self.teacher_location)

    @cached_property
    def student_tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer that every child shares."""
        if self.student_stage == "data":
            return self.tokenizer
        return load_tokenizer(str(self.path("vocabulary", "tokenizer")))

    @cached_property
    def kept_tokens(self) -> np.ndarray | None:
        """The teacher's ids of the children's tokens, in their order; None where they have all of them."""
        if self.student_stage == "data":
            return None
        return np.array(read_json(self.path("vocabulary", "vocabulary.json"))["kept"], dtype=np.int64)

    @cached_property
    def teacher_architecture(self) -> Architecture:
        """The teacher as a chain, its head for this task included."""
        config = load_config(self.teacher_location)
        config.num_labels = self.task.num_labels
        return bert_architecture(config)

    @cached_property
    def teacher(self) -> BertForSequenceClassification:
        """The fine-tuned teacher."""
        return load_teacher(str(self.path("teacher", "model")), self.task.label_names)

    @cached_property
    def starting_model(self) -> BertForSequenceClassification:
        """What children start from: the fine-tuned teacher, its embeddings those of the children's tokens."""
        if self.kept_tokens is None:
            return self.teacher
        return keep_tokens(
            load_teacher(str(self.path("teacher", "model")), self.task.label_names), self.kept_tokens
        )

    @cached_property
    def targets(self) -> TeacherTargets:
        """The teacher's answers on the training split."""
        return TeacherTargets.load(self.path("teacher", "targets.safetensors"))

    @cached_property
    def teacher_logits(self) -> dict[str, np.ndarray]:
        """The teacher's logits on the validation and test splits."""
        return load_arrays(self.path("teacher", "logits.safetensors"))

    @cached_property
    def transfer(self) -> tuple[TokenizedSplit, TeacherTargets]:
        """What students learn from: the training rows and their views, and the teacher's answers on all."""
        train, path = self.student_splits["train"], self.path("transfer", "views.safetensors")
        if not path.exists():
            return train, self.targets
        logits = load_file(self.path("transfer", "logits.safetensors"))["logits"]
        return TokenizedSplit.joined([train, TokenizedSplit.load(path)]), self.targets.followed_by(logits)

    @cached_property
    def space(self) -> SearchSpace:
        """The recipe's search space at the teacher's width."""
        vocab_size = None if self.kept_tokens is None else len(self.kept_tokens)
        return recipe_space(self.recipe, self.teacher_architecture, vocab_size)

    @cached_property
    def conditions(self) -> Conditions:
        """What the recipe's section latency describes: how the model will be served."""
        return self.latency_conditions[LATENCY]

    @cached_property
    def latency_conditions(self) -> dict[str, Conditions]:
        """The conditions of every latency that is a cost here, by the cost's name."""
        return latency_conditions(self.recipe)

    @cached_property
    def latency(self) -> dict[str, Any]:
        """What the latency stage settled: the teacher's latencies and the limits in force."""
        values: dict[str, Any] = read_json(self.path("latency", "budgets.json"))
        return values

    @cached_property
    def latency_tables(self) -> dict[str, LatencyTable]:
        """Costs of the operators on this machine, for every latency by its cost's name."""
        return {
            name: LatencyTable.from_dict(read_json(self.path("latency", table_file(name))))
            for name in self.latency_conditions
        }

    @property
    def latency_table(self) -> LatencyTable:
        """Costs of the operators at the conditions of the recipe's section latency."""
        return self.latency_tables[LATENCY]

    @cached_property
    def budgets(self) -> Budgets:
        """The limits in force, a speedup already turned into milliseconds."""
        return Budgets.from_list(self.latency["budgets"])

    @cached_property
    def cost_of(self) -> CostOf:
        """What a placed or canonical child costs: parameters exactly, latencies as predicted."""
        return cost_function(self.recipe, self.space.dimensions, self.latency_tables)


def write_task(run: Run, task: TextClassification) -> None:
    """Write what `Run.task` reads."""
    described = {
        "text_columns": list(task.text_columns),
        "label_column": task.label_column,
        "label_names": list(task.label_names),
    }
    run.folder.write_json("data/task.json", described)
