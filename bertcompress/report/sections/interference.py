"""How much children disagree about the operators that they share, before and after training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bertcompress.report.figures.supernet import interference_figure
from bertcompress.report.numbers import count, estimate, number
from bertcompress.report.plot import Plot
from bertcompress.report.section import Column, Section, Table, Words

CAPTION = "Interference: cosine of a shared operator's gradients in two children, with 90% intervals"
SIMILARITY_WORDS = {"input": "inputs", "output": "outputs", "output_gradient": "output gradients"}
INTERVENTIONS = (("input", "the operator's input"), ("output_gradient", "its output gradient"))
COLUMNS: list[Column[tuple[str, str, str]]] = [
    Column("gradients of shared operators", lambda row: row[0], is_text=True),
    Column("before training", lambda row: row[1]),
    Column("after training", lambda row: row[2]),
]


def section(data: Mapping[str, Any]) -> Section | None:
    """Return the section "Interference": cosines by differing positions, correlations, interventions."""
    interference = data.get("interference") or {}
    if not interference:
        return None
    return Section(
        "Interference",
        (
            *_interventions(interference),
            Plot("interference", CAPTION, lambda: interference_figure(interference)),
            Table.of(COLUMNS, _rows(interference)),
        ),
    )


def _rows(interference: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    before, after = (interference.get(when) or {} for when in ("before", "after"))
    known = {row["distance"]: row["cosine"] for row in before.get("by_distance") or []}
    for row in after.get("by_distance") or []:
        found = estimate(known.get(row["distance"]))
        yield f"cosine, {count(row['distance'])} differing", found, estimate(row["cosine"])
    spearman = [estimate(part.get("distance_spearman")) for part in (before, after)]
    yield "Spearman with the number differing", spearman[0], spearman[1]
    for key, words in SIMILARITY_WORDS.items():
        name = f"Spearman with alike {words}, given that number"
        yield name, _partial(before, key), _partial(after, key)


def _partial(measured: Mapping[str, Any], key: str) -> str:
    similarity = (measured.get("similarities") or {}).get(key) or {}
    return estimate(similarity.get("partial"))


def _interventions(interference: Mapping[str, Any]) -> Iterator[Words]:
    mixing = (interference.get("after") or {}).get("mixing") or {}
    for signal, name in INTERVENTIONS:
        found = mixing.get(signal)
        if found:
            first, last = found["cosines"][0]["value"], found["cosines"][-1]["value"]
            steady = "rising at every step" if found["monotone"] else "not rising at every step"
            yield Words(
                f"Taking over {name} from the other child moves the cosine from {number(first, 2)} to "
                f"{number(last, 2)}, {steady}, over {count(mixing['num_pairs'])} pairs."
            )
