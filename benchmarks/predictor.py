"""How well do costs per operator, fitted on whole chains, predict whole networks that were held out?

    python benchmarks/predictor.py                        # fp32 and int8, 1x32, 1x128 and 8x128, one thread

Every network is exported once and timed twice at all shapes, in sessions of their own; what it takes is the
mean of both. "noise_percent" is how far either is from that mean: the error that a perfect table would show.
Two kinds of networks are held out: children of every length, as budgets make a search visit them, which the
table's own check uses too, and uniform draws from the space, which are of nearly one length and cost.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from record import RESULTS, provenance, write_record

from bertcompress.latency.chains import chain_architecture, fitting_chains, heldout_chains, space_terms
from bertcompress.latency.coefficients import Coefficients, fit_coefficients
from bertcompress.latency.table import (
    MOST_WORDS,
    measure_twice_ms,
    operator_weights,
    prediction_error,
    repeat_noise_percent,
)
from bertcompress.measure import Conditions, NoiseWatch, best_clock
from bertcompress.pipeline.timing import export_precisions
from bertcompress.space import Child, Dimensions, SearchSpace, canonical

# The width of MiniLM-L6, and a teacher's sizes with their halves and quarters.
DIMENSIONS = Dimensions(30522, 384, 384, 32, 2, "mean")
OPERATORS = ("mha12", "mha6", "mha3", "ffn1536", "ffn768", "ffn384", "conv3", "conv5", "identity")
SHAPES = ("1x32", "1x128", "8x128")
PRECISIONS = ("fp32", "int8")


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--positions", type=int, default=12)
    parser.add_argument(
        "--pooling", default="mean", choices=("mean", "cls"), help="cls: heads that read one token"
    )
    parser.add_argument("--num-fit", type=int, default=24, help="chains that the costs are fitted on")
    parser.add_argument("--num-heldout", type=int, default=24, help="networks of each kind that are held out")
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="BATCHxLENGTH")
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.8, help="timed seconds a network and condition")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="predictor", help="the record's name")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the record is written")
    return parser.parse_args(words)


def draw_networks(
    space: SearchSpace, num_fit: int, num_heldout: int, rng: random.Random
) -> dict[str, list[Child]]:
    """The chains to fit on, and two kinds of networks held out; none is in two of them."""
    fitted = fitting_chains(space, num_fit, rng)
    every_length = heldout_chains(space, num_heldout, rng, fitted)
    known = {*fitted, *every_length}
    uniform: dict[Child, None] = {}
    while len(uniform) < num_heldout:
        child = canonical(space.sample(rng))
        if child not in known:
            uniform[child] = None
    return {"fit": fitted, "every length": every_length, "uniform": list(uniform)}


def export_all(
    space: SearchSpace, networks: Mapping[str, Sequence[Child]], precisions: Sequence[str], folder: Path
) -> dict[str, dict[str, Path]]:
    """Files by precision and by "kind/number"; each network is exported once."""
    files: dict[str, dict[str, Path]] = {precision: {} for precision in precisions}
    names = [
        (f"{kind}/{number}", chain) for kind, drawn in networks.items() for number, chain in enumerate(drawn)
    ]
    for done, (name, chain) in enumerate(names, start=1):
        paths = {precision: folder / f"{done}_{precision}.onnx" for precision in precisions}
        export_precisions(chain_architecture(space, chain, MOST_WORDS), paths)
        for precision, path in paths.items():
            files[precision][name] = path
        print(f"\rexported {done} of {len(names)}", end="", flush=True)
    print()
    return files


def judge(
    space: SearchSpace,
    networks: Mapping[str, Sequence[Child]],
    first_ms: Mapping[str, float],
    second_ms: Mapping[str, float],
) -> dict[str, Any]:
    """Costs fitted on the "fit" networks, and their error and the clock's on all kinds."""
    names = {kind: [f"{kind}/{number}" for number in range(len(drawn))] for kind, drawn in networks.items()}
    names["all held out"] = names["every length"] + names["uniform"]
    chains = {f"{kind}/{i}": chain for kind, drawn in networks.items() for i, chain in enumerate(drawn)}
    times = {name: (first_ms[name] + second_ms[name]) / 2 for name in chains}
    pooling = space.dimensions.pooling

    def fit(weights: Mapping[str, int] | None) -> Coefficients:
        measured = [times[name] for name in names["fit"]]
        return fit_coefficients(networks["fit"], measured, space_terms(space), pooling, weights=weights)

    found, sums_alone = fit(operator_weights(space)), fit(None)
    errors = {}
    for kind, those in names.items():
        first, second = [first_ms[name] for name in those], [second_ms[name] for name in those]
        measured = [times[name] for name in those]
        predicted, by_sums = (
            [each.predict_ms(chains[name], pooling) for name in those] for each in (found, sums_alone)
        )
        mape_percent, kendall = prediction_error(predicted, measured)
        errors[kind] = {
            "mape_percent": mape_percent,
            "kendall": kendall,
            # Without a price for weights that no cache holds.
            "mape_percent_of_sums_alone": prediction_error(by_sums, measured)[0],
            "noise_percent": repeat_noise_percent(first, second),
            # Of one measurement with the other: what no table's ranks can be asked to exceed by much.
            "kendall_of_measurements": prediction_error(first, second)[1],
            "measured_ms": [first, second],
            "predicted_ms": predicted,
        }
    return {
        "intercept_ms": found.intercept_ms,
        "coefficients_ms": found.costs_ms,
        "streaming": None if found.streaming is None else asdict(found.streaming),
        "errors": errors,
    }


def measure_condition(
    files: Mapping[str, Path], conditions: Conditions, seconds: float
) -> tuple[dict[str, float], dict[str, float], dict[str, Any]]:
    """Two latencies of every network under the conditions, and how quiet the machine was."""
    with NoiseWatch() as watch:
        first, second = measure_twice_ms(
            files, conditions, vocab_size=MOST_WORDS, seconds_each=seconds, clock=best_clock(conditions)
        )
    return dict(zip(files, first, strict=True)), dict(zip(files, second, strict=True)), watch.noise.to_dict()


def main() -> None:
    """Draw, export, time, judge, and write the record."""
    arguments = parse_arguments()
    started = time.perf_counter()
    space = SearchSpace.uniform(
        replace(DIMENSIONS, pooling=arguments.pooling), arguments.positions, OPERATORS
    )
    rng = random.Random(arguments.seed)
    networks = draw_networks(space, arguments.num_fit, arguments.num_heldout, rng)
    rows = []
    with tempfile.TemporaryDirectory(prefix="predictor-") as folder:
        files = export_all(space, networks, arguments.precisions, Path(folder))
        for precision in arguments.precisions:
            for shape in arguments.shapes:
                batch_size, sequence_length = map(int, shape.split("x"))
                conditions = Conditions(batch_size, sequence_length, arguments.threads, precision)
                first, second, noise = measure_condition(files[precision], conditions, arguments.seconds)
                row = {**conditions.to_dict(), **judge(space, networks, first, second), "noise": noise}
                rows.append(row)
                told = "; ".join(
                    f"{kind}: {error['mape_percent']:.2f}% (clock {error['noise_percent']:.2f}%), "
                    f"Kendall {error['kendall']:.3f} (clock {error['kendall_of_measurements']:.3f})"
                    for kind, error in row["errors"].items()
                )
                print(f"{conditions}: {told}{'; noisy machine' if noise['noisy'] else ''}", flush=True)
    record = {
        "name": arguments.name,
        **provenance("predictor.py", sys.argv[1:], [arguments.seed]),
        "wall_seconds": round(time.perf_counter() - started, 1),
        "space": {
            "num_positions": arguments.positions,
            "operators": list(OPERATORS),
            "pooling": arguments.pooling,
        },
        "clock": best_clock(Conditions(num_threads=arguments.threads)),
        "networks": {
            kind: [[operator.name for operator in chain] for chain in drawn]
            for kind, drawn in networks.items()
        },
        "conditions": rows,
    }
    write_record(arguments.results / f"{arguments.name}.json", record)


if __name__ == "__main__":
    main()
