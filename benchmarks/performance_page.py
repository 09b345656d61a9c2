"""The sentences and table rows of docs/performance.md that hold measured numbers, written from their records.

One function a section of the page. `NOT_MEASURED` matches the numbers of the page that are no measurement."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from bertcompress.space import Architecture, Dimensions, Operator

RESULTS = Path(__file__).parent / "results"
Record = Mapping[str, Any]
NOT_MEASURED = (
    # Settings of the benchmarks.
    r"on 24 whole chains of up to 12 operators", r"about 48 networks", r"0\.8 seconds", r"2\.5 seconds",
    r": 24 positions, 12 operators, 3 costs", r"processes of their own, 16 points", r"batch 8 and 128 tokens",
    r"round of 72 networks", r"on 34 chains", r"17 coefficients",
    # Aims.
    r"the aim: 0\.85", r"fp32 0\.80 at 1x32", r"0\.90 beyond, int8 0\.75", r"To have 0\.75",
    r"an error of 2% and a Kendall of 0\.97,", r"The aim was 5 times", r"agree within 5%, or",
    # What the code does.
    r"p50 of one row", r"more than 1% of the answers", r"ten at most", r"predicted better by a fifth",
    # Names of machines, networks, files, levels and shapes.
    r"ONNX Runtime 1\.32", r"On 1\.22",
    r"family 2[56]", r"AVX-?\d+", r"MiniLM-L6", r"fp32|fp16|int8\S*|int4\S*", r"\bO[23]\b", r"\d+x\d+",
    r"optimum-onnx 0\.1\.0", r"2048-cube", r"WNUT-17", r"STS-B", r"\bF1\b", r"95% interval",
)  # fmt: skip


def read(name: str) -> Any:
    """Return the record of a name."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def against_optimum() -> Iterator[str]:
    record = read("against-optimum")
    optimised, anyone = record["conclusion"]["optimised"], record["conclusion"]["any"]
    for index, point in enumerate(record["points"]):
        cells = [
            f"{each['median']:.2f} [{each['low']:.2f}, {each['high']:.2f}]"
            for each in (optimised[precision]["closest"][index] for precision in ("fp32", "int8"))
        ]
        shape = f"{point['batch_size']}x{point['sequence_length']}"
        yield f"| {shape} | {point['num_threads']} | {cells[0]} | {cells[1]} |"
    means = [each["geometric_mean"] for each in (optimised, optimised["fp32"], optimised["int8"])]
    yield "The geometric mean over all points is {:.2f}: {:.2f} in fp32 and {:.2f} in int8".format(*means)
    yield f"it is {anyone['fp32']['geometric_mean']:.2f} in fp32."
    errors = record["max_logit_error"]
    off = max(errors["optimum/O2"], errors["optimum/O3"])
    yield f"their logits are off by {off:.1f}; ours are within {_bound(errors['ours/fp32'])} of PyTorch's."


def first_token() -> Iterator[str]:
    """What a head that reads the first token alone saves of the products, counted from the operators."""
    known = read("gemm-share")["networks"]["MiniLM-L6"]
    dimensions = Dimensions(**known["dimensions"])
    saved = []
    for names in (known["operators"], known["operators"][:6]):
        operators = tuple(map(Operator.parse, names))
        all_tokens = Architecture(replace(dimensions, pooling="mean"), operators)
        saved.append(1 - Architecture(dimensions, operators).macs(128) / all_tokens.macs(128))
    yield (
        f"At 128 tokens that is {_percent(saved[0])} of MiniLM-L6's products and {_percent(saved[1])} of a "
        "network's of three such layers."
    )


def fusions() -> Iterator[str]:
    """What each doubtful fusion gained in the choices that were made against optimum."""
    gains: dict[str, list[tuple[float, str]]] = {}
    for point in read("against-optimum")["points"]:
        for precision, made in point["export"].items():
            times = made["fusion"]["measured_ms"]
            shape = f"{point['batch_size']}x{point['sequence_length']}"
            threads = "one thread" if point["num_threads"] == 1 else "two threads"
            where = f"in {precision} at {shape} on {threads}"
            for word in ("branched", "packed", "fused"):
                best = [
                    min(ms for name, ms in times.items() if (word in name) is has) for has in (True, False)
                ]
                gains.setdefault(word, []).append((1 - best[0] / best[1], where))
    branched = [gain for gain, _ in gains["branched"]]
    yield (
        f"{_percent(min(branched))} to {_percent(max(branched))} faster at "
        f"{sum(gain > 0 for gain in branched)} "
        f"of {len(branched)} points"
    )
    packed = sorted(gains["packed"], reverse=True)
    won = [(gain, where) for gain, where in packed if gain > 0]
    yield (
        f"gained at {len(won)} of {len(packed)} points ("
        + ", ".join(f"{gain:.1%} {where}" for gain, where in won)
        + f") and lost up to {_percent(-packed[-1][0])}"
    )
    fused = [-gain for gain, _ in gains["fused"]]
    yield f"lost {_percent(min(fused))} to {_percent(max(fused))} at all {len(fused)}"
    older = read("fusion-candidates-ort-1.22")
    copy = older["conclusion"]["largest_error_of_copy"]
    doubtful = ("fuse_skip_layer_norm", "pack_projections")
    largest = max(gain for name in doubtful for gain, _ in older["conclusion"][name]["gains"].values())
    larger = "no gain of the last two is larger" if largest < copy else "a gain of the last two is larger"
    yield f"file was up to {_percent(copy)} off, and {larger} in {_both_or_all(older['passes'])} passes"


def gemm_share() -> Iterator[str]:
    old, new = read("gemm-share-avx2"), read("gemm-share")
    rows = {
        (id(record), row["network"], row["precision"], _shape(row)): row
        for record in (old, new)
        for row in record["rows"]
    }
    points = ("1x32", "1x128", "8x128")
    for network in ("MiniLM-L6", "mixed"):
        for precision in ("fp32", "int8"):
            found = [
                f"{rows[id(record), network, precision, shape]['share_of_rate']:.2f}"
                for record in (old, new)
                for shape in points
            ]
            yield f"| {network} | {precision} | {' | '.join(found)} |"
    rates = {
        precision: [
            median(row["cube_gflop_per_s"] for row in record["rows"] if row["precision"] == precision)
            for record in (old, new)
        ]
        for precision in ("fp32", "int8")
    }
    times = {precision: after / before for precision, (before, after) in rates.items()}
    yield (
        f"the cube runs {times['fp32']:.1f} times as fast in fp32 and {times['int8']:.1f} times as "
        f"fast in int8"
    )
    small, large = (rows[id(new), "MiniLM-L6", "fp32", shape] for shape in ("1x32", "8x128"))
    yield (
        f"products are {_percent(small['share_of_time_in_products'])} of the "
        f"{small['latency']['p50_ms']:.2f} ms, "
        f"at {_rate(small):.2f} of the cube's rate"
    )
    yield f"At 8x128 the same products run at {_rate(large):.1f} of the cube's rate."
    int8 = [rows[id(new), "MiniLM-L6", "int8", shape] for shape in points]
    yield (
        f"products take {_percents(row['share_of_time_in_products'] for row in int8)} of the time, at "
        f"{_span(_rate(row) for row in int8)} of the cube's rate"
    )
    parts = {
        "attention with its softmax": ("MultiHeadAttention",),
        "gelu": ("Gelu", "BiasGelu"),
        "layer norms": ("LayerNormalization",),
        "sums": ("Add",),
    }
    yield ", ".join(f"{name} {_percents(_part(row, kinds) for row in int8)}" for name, kinds in parts.items())
    cheap = [kind for name, kinds in parts.items() if name != "attention with its softmax" for kind in kinds]
    free = [row["share_of_rate"] / (1 - _part(row, cheap)) for row in int8]
    yield f"With gelu, norms and sums for nothing the share would be {_span(free)}."
    mixed = {
        precision: _percents(
            rows[id(new), "mixed", precision, shape]["share_of_time_in_products"] for shape in points
        )
        for precision in ("fp32", "int8")
    }
    yield f"{mixed['fp32']} of its time in fp32, {mixed['int8']} in int8."


def export_grid() -> Iterator[str]:
    record = read("export-grid")
    yield f"{record['architectures']} random architectures of random sizes"
    yield f"{record['passed']} passed."
    yield f"({record['found_before'][0]['architectures']} of {record['architectures']})"
    digits = {"fp32": 6, "fp16": 3}
    errors = [
        f"{name.replace('_', chr(92) + '_')} {error:.{digits.get(name, 2)}f}"
        for name, error in record["max_logit_errors"].items()
    ]
    yield f"Largest logit errors: {', '.join(errors)}."


def task_heads() -> Iterator[str]:
    tasks = read("task-heads")["tasks"]
    known = {
        "wnut17": ("WNUT-17", "tags of words", "entity F1", "f1"),
        "stsb": ("STS-B", "a number for a pair", "Pearson", "pearson"),
        "subjqa": ("SubjQA", "a span, or none", "F1 of words", "f1"),
    }
    for name, (title, answers, metric, key) in known.items():
        files = tasks[name]["files"]
        scores = [
            f"{files[word]['metrics'][key]:.3f}" for word in ("fp32", "int8", "int8_static", "int4_weights")
        ]
        times = [f"{files[word]['p50_ms']:.1f}" for word in ("fp32", "int8")]
        yield f"| {title} | {answers} | {metric} | {' | '.join([*scores, *times])} |"


def predictor() -> Iterator[str]:
    conditions = read("predictor")["conditions"]
    for row in conditions:
        yield f"| {row['precision']} | {_shape(row)} | {_errors(row)} |"
    worst = min(conditions, key=lambda row: row["errors"]["all held out"]["kendall"])["errors"][
        "all held out"
    ]
    yield (
        f"holds but for one Kendall of {worst['kendall']:.3f}, where the clock agrees with itself to "
        f"{worst['kendall_of_measurements']:.3f}"
    )
    again = read("predictor-8x128")["conditions"][0]["errors"]["all held out"]
    yield f"the same networks give {again['mape_percent']:.1f}% and {again['kendall']:.3f} there"
    small = conditions[0]
    alone, whole = (
        small["errors"]["all held out"][key] for key in ("mape_percent_of_sums_alone", "mape_percent")
    )
    price = small["streaming"]["ms_per_million"]
    yield f"sums of costs per operator are off by {alone:.1f}% in fp32 at 1x32"
    yield (
        f"Beyond {small['streaming']['cached'] / 1e6:.1f} million weights each further million costs "
        f"{price:.2f} ms more at every call: {4 / price:.0f} GB a second"
    )
    yield f"takes {alone - whole:.0f} points off."
    first = read("predictor-first-token")["conditions"]
    found = [row["errors"]["all held out"] for row in first]
    about = [
        f"{each['mape_percent']:.1f}% ({each['mape_percent_of_sums_alone']:.1f}% of sums alone; the clock's "
        f"{each['noise_percent']:.1f}%)"
        for each in found[:2]
    ]
    yield (
        f"Errors are {about[0]} in fp32 at 1x32 and {about[1]} at 1x128, {found[2]['mape_percent']:.1f}% and "
        f"{found[3]['mape_percent']:.1f}% in int8; Kendall is "
        f"{min(each['kendall'] for each in found):.3f} and more."
    )
    avx2 = [row["errors"]["all held out"] for row in read("predictor-avx2")["conditions"]]
    yield (
        f"errors of {_span((each['mape_percent'] for each in avx2), 1)}% and Kendall from "
        f"{_span((each['kendall'] for each in avx2), 3)} in all {_word(len(avx2))} conditions"
    )


def step_cost() -> Iterator[str]:
    cost = {row["strategy"]: row["ratio_with_checks"] for row in read("step-cost")["strategies"]}
    yield (
        f"`magic-t` {cost['magic-t']:.2f} (at most 1.05 was the aim), `magic-at` "
        f"{cost['magic-at']:.2f} (1.5), "
        f"`magic-a` {cost['magic-a']:.2f}, `fair` {cost['fair']:.2f}."
    )


def search() -> Iterator[str]:
    reuse = [read(f"prefix-reuse-{name}") for name in ("reviews-mini", "open")]
    yield f"{reuse[0]['ratio']:.1f} and {reuse[1]['ratio']:.1f} times the children a minute"
    most = [record["most_possible_ratio"] for record in reuse]
    yield f"would give {most[0]:.1f} and {most[1]:.1f} on the same children."
    exact = read("exact-speed")
    optimum = [each for name, each in exact["questions"].items() if name.startswith("optimum")]
    refused = [each for name, each in exact["questions"].items() if not name.startswith("optimum")]
    yield (
        f"Medians {_span((each['wall_seconds']['median'] for each in optimum), 2)} s, worst of "
        f"{sum(each['asked'] for each in optimum)} programs "
        f"{max(each['wall_seconds']['worst'] for each in optimum):.2f} s; an impossible budget is "
        f"answered within "
        f"{max(each['wall_seconds']['worst'] for each in refused):.2f} s"
    )
    first, later = read("budget-contract-reviews-mini"), read("budget-contract-reviews-mini-later")
    yield (
        f"{_word(first['num_budgets'])} random budgets, searched on one supernet. The exported "
        f"winner was within "
        f"its budgets in {_word(first['kept'])} of {_word(first['num_budgets'])} and within a tenth of its "
        f"prediction in {_word(first['within_a_tenth_of_the_prediction'])} of "
        f"{_word(first['num_budgets'])}; the "
        f"largest error was {first['largest_prediction_error']:.1%}, the mean "
        f"{first['mean_prediction_error']:.1%}."
    )
    yield (
        f"{later['mean_prediction_error']:.1%} on average, and {_word(later['kept'])} of "
        f"{_word(later['num_budgets'])} kept"
    )


def repeatability() -> Iterator[str]:
    record = read("repeatability")
    single, double = record["agreement_by_threads"]["1"], record["agreement_by_threads"]["2"]
    alone = [row for row in record["points"] if row["num_threads"] == 1]
    near = sorted(row["difference"] for row in alone if row["difference"] <= 0.05)
    far = sorted(row["difference"] for row in alone if row["difference"] > 0.05)
    yield (
        f"{_word(single['within_allowed'])} of {_word(single['points'])} points do ({near[0]:.1%} to "
        f"{near[-1]:.1%} over all {_word(len(record['noise']))})"
    )
    yield f"do not: {' and '.join(_percent(each) for each in far)},"
    drifts = sorted(abs(each["calibration_drift"]) for each in record["noise"])
    yield f"the machine's pace had changed by {_percent(drifts[-2])} and {_percent(drifts[-1])}"
    team = read("teamwork")
    near_state, far_state = team["states"]["near"], team["states"]["far"]
    yield f"(`teamwork.json`, {len(team['readings'])} readings)"
    yield (
        f"two threads take {near_state['file']:.2f} or {far_state['file']:.2f} of one thread's time "
        f"for the demo's "
        f"winner at 1x128, and a chain of small products {near_state['chain']:.2f} or "
        f"{far_state['chain']:.2f}"
    )
    yield f"(a correlation of {_correlation(team['readings'], 'chain', 'file'):.2f})"
    yield (
        f"{_word(double['compared'])} of the {_word(double['points'])} points had two measurements "
        f"or more in the "
        f"near state throughout: these agree within {double['largest_difference_of_compared']:.1%}."
    )
    yield f"their medians are up to {_percent(double['largest_difference'])} apart."
    busy = record["beside_busy_processes"]["noise"]["busy_share_of_others"]
    yield f"({_percent(busy)} of the CPUs used by others)"


SECTIONS: tuple[Callable[[], Iterator[str]], ...] = (
    against_optimum, first_token, fusions, gemm_share, export_grid, task_heads, predictor, step_cost,
    search, repeatability,
)  # fmt: skip


def _shape(row: Record) -> str:
    return f"{row['batch_size']}x{row['sequence_length']}"


def _errors(row: Record) -> str:
    found = row["errors"]["all held out"]
    shares = [found[key] for key in ("mape_percent", "mape_percent_of_sums_alone", "noise_percent")]
    ranks = [found[key] for key in ("kendall", "kendall_of_measurements")]
    return " | ".join([*(f"{share:.1f}%" for share in shares), *(f"{rank:.3f}" for rank in ranks)])


def _rate(row: Record) -> float:
    """Return the rate of a network's products over that of the cube."""
    return float(row["share_of_rate"] / row["share_of_time_in_products"])


def _part(row: Record, kinds: Iterable[str]) -> float:
    """Return the share of a network's time in nodes of these kinds."""
    times = {kind: found["us"] for kind, found in row["by_operator"].items()}
    return float(sum(times.get(kind, 0.0) for kind in kinds) / sum(times.values()))


def _percent(share: float) -> str:
    return f"{share:.0%}"


def _percents(shares: Iterable[float]) -> str:
    """Return "62 to 69%"; one number where both ends are the same."""
    found = [round(100 * share) for share in shares]
    return f"{min(found)}%" if min(found) == max(found) else f"{min(found)} to {max(found)}%"


def _span(values: Iterable[float], digits: int = 2) -> str:
    found = list(values)
    return f"{min(found):.{digits}f} to {max(found):.{digits}f}"


def _bound(error: float) -> str:
    """Return the power of ten that an error stays below: "0.00001"."""
    digits = math.floor(-math.log10(error))
    return f"{10.0**-digits:.{digits}f}"


def _both_or_all(number: int) -> str:
    return "both" if number == 2 else f"all {_word(number)}"


def _word(number: int) -> str:
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return words[number] if number < len(words) else str(number)


def _correlation(rows: Iterable[Record], one: str, other: str) -> float:
    pairs = [(row[one], row[other]) for row in rows]
    means = [sum(values) / len(pairs) for values in zip(*pairs, strict=True)]
    products = [
        sum((pair[i] - means[i]) * (pair[j] - means[j]) for pair in pairs)
        for i, j in ((0, 1), (0, 0), (1, 1))
    ]
    return products[0] / math.sqrt(products[1] * products[2])
