"""Measure the teacher, fit the costs of the operators, prove that a child fits the budgets."""

from __future__ import annotations

import random

from bertcompress.errors import BudgetError
from bertcompress.pipeline.costs import cost_function, speedups, wanted_budgets
from bertcompress.pipeline.operator_costs import operator_table
from bertcompress.pipeline.run import Run, table_file
from bertcompress.pipeline.stage import Stage
from bertcompress.pipeline.timing import measure_whole
from bertcompress.search import check_feasible


def settle_latency(run: Run) -> None:
    """Measure the teacher, fit the operator costs, turn speedups into milliseconds, prove that a child fits.

    All of it at every condition that the recipe names a latency for.

    Raises:
        BudgetError: no child fits; names the smallest reachable values. Nothing has been trained by then.
    """
    teacher_ms, tables = {}, {}
    for name, conditions in run.latency_conditions.items():
        teacher = run.teacher_architecture
        teacher_ms[name] = measure_whole([teacher], conditions)[teacher.name]
        tables[name] = operator_table(run, conditions=conditions)
    budgets, asked = wanted_budgets(run.recipe, teacher_ms), speedups(run.recipe)
    cost_of = cost_function(run.recipe, run.space.dimensions, tables)
    try:
        feasible = check_feasible(run.space, cost_of, budgets, random.Random(run.recipe.seed))
    except BudgetError as error:
        if not asked:
            raise
        words = [
            f"{name}: {_speedup_words(asked[name])} the teacher's {teacher_ms[name]:.3g} ms" for name in asked
        ]
        raise BudgetError("\n  ".join([str(error), *words])) from error
    for name, table in tables.items():
        run.folder.write_json(f"latency/{table_file(name)}", table.to_dict())
    settled = {
        "budgets": budgets.to_list(),
        "speedups": asked,
        "teacher_ms": teacher_ms,
        "conditions": {name: str(conditions) for name, conditions in run.latency_conditions.items()},
        "feasible_child": [operator.name for operator in feasible],
    }
    run.folder.write_json("latency/budgets.json", settled)


def _speedup_words(asked: tuple[float | None, float | None]) -> str:
    words = [f"at {side} {bound:g}" for side, bound in zip(("least", "most"), asked, strict=True) if bound]
    return f"speedup of {' and '.join(words)} over"


STAGE = Stage("latency", ("space", "budget", "latency", "seed"), ("vocabulary",), settle_latency)
