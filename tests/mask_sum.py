"""The smallest graph that is served like an exported one: a single node, over in microseconds."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper


def write_mask_sum(path: Path) -> Path:
    """Write the graph whose logits are the sum of input_ids and attention_mask."""
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("logits", TensorProto.INT64, ["batch", "sequence"])
    node = helper.make_node("Add", ["input_ids", "attention_mask"], ["logits"])
    graph = helper.make_graph([node], "sum", inputs, [output])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))
    return path
