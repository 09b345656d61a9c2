"""The model card of an exported folder: what it is, what was measured and where, how to load it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COLUMNS = ("precision", "file", "size, MiB", "p50, ms", "metric", "largest logit error", "recommended")


def model_card(record: Mapping[str, Any], about: Mapping[str, str]) -> str:
    """README.md for the record of an export, in Markdown with the header that the Hub reads.

    `about` holds what only the caller knows, e.g. {"recipe": "sst2-small", "seed": "0"}; "name" is the title.
    """
    architecture = record["architecture"]
    operators = " -> ".join(architecture["operators"]) or "none"
    facts = {
        "labels": ", ".join(record["label_names"]),
        "operators": operators,
        "hidden size": architecture["dimensions"]["hidden_size"],
        "longest input": f"{record['max_length']} tokens",
        "measured on": record["machine"],
        **{name: value for name, value in about.items() if name != "name"},
        "made with": ", ".join(f"{name} {version}" for name, version in record["versions"].items()),
    }
    lines = [
        *("---", "library_name: transformers", "pipeline_tag: text-classification"),
        *("tags:", "- bertcompress", "- onnx", "---"),
        *("", f"# {about.get('name', 'A text classifier')}", ""),
        *(f"- {name}: {value}" for name, value in facts.items()),
        *("", "## Measured", "", *_table(record["precisions"])),
        *("", "## Use", "", *USE),
    ]
    return "\n".join(lines) + "\n"


def _table(precisions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [COLUMNS, ("---",) * len(COLUMNS)]
    for name, entry in precisions.items():
        recommended = "yes" if entry["recommended"] else f"no: {entry['reason']}"
        rows.append(
            (
                name,
                entry["file"],
                f"{entry['size_mib']:.1f}",
                _number(entry["p50_ms"], ".2f"),
                _number(entry["metric"], ".4f"),
                f"{entry['max_logit_error']:.1e}",
                recommended,
            )
        )
    return [f"| {' | '.join(row)} |" for row in rows]


def _number(value: float | None, form: str) -> str:
    return "not measured" if value is None else format(value, form)


USE = (
    "Without torch (numpy, tokenizers and onnxruntime):",
    "",
    "```python",
    "from bertcompress.export.runtime import OnnxClassifier",
    "",
    'classifier = OnnxClassifier("PATH/TO/THIS/FOLDER", precision="fp32", num_threads=1)',
    'classifier.classify(["a text", ("a text", "and its pair")])',
    "```",
    "",
    "With transformers:",
    "",
    "```python",
    "import bertcompress.model  # knows compact models; a stock BERT loads without it",
    "from transformers import AutoModelForSequenceClassification, AutoTokenizer",
    "",
    'model = AutoModelForSequenceClassification.from_pretrained("PATH/TO/THIS/FOLDER")',
    'tokenizer = AutoTokenizer.from_pretrained("PATH/TO/THIS/FOLDER")',
    "```",
    "",
    "Open the ONNX files at graph optimisation level BASIC: a higher one undoes the choice of fusions that",
    "was made by measurement. int8 takes its scales over the whole batch, so a row's logits depend a little",
    "on the rows beside it.",
)
