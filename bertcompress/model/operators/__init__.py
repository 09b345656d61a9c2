"""The modules of the operators: one file a kind, all of them in `registry.MODULES`."""

from bertcompress.model.operators.operator_module import BertLayer, OperatorModule
from bertcompress.model.operators.registry import MODULES, build_operator

__all__ = ["MODULES", "BertLayer", "OperatorModule", "build_operator"]
