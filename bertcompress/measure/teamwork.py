"""How well do threads work together just now? Asked of a chain of small products that never changes.

A virtual machine's CPUs may share a cache for some seconds and lie apart for the next: each alone is as fast
as before, but what one thread computed reaches the other late. A network on several threads then takes up to
a quarter longer, which neither the kernel's counters nor a loop on one thread show.
"""

from __future__ import annotations

import statistics
import time

import numpy as np

from bertcompress.measure.session import session

# Products as small as those of a compact network at batch one: a thread has some microseconds of each.
ROWS, WIDTH, NUM_PRODUCTS = 32, 384, 24
CALLS = 12


class Teamwork:
    """Sessions of one chain with one thread and with several, held against each other at every reading."""

    def __init__(self, num_threads: int) -> None:
        chain = _chain()
        self._sessions = (session(chain, 1), session(chain, num_threads))
        self._feed = {"x0": np.ones((ROWS, WIDTH), dtype=np.float32)}

    def share(self) -> float:
        """What the threads take of one thread's time now: 1 / threads at best, some 20 ms to find out."""
        seconds: tuple[list[float], list[float]] = ([], [])
        for _ in range(CALLS):
            for opened, timings in zip(self._sessions, seconds, strict=True):
                start = time.perf_counter()
                opened.run(None, self._feed)
                timings.append(time.perf_counter() - start)
        alone, together = (statistics.median(timings) for timings in seconds)
        return together / alone


def _chain() -> bytes:
    """An ONNX file of matrix products, one after the other, that keep numbers as they are."""
    # A server that never asks has no onnx.
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.eye(WIDTH, dtype=np.float32), "weights")
    nodes = [
        helper.make_node("MatMul", [f"x{index}", "weights"], [f"x{index + 1}"])
        for index in range(NUM_PRODUCTS)
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [ROWS, WIDTH])
        for name in ("x0", f"x{NUM_PRODUCTS}")
    ]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], [weights])
    opset = helper.make_opsetid("", 18)
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[opset], ir_version=9)
    return bytes(model.SerializeToString())
