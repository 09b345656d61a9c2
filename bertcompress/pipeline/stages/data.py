"""Check, split and tokenise the texts."""

from __future__ import annotations

from rich.markup import escape

from bertcompress.data.notices import notices
from bertcompress.data.tokenized import tokenize
from bertcompress.errors import DataError
from bertcompress.pipeline.run import SPLITS, Run, write_task
from bertcompress.pipeline.stage import Stage

MIN_TRAIN_ROWS = 16


def prepare_data(run: Run) -> None:
    """Check, split and tokenise the texts; what was dropped is in report.json."""
    prepared, task = run.prepared, run.prepared.task
    rows = {name: len(prepared.splits[name]) for name in SPLITS}
    if rows["train"] < MIN_TRAIN_ROWS:
        raise DataError(f"data: {rows['train']} training rows are left; at least {MIN_TRAIN_ROWS} are needed")
    for name in SPLITS:
        split = tokenize(prepared.splits[name], run.tokenizer, task, run.recipe.data.max_length)
        split.save(run.path("data", f"{name}.safetensors"))
    run.folder.write_json("data/report.json", {"rows": rows, **prepared.report})
    for notice in notices(prepared.report):
        run.say(escape(f"data: {notice}"))
    write_task(run, task)


STAGE = Stage("data", ("task", "data", "seed", "teacher.source"), (), prepare_data)
