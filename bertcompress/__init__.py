"""From a recipe and a BERT teacher to the best small BERT that fits a latency and parameter budget.

The names below are loaded when first used, so that importing the package costs nothing."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bertcompress.export.runtime import OnnxClassifier as OnnxClassifier
    from bertcompress.export.runtime_tokens import OnnxQuestionAnswerer as OnnxQuestionAnswerer
    from bertcompress.export.runtime_tokens import OnnxTokenClassifier as OnnxTokenClassifier
    from bertcompress.model import (
        CompactBertForSequenceClassification as CompactBertForSequenceClassification,
    )
    from bertcompress.pipeline import run_recipe as run_recipe
    from bertcompress.recipe import list_recipes as list_recipes
    from bertcompress.recipe import load_recipe as load_recipe
    from bertcompress.space import Architecture as Architecture
    from bertcompress.space import SearchSpace as SearchSpace
    from bertcompress.supernet import SuperBert as SuperBert

__version__ = "0.1.0"

_HOME = {
    "Architecture": "bertcompress.space",
    "CompactBertForSequenceClassification": "bertcompress.model",
    "OnnxClassifier": "bertcompress.export.runtime",
    "OnnxQuestionAnswerer": "bertcompress.export.runtime_tokens",
    "OnnxTokenClassifier": "bertcompress.export.runtime_tokens",
    "SearchSpace": "bertcompress.space",
    "SuperBert": "bertcompress.supernet",
    "list_recipes": "bertcompress.recipe",
    "load_recipe": "bertcompress.recipe",
    "run_recipe": "bertcompress.pipeline",
}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
