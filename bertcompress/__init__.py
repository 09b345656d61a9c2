"""From a recipe and a BERT teacher to the best small BERT that fits a latency and parameter budget.

The names below are loaded when first used, so that importing the package costs nothing."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bertcompress.auto_classes import install

if TYPE_CHECKING:
    from bertcompress.errors import BertCompressError as BertCompressError
    from bertcompress.errors import BudgetError as BudgetError
    from bertcompress.errors import DataError as DataError
    from bertcompress.errors import ExportError as ExportError
    from bertcompress.errors import JobError as JobError
    from bertcompress.errors import LaunchError as LaunchError
    from bertcompress.errors import MissingExtraError as MissingExtraError
    from bertcompress.errors import OutputError as OutputError
    from bertcompress.errors import RecipeError as RecipeError
    from bertcompress.errors import RunFolderError as RunFolderError
    from bertcompress.errors import SpaceError as SpaceError
    from bertcompress.errors import TeacherError as TeacherError
    from bertcompress.errors import VerificationError as VerificationError
    from bertcompress.export.model import export_model as export_model
    from bertcompress.export.runtime import OnnxClassifier as OnnxClassifier
    from bertcompress.export.runtime_tokens import OnnxQuestionAnswerer as OnnxQuestionAnswerer
    from bertcompress.export.runtime_tokens import OnnxTokenClassifier as OnnxTokenClassifier
    from bertcompress.model import (
        CompactBertForSequenceClassification as CompactBertForSequenceClassification,
    )
    from bertcompress.pipeline import run_recipe as run_recipe
    from bertcompress.pipeline.compress import CompressionResult as CompressionResult
    from bertcompress.pipeline.compress import compress as compress
    from bertcompress.recipe import list_recipes as list_recipes
    from bertcompress.recipe import load_recipe as load_recipe
    from bertcompress.space import Architecture as Architecture
    from bertcompress.space import SearchSpace as SearchSpace
    from bertcompress.supernet import SuperBert as SuperBert

__version__ = "0.1.0"

_ERRORS = (
    "BertCompressError", "BudgetError", "DataError", "ExportError", "JobError", "LaunchError",
    "MissingExtraError", "OutputError", "RecipeError", "RunFolderError", "SpaceError", "TeacherError",
    "VerificationError",
)  # fmt: skip
_HOME = {
    **dict.fromkeys(_ERRORS, "bertcompress.errors"),
    "Architecture": "bertcompress.space",
    "CompactBertForSequenceClassification": "bertcompress.model",
    "CompressionResult": "bertcompress.pipeline.compress",
    "OnnxClassifier": "bertcompress.export.runtime",
    "OnnxQuestionAnswerer": "bertcompress.export.runtime_tokens",
    "OnnxTokenClassifier": "bertcompress.export.runtime_tokens",
    "SearchSpace": "bertcompress.space",
    "SuperBert": "bertcompress.supernet",
    "compress": "bertcompress.pipeline.compress",
    "export_model": "bertcompress.export.model",
    "list_recipes": "bertcompress.recipe",
    "load_recipe": "bertcompress.recipe",
    "run_recipe": "bertcompress.pipeline",
}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


install()
