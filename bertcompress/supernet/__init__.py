"""The supernet: one set of weights for all children, its start from the teacher, and taking a child out."""

from bertcompress.supernet.extract import extract
from bertcompress.supernet.importance import Importance, measure_importance, weight_importance
from bertcompress.supernet.network import SuperBert, SupernetOutput
from bertcompress.supernet.warm_start import factorize, warm_start

__all__ = [
    "Importance",
    "SuperBert",
    "SupernetOutput",
    "extract",
    "factorize",
    "measure_importance",
    "warm_start",
    "weight_importance",
]
