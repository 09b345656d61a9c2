"""The latency table of a recipe's space: what search, budgets and `bertcompress latency-table` stand on."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bertcompress.latency.store import LatencyStore
from bertcompress.latency.table import LatencyTable, TableSettings, build_latency_table
from bertcompress.measure import Conditions, best_clock
from bertcompress.pipeline.agreement import check_teacher
from bertcompress.pipeline.run import Run, write_task
from bertcompress.pipeline.run_folder import RunFolder
from bertcompress.pipeline.timing import export_architecture
from bertcompress.recipe import Recipe
from bertcompress.space import Operator, SearchSpace, uniform_bert_operators


def baseline_operators(run: Run) -> tuple[list[Operator], list[Operator]]:
    """Return the attentions and the feed-forwards that the run's uniform BERT may repeat."""
    operators = sorted({operator for position in run.space.choices for operator in position})
    return uniform_bert_operators(operators, run.space.dimensions)


def operator_table(
    run: Run, num_heldout: int | None = None, *, conditions: Conditions | None = None
) -> LatencyTable:
    """The table for the run's space and a uniform BERT's operators; read where it was measured before.

    The error is told on `num_heldout` chains; by default on as many as the recipe says. Without `conditions`
    it is those of the recipe's section latency.
    """
    attentions, feed_forwards = baseline_operators(run)
    baseline = (*attentions, *feed_forwards)
    choices = [(*position, *(o for o in baseline if o not in position)) for position in run.space.choices]
    return table_of_choices(run, choices, num_heldout, conditions=conditions)


def table_of_choices(
    run: Run,
    choices: Sequence[tuple[Operator, ...]],
    num_heldout: int | None = None,
    *,
    conditions: Conditions | None = None,
    monotonic: bool = False,
) -> LatencyTable:
    """`operator_table` for any operators at the run's dimensions, one tuple a position.

    With `monotonic` it is of many sizes of each kind: it is fitted on two chains an operator at least, and no
    operator costs less than a smaller one of its kind.
    """
    chosen, conditions = run.recipe.latency, conditions or run.conditions
    num_operators = len({operator for operators in choices for operator in operators})
    settings = TableSettings(
        num_chains=max(chosen.num_chains, 2 * num_operators) if monotonic else chosen.num_chains,
        num_heldout=chosen.num_heldout if num_heldout is None else num_heldout,
        clock=best_clock(conditions),
        monotonic=monotonic,
    )
    return build_latency_table(
        SearchSpace(run.space.dimensions, tuple(choices)),
        conditions,
        export_architecture,
        settings=settings,
        rng=random.Random(run.recipe.seed),
        store=LatencyStore(),
        on_progress=lambda done, total: run.say(f"latency: {done} of {total} chains exported"),
    )


def recipe_table(
    recipe: Recipe, *, num_heldout: int | None = None, console: Console | None = None
) -> LatencyTable:
    """Return `operator_table` of a recipe without a run; nothing but the store of latencies is written.

    The table is that of the full vocabulary: looking an embedding up takes as long among few as among many.

    Raises:
        BertCompressError: anything about the recipe's data or teacher that the user can put right.
    """
    with tempfile.TemporaryDirectory(prefix="bertcompress-table-") as folder:
        full = recipe.model_copy(update={"space": recipe.space.model_copy(update={"vocabulary": "full"})})
        run = Run(full, RunFolder(Path(folder)), console)
        write_task(run, run.prepared.task)
        check_teacher(recipe, run.teacher_location, run.task.label_names, weights=False)
        return operator_table(run, num_heldout)
