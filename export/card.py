"""The model card of an exported folder: what it is, what was measured and where, how to load it, limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertcompress.export.heads import HEADS, SEQUENCE, SPAN, TOKEN, Head
from bertcompress.export.precisions import PRECISIONS
from bertcompress.space import Architecture

COLUMNS = (
    "precision", "file", "size, MiB", "p50, ms", "metric", "largest logit error", "same answer as PyTorch",
    "recommended",
)  # fmt: skip
FOLDER = "PATH/TO/THIS/FOLDER"
# The class that serves a folder without torch, from which module, and a call of it.
SERVED_BY = {
    SEQUENCE: (
        "runtime", "OnnxClassifier", "classifier",
        'classifier.classify(["a text", ("a text", "and its pair")])',
    ),
    TOKEN: ("runtime_tokens", "OnnxTokenClassifier", "tagger", 'tagger.entities(["a text"])'),
    SPAN: (
        "runtime_tokens", "OnnxQuestionAnswerer", "reader", 'reader.answer([("a question", "a text")])'
    ),
}  # fmt: skip


def model_card(record: Mapping[str, Any], about: Mapping[str, str]) -> str:
    """README.md for the record of an export, in Markdown with the header that the Hub reads.

    `about` holds what only the caller knows, e.g. {"recipe": "sst2-small", "seed": "0"}; "name" is the title.
    """
    head = _head(record)
    lines = [
        *("---", "library_name: transformers", f"pipeline_tag: {head.task}"),
        *("tags:", "- bertcompress", "- onnx", "---"),
        *("", f"# {about.get('name', f'A {head.noun}')}", ""),
        *(f"- {name}: {value}" for name, value in _facts(record, about).items()),
        *("", "## Measured", "", *_table(record["precisions"]), "", *_how_measured(record)),
        *("", "## Use", "", *_use(record)),
        *("", "## Limits", "", *_limits(record)),
    ]
    return "\n".join(lines) + "\n"


def _head(record: Mapping[str, Any]) -> Head:
    return next(head for head in HEADS if head.task == record["task"])


def _facts(record: Mapping[str, Any], about: Mapping[str, str]) -> dict[str, str]:
    architecture, weights = Architecture.from_dict(record["architecture"]), record["weights"]
    dimensions, obstacles = architecture.dimensions, weights["why_not_stock"]
    kept_as = f"`{weights['class']}`"
    counts = f"{weights['num_parameters']:,}", f"{weights['num_in_word_embeddings']:,}"
    labels = {} if _head(record) == SPAN else {"labels": ", ".join(record["label_names"])}
    return {
        **labels,
        "operators": " -> ".join(operator.name for operator in architecture.operators) or "none",
        "hidden size": f"{dimensions.hidden_size}, embedded in {dimensions.embedding_size}",
        "parameters": f"{counts[0]}, of which {counts[1]} embed words",
        "longest input": f"{record['max_length']} tokens; a longer one is cut",
        "weights": f"{kept_as}; no stock BERT: {'; '.join(obstacles)}"
        if obstacles
        else f"{kept_as}, which transformers loads without bertcompress",
        "measured on": record["machine"],
        **{name: value for name, value in about.items() if name != "name"},
        "made with": ", ".join(f"{name} {version}" for name, version in record["versions"].items()),
    }


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
                f"{entry['agreement']:.1%} of {entry['num_rows']} rows",
                recommended,
            )
        )
    return [f"| {' | '.join(row)} |" for row in rows]


def _number(value: float | None, form: str) -> str:
    return "not measured" if value is None else format(value, form)


def _how_measured(record: Mapping[str, Any]) -> list[str]:
    lines = [
        "Logits are held against PyTorch's on random ids at many shapes, padded on either side and in the",
        "middle, and on real rows where the export was given some. Weights are compared tensor by tensor.",
    ]
    for word, entry in record["precisions"].items():
        if (how := PRECISIONS[word].how_made(entry.get("quantization", {}))) is not None:
            lines.append(f"{word}: {how}")
    return lines


def _use(record: Mapping[str, Any]) -> list[str]:
    precision, entry = next(iter(record["precisions"].items()))
    head = _head(record)
    module, served_by, name, call = SERVED_BY[head]
    suffix = head.class_suffix
    page = ("", "In a browser: `examples/browser` of bertcompress, a page that takes this folder.")
    script = ("", "`examples/serve_without_torch.py` of bertcompress does it without bertcompress.")
    stock = not record["weights"]["why_not_stock"]
    known = () if stock else ("import bertcompress  # makes compact models known to transformers",)
    return [
        *("Without torch (numpy, tokenizers and onnxruntime):", ""),
        *_python(
            f"from bertcompress.export.{module} import {served_by}",
            "",
            f'{name} = {served_by}("{FOLDER}", precision="{precision}", num_threads=1)',
            call,
        ),
        *(script if head == SEQUENCE else ()),
        *("", "With transformers, the PyTorch weights:", ""),
        *_python(
            *known,
            f"from transformers import AutoModel{suffix}, AutoTokenizer",
            "",
            f'model = AutoModel{suffix}.from_pretrained("{FOLDER}")',
            f'tokenizer = AutoTokenizer.from_pretrained("{FOLDER}")',
        ),
        *("", 'With optimum, in an environment of its own (`pip install "optimum-onnx[onnxruntime]"`):', ""),
        *_python(*_optimum(entry["file"], stock, suffix)),
        *(page if head == SEQUENCE else ()),
    ]


def _optimum(file: str, stock: bool, suffix: str) -> list[str]:
    """Lines that load a file in optimum, whose transformers knows no compact_bert."""
    config = [] if stock else [f'    config=PretrainedConfig.from_pretrained("{FOLDER}"),']
    return [
        "from onnxruntime import GraphOptimizationLevel, SessionOptions",
        f"from optimum.onnxruntime import ORTModel{suffix}",
        "from transformers import AutoTokenizer" + ("" if stock else ", PretrainedConfig"),
        "",
        "options = SessionOptions()",
        "options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_BASIC",
        f"model = ORTModel{suffix}.from_pretrained(",
        f'    "{FOLDER}",',
        f'    file_name="{file}",',
        *config,
        "    session_options=options,",
        ")",
        f'tokenizer = AutoTokenizer.from_pretrained("{FOLDER}")',
    ]


def _python(*lines: str) -> list[str]:
    return ["```python", *lines, "```"]


def _limits(record: Mapping[str, Any]) -> list[str]:
    limits = [
        "Open the ONNX files at graph optimisation level BASIC: a higher one undoes the choice of fusions",
        "  that was made by measurement.",
        "Latencies hold for the machine and conditions above, not for others.",
        f"A text beyond {record['max_length']} tokens is cut; the network takes {record['longest_input']}.",
    ]
    for word in record["precisions"]:
        limits += PRECISIONS[word].limits
    return [line if line.startswith(" ") else f"- {line}" for line in limits]
