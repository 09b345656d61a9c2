"""report.md: the report for a model card, a pull request or a reader without a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, assert_never

from bertcompress.report.plot import Plot
from bertcompress.report.section import (
    Block,
    Cards,
    Cell,
    Chain,
    Heading,
    Items,
    Preformatted,
    Report,
    Section,
    Table,
    Words,
)


def write_markdown(report: Report, path: Path, *, plots: Mapping[str, Path]) -> Path:
    """Write the report as Markdown; `plots` are files by the plots' names, linked relative to `path`."""
    links = {name: plot.relative_to(path.parent).as_posix() for name, plot in plots.items()}
    parts = [f"# {escape(report.name)}", *map(_words, report.introduction)]
    for section in report.sections:
        parts += _section(section, links)
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _section(section: Section, links: Mapping[str, str]) -> Iterator[str]:
    blocks = [text for block in section.blocks if (text := _block(block, links))]
    if blocks:
        yield f"## {escape(section.title)}"
        yield from blocks


def _block(block: Block, links: Mapping[str, str]) -> str:
    """Return the block as Markdown; "" for one that this form leaves out."""
    match block:
        case Words():
            return _words(block)
        case Items():
            return "\n".join(f"- {_words(words)}" for words in block.items)
        case Heading():
            return f"### {escape(block.text)}"
        case Table():
            rows = [[_cell(cell) for cell in row.cells] for row in block.rows]
            return table(list(map(escape, block.headings)), rows, left=block.text_columns)
        case Cards():
            return "\n".join(f"- {escape(card.words)}" for card in block.cards)
        case Chain():
            return escape(block.words)
        case Preformatted():
            return "" if block.summary else code(block.text)
        case Plot():
            return f"![{escape(block.caption)}]({links[block.name]})" if block.name in links else ""
        case _:
            assert_never(block)


def _words(words: Words) -> str:
    return f"**{escape(words.text)}**" if words.tone in ("strong", "bad") else escape(words.text)


def _cell(cell: Cell) -> str:
    return f"**{escape(cell.text)}**" if cell.tone == "strong" else escape(cell.text)


def escape(text: Any) -> str:
    """Return text that Markdown prints as it stands, in a table cell too."""
    plain = " ".join(str(text).split())
    return re.sub(r"([\\`*_\[\]#|~!])", r"\\\1", plain.replace("&", "&amp;").replace("<", "&lt;"))


def code(text: str) -> str:
    """Return a fenced block that no run of backticks in the text can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def table(
    headings: Sequence[str], cells: Sequence[Sequence[str]], *, left: frozenset[int] = frozenset([0])
) -> str:
    """Return a Markdown table; the columns at the places `left` stand left, the others right."""
    rule = ["---" if place in left else "---:" for place in range(len(headings))]
    return "\n".join(f"| {' | '.join(line)} |" for line in [headings, rule, *cells])
