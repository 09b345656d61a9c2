"""The compact model and its place in Hugging Face's Auto classes.

After `import bertcompress.model`, its AutoConfig and
AutoModelForSequenceClassification load a saved compact model."""

from transformers import AutoConfig, AutoModelForSequenceClassification

from bertcompress.model.chain import initialize, run_for_head
from bertcompress.model.compact import CompactBertForSequenceClassification
from bertcompress.model.config import CompactBertConfig
from bertcompress.model.convert_bert import (
    as_stock_bert,
    bert_architecture,
    bert_dimensions,
    compact_from_bert,
    stock_obstacles,
)
from bertcompress.model.operators import build_operator

__all__ = [
    "CompactBertConfig",
    "CompactBertForSequenceClassification",
    "as_stock_bert",
    "bert_architecture",
    "bert_dimensions",
    "build_operator",
    "compact_from_bert",
    "initialize",
    "run_for_head",
    "stock_obstacles",
]

AutoConfig.register(CompactBertConfig.model_type, CompactBertConfig, exist_ok=True)
AutoModelForSequenceClassification.register(
    CompactBertConfig, CompactBertForSequenceClassification, exist_ok=True
)
