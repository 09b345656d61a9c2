"""Export a classifier with optimum-onnx, for against_optimum.py. Runs in an environment of its own:

    python -m venv venv-optimum
    venv-optimum/bin/pip install torch "optimum-onnx[onnxruntime]" "transformers<4.58"
    venv-optimum/bin/python benchmarks/optimum_export.py MODEL_DIR OUT_DIR

since optimum-onnx holds transformers below 4.58. Writes OUT_DIR/VARIANT/model.onnx and OUT_DIR/versions.json.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

from optimum.onnxruntime import (
    AutoOptimizationConfig,
    AutoQuantizationConfig,
    ORTModelForSequenceClassification,
    ORTOptimizer,
    ORTQuantizer,
)

PACKAGES = ("optimum", "optimum-onnx", "transformers", "torch", "onnx", "onnxruntime")
LEVELS = {"O1": AutoOptimizationConfig.O1, "O2": AutoOptimizationConfig.O2, "O3": AutoOptimizationConfig.O3}
# Dynamic: scales of the activations as they come.
QUANTIZATIONS = {"avx2": AutoQuantizationConfig.avx2, "avx512_vnni": AutoQuantizationConfig.avx512_vnni}


def main() -> None:
    """Write every variant that a user of optimum would try."""
    model_dir, out_dir = map(Path, sys.argv[1:3])
    plain = out_dir / "plain"
    model = ORTModelForSequenceClassification.from_pretrained(model_dir, export=True)
    model.save_pretrained(plain)
    for name, level in LEVELS.items():
        ORTOptimizer.from_pretrained(plain).optimize(optimization_config=level(), save_dir=out_dir / name)
        _rename(out_dir / name)
    for name, quantization in QUANTIZATIONS.items():
        for per_channel in (False, True):
            folder = out_dir / "_".join(["int8", name, *(["per_channel"] if per_channel else [])])
            # Of the plain graph: the quantizer refuses those of O2 and O3 (outputs of unknown type).
            quantizer = ORTQuantizer.from_pretrained(plain)
            config = quantization(is_static=False, per_channel=per_channel)
            quantizer.quantize(save_dir=folder, quantization_config=config)
            _rename(folder)
    found = {package: version(package) for package in PACKAGES}
    (out_dir / "versions.json").write_text(
        json.dumps({"python": platform.python_version(), **found}, indent=2)
    )


def _rename(folder: Path) -> None:
    """Each variant's only graph is called model.onnx."""
    (path,) = folder.glob("*.onnx")
    if path.name != "model.onnx":
        shutil.move(path, folder / "model.onnx")


if __name__ == "__main__":
    main()
