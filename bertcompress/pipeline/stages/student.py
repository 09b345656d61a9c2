"""Race: distill the entrants in rungs, ship the best of them, and keep the best baseline beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from bertcompress.pipeline.entrant_training import EntrantTraining, TrainInWorker, train_entrant
from bertcompress.pipeline.entrants import BASELINES, HAND_DESIGN
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.stage import Stage
from bertcompress.pipeline.stages.search import entrants
from bertcompress.search.race import Entrant, Placing, Rung, plan_rungs, race
from bertcompress.training.parallel import run_jobs
from bertcompress.training.processes import is_first, num_processes

TRAININGS = "race"  # the folder of all trainings inside the stage's


def race_students(run: Run) -> None:
    """Race the entrants; the best becomes student/winner, the best hand design that lost student/baseline."""
    racing, chosen = entrants(run), run.recipe.race
    rungs = plan_rungs(len(racing), min(chosen.num_finalists, len(racing)), chosen.shares)
    seeded_origins = BASELINES if run.recipe.student.baseline else ()
    placings = race(racing, rungs, lambda some, rung: _train_rung(run, some, rung), seeded=seeded_origins)
    if not is_first():
        return
    best = {placing.entrant.name: _best_training(run, placing.entrant, placing.rung) for placing in placings}
    baseline = _best_baseline(placings) if run.recipe.student.baseline else None
    _deliver(run, "winner", best[placings[0].entrant.name])
    if baseline is not None:
        _deliver(run, "baseline", best[baseline.entrant.name])
    described = {
        "rungs": [{"num_entrants": rung.num_entrants, "share": rung.share} for rung in rungs],
        "placings": [_placing_row(placing, _result(best[placing.entrant.name])) for placing in placings],
        "winner": placings[0].entrant.name,
        "baseline": None if baseline is None else baseline.entrant.name,
    }
    run.folder.write_json("student/race.json", described)


def _train_rung(run: Run, racing: Sequence[Entrant], rung: Rung) -> Iterator[tuple[Entrant, float]]:
    """Train every entrant for the rung, in full with every seed; an entrant's score is its seeds' mean.

    A training that was finished before is not done again.
    """
    trainings = {entrant: _trainings(run, entrant, rung) for entrant in racing}
    wanted = [each for some in trainings.values() for each in some if each.result() is None]
    run.say(f"student: {len(racing)} entrants, {rung.share:.0%} of a full training each")
    workers = 1 if num_processes() > 1 else min(run.recipe.race.num_workers, max(1, len(wanted)))
    train = (
        partial(train_entrant, run, console=run.console)
        if workers == 1
        else TrainInWorker(run.folder.path.resolve())
    )
    for training, _ in run_jobs(train, wanted, workers=workers, name_of=lambda each: each.name):
        run.say(f"student: {training.name}: {_words(_result(training))}")
    for entrant, its in trainings.items():
        yield entrant, sum(_result(training)["score"] for training in its) / len(its)


def _words(result: Mapping[str, Any]) -> str:
    metrics = result["metrics"]["validation"]
    return (
        f"validation accuracy {metrics['accuracy']:.3f}, agrees with the teacher {metrics['agreement']:.3f}"
    )


def _trainings(run: Run, entrant: Entrant, rung: Rung) -> list[EntrantTraining]:
    """All trainings of an entrant in a rung, one a seed."""
    first = run.recipe.seed
    seeds = range(first, first + (run.recipe.race.num_seeds if rung.share == 1 else 1))
    folder = run.path("student", TRAININGS, entrant.name)
    return [
        EntrantTraining(entrant, rung.share, seed, folder / f"share-{rung.share:g}-seed-{seed}")
        for seed in seeds
    ]


def _result(training: EntrantTraining) -> dict[str, Any]:
    result = training.result()
    if result is None:
        raise RuntimeError(f"{training.folder}: the training ended without a result")
    return result


def _best_training(run: Run, entrant: Entrant, rung: Rung) -> EntrantTraining:
    return min(_trainings(run, entrant, rung), key=lambda each: (_result(each)["score"], each.seed))


def _best_baseline(placings: Sequence[Placing]) -> Placing | None:
    """The best hand-designed network that was trained in full and did not win."""
    return next((p for p in placings[1:] if p.rung.share == 1 and p.entrant.origin == HAND_DESIGN), None)


def _placing_row(placing: Placing, result: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "architecture": placing.entrant.name,
        "origin": placing.entrant.origin,
        "share": placing.rung.share,
        "score": placing.score,
        "metrics": result["metrics"],
        "seed": result["seed"],
    }


def _deliver(run: Run, role: str, training: EntrantTraining) -> None:
    """Copy a training's model, curve and metrics to the role's folder."""
    shutil.copytree(training.folder, run.path("student", role), dirs_exist_ok=True)
    run.folder.write_json(f"student/{role}/metrics.json", _result(training)["metrics"])


STAGE = Stage(
    "student", ("student", "race"), ("search", "transfer"), race_students, (TRAININGS,), race_students
)
