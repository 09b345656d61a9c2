"""The generations of a space's evolution: what each leaves, in its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertcompress.evolve_space.autospace import Change, Choices
from bertcompress.files import read_json
from bertcompress.pipeline.evolved_space import FOLDER
from bertcompress.pipeline.run import Run
from bertcompress.space import Operator

GENERATION = "generation.json"


@dataclass(frozen=True)
class Generation:
    """Where evolution stands after a generation: choices and fitness of the next, and how it came to them.

    `banned` holds what each position has lost so far.
    """

    choices: Choices[Operator]
    logits: list[dict[Operator, float]]
    banned: list[set[Operator]]
    record: dict[str, Any]


def generation_name(number: int) -> str:
    """Return the name of a generation's folder in the stage's."""
    return f"generation-{number}"


def carried(logits: dict[Operator, float], operators: Sequence[Operator]) -> dict[Operator, float]:
    """Survivors keep their fitness; the new ones start in the middle of it."""
    kept = [logits[operator] for operator in operators if operator in logits]
    middle = sum(kept) / len(kept)
    return {operator: logits.get(operator, middle) for operator in operators}


def change_row(
    change: Change[Operator], logits: dict[Operator, float], costs: Mapping[Operator, Sequence[float]]
) -> dict[str, Any]:
    """Return what a selection did at one position, as JSON; of the costs the first, the main latency."""
    return {
        "candidates": [
            {
                "operator": candidate.operator.name,
                "logit": logits[candidate.operator],
                "fitness": candidate.fitness,
                "waste": candidate.waste,
                "rival": None if candidate.rival is None else candidate.rival.name,
                "ms": costs[candidate.operator][0],
                "rival_ms": None if candidate.rival is None else costs[candidate.rival][0],
                "score": candidate.score,
                "fate": fate,
            }
            for candidate, fate in zip(change.candidates, change.fates, strict=True)
        ],
        "added": [{"operator": new.name, "parent": parent.name} for new, parent in change.added],
    }


def write_generation(run: Run, number: int, generation: Generation) -> None:
    """Write what the generation `number` leaves to its file."""
    rows = generation.record["positions"]
    values = {
        "record": generation.record,
        "trained": [[candidate["operator"] for candidate in row["candidates"]] for row in rows],
        "fitness": [{operator.name: logit for operator, logit in row.items()} for row in generation.logits],
        "banned": [sorted(operator.name for operator in lost) for lost in generation.banned],
    }
    run.folder.write_json(f"{FOLDER}/{generation_name(number)}/{GENERATION}", values)


def read_generation(path: Path) -> Generation:
    """Read what a finished generation left."""
    values = read_json(path)
    logits = [{Operator.parse(name): logit for name, logit in row.items()} for row in values["fitness"]]
    banned = [{Operator.parse(name) for name in lost} for lost in values["banned"]]
    return Generation(tuple(tuple(row) for row in logits), logits, banned, values["record"])
