"""The supernet: one set of weights for all children, its start from the teacher, and taking a child out."""

from bertcompress.supernet.chain import ChainNetwork, SupernetOutput
from bertcompress.supernet.extract import extract
from bertcompress.supernet.importance import Importance, measure_importance, weight_importance
from bertcompress.supernet.network import SuperBert
from bertcompress.supernet.warm_start import factorize, nearest_to_teacher, warm_start

__all__ = [
    "ChainNetwork",
    "Importance",
    "SuperBert",
    "SupernetOutput",
    "extract",
    "factorize",
    "measure_importance",
    "nearest_to_teacher",
    "warm_start",
    "weight_importance",
]
