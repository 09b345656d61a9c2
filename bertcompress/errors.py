"""Every exception a user can meet, in one small tree; the command line prints them without a traceback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self


class BertCompressError(Exception):
    """Something the user can put right: the message says where, what was found, and what to do."""

    @classmethod
    def from_problems(cls, subject: str, problems: Sequence[str]) -> Self:
        """One error that lists every problem of `subject` (a file, a data set), a line each."""
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        return cls("\n".join([f"{subject} has {count}", *(f"  {problem}" for problem in problems)]))


class RecipeError(BertCompressError):
    """A recipe cannot be read, or holds keys or values that are not allowed."""


class DataError(BertCompressError):
    """A data source cannot be read, or its columns, labels or rows do not suit the task."""


class SpaceError(BertCompressError):
    """An operator or a search space is not buildable."""


class TeacherError(BertCompressError):
    """A teacher cannot be loaded, or does not suit the task."""


class BudgetError(BertCompressError):
    """No child of the space fits the budgets, or the exported file breaks one."""


class ExportError(BertCompressError):
    """A model cannot be exported, or the exported graph lacks what its architecture should give."""


class VerificationError(BertCompressError):
    """An exported file does not compute what the PyTorch model computes."""


class RunFolderError(BertCompressError):
    """A run folder is in use, unreadable, or not made by this tool."""


class OutputError(BertCompressError):
    """A result cannot be written: the disk is full or read-only, or the path is no place for it."""


class MissingExtraError(BertCompressError):
    """An optional package is needed here; the message names the extra that brings it."""


class LaunchError(BertCompressError):
    """The processes of a launch, or the machines of a cluster, cannot work together."""


class JobError(BertCompressError):
    """One of several independent jobs failed, or lost its worker again and again; the message names it."""
