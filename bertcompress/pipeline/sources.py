"""What a run reads from outside: checked before anything heavy is loaded and anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bertcompress.data.prepare import PreparedData, prepare
from bertcompress.errors import RunFolderError
from bertcompress.pipeline.run_folder import RunFolder
from bertcompress.recipe import Recipe
from bertcompress.sources.data import load_source
from bertcompress.sources.teacher import resolve_teacher


@dataclass(frozen=True)
class Sources:
    """Where the teacher lies, and the checked texts; none where the run's folder is there already."""

    teacher_location: str
    prepared: PreparedData | None


def check_sources(recipe: Recipe, run_dir: Path) -> Sources:
    """Find the teacher, and read and check the texts of a run that is new.

    Raises:
        TeacherError: there is no such teacher.
        DataError: the texts cannot be read, or do not suit the task.
        RunFolderError: the distribution that the search starts from is missing.
    """
    start = recipe.search.start_distribution
    if start is not None and not Path(start).is_file():
        raise RunFolderError(f"search.start_distribution: {start} is missing; give an earlier run's file")
    location = resolve_teacher(recipe.teacher.source)
    return Sources(location, None if RunFolder(run_dir).exists() else read_texts(recipe))


def read_texts(recipe: Recipe) -> PreparedData:
    """The recipe's splits as text, checked.

    Raises:
        DataError: they cannot be read, or do not suit the task.
    """
    data, task = recipe.data, recipe.task
    return prepare(
        load_source(data.source, data.files, data.where),
        text_columns=task.text_columns,
        label_column=task.label_column,
        label_names=task.label_names,
        fractions={"test": data.test_fraction, "validation": data.validation_fraction},
        max_rows={
            "train": data.max_train_rows,
            "validation": data.max_validation_rows,
            "test": data.max_test_rows,
        },
        seed=recipe.seed,
        group_column=data.group_column,
    )
