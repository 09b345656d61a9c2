"""What the interference studies share: settings of strategies, pieces of work that resume, and their summary.

A study trains children alone (the truth), supernets by each setting and seed, and holds the latter's scores
against the former. Every training is one file in the work folder, so a study is run in pieces and by several
processes, and adding a setting or a seed trains only that."""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from record import RESULTS, provenance, write_record
from study_pages import FIGURES, write_figures, write_tables
from torch import nn

from bertcompress.diagnostics.children_alone import train_children
from bertcompress.diagnostics.interference import ProbedChain
from bertcompress.diagnostics.proxies import gradient_proxies
from bertcompress.diagnostics.ranking import (
    Baseline,
    count_baselines,
    kendall_difference,
    kendall_estimate,
    mean_kendall,
    rank_report,
)
from bertcompress.errors import BertCompressError, JobError
from bertcompress.space import Child, canonical, child_name

STRATEGIES = ("spos", "fair", "magic-t", "magic-a", "magic-at")
VARIED = {
    "lambda": [f"magic-a:weight={weight:g}" for weight in (0.1, 1.0, 3.0, 10.0)],
    "ramp": ["magic-a:start_fraction=0,end_fraction=0"],
    "anchor": [f"magic-a:anchor={anchor}" for anchor in ("fixed", "teacher")],
    "replaced": [f"magic-t:replaced_positions={count}" for count in (2, 3)],
    "length": [f"{name}:length={length}" for name in ("spos", "magic-at") for length in (0.33, 3.0)],
    "fair": ["fair:fair_update=accumulated"],
    "sandwich": ["sandwich"],
}
# Below this spread of the children's losses a supernet gives all of them one answer; above this share of the
# loss of a constant answer its best child has learnt nothing.
SMALLEST_SPREAD, LEARNT_NOTHING = 1e-3, 0.99


@dataclass(frozen=True)
class Setting:
    """A strategy and what is varied about it; `length` multiplies the study's number of steps."""

    strategy: str
    length: float = 1.0
    weight: float = 0.3
    anchor: str = "best"
    start_fraction: float = 0.2
    end_fraction: float = 0.4
    replaced_positions: int = 1
    fair_update: str = "separate"

    @classmethod
    def parse(cls, text: str) -> Setting:
        """The setting of a word such as "magic-a:weight=0.3,anchor=fixed"."""
        strategy, _, rest = text.partition(":")
        kinds = {field.name: type(field.default) for field in fields(cls)}
        pairs = [part.split("=", 1) for part in rest.split(",") if part]
        if unknown := [pair[0] for pair in pairs if pair[0] not in kinds or len(pair) != 2]:
            raise SystemExit(f"{text}: {', '.join(unknown)} is no key=value; keys are {', '.join(kinds)}")
        return cls(strategy, **{key: kinds[key](value) for key, value in pairs})

    @property
    def name(self) -> str:
        """The word that `parse` reads; what is as by default is left out."""
        plain = Setting(self.strategy)
        given = [f.name for f in fields(self) if getattr(self, f.name) != getattr(plain, f.name)]
        varied = ",".join(f"{name}={getattr(self, name):.4g}" if isinstance(getattr(self, name), float)
                          else f"{name}={getattr(self, name)}" for name in given)  # fmt: skip
        return f"{self.strategy}:{varied}" if varied else self.strategy


UNTRAINED = Setting("untrained", length=0.0)


class World(Protocol):
    """Where a study takes place. It pickles, and says by `facts` all that its trainings depend on."""

    def facts(self) -> dict[str, Any]:
        """Data, sizes and lengths of training, as JSON."""

    def children(self, count: int) -> list[Child]:
        """Different children, always the same."""

    def costs(self, children: Sequence[Child]) -> dict[str, list[float]]:
        """Costs by name, more being taken to be better."""

    def train_child(self, child: Child, seed: int) -> dict[str, Any]:
        """Train it alone; "loss" is its dev loss."""

    def train_supernet(self, setting: Setting, seed: int) -> dict[str, Any]:
        """Train a supernet: "scores" by child, "steps", "cpu_seconds", "interference", "constant_loss" (of an
        answer that does not look at its input); "proxies" by child too when untrained."""


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """The switches that every study has; `name` is that of its record by default."""
    parser.add_argument("--work", type=Path, required=True, help="folder of the study's pieces")
    parser.add_argument("--children", type=int, default=30)
    parser.add_argument("--child-seeds", type=int, default=2)
    parser.add_argument("--truth", type=Path, metavar="RECORD",
                        help="take the children's losses from this record of the same world")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, help="supernets of each setting (default: 3)")
    parser.add_argument("--settings", nargs="*", default=list(STRATEGIES), metavar="WORD",
                        help="strategies, varied by KEY=VALUE: magic-a:weight=0.3,anchor=fixed")  # fmt: skip
    parser.add_argument("--vary", nargs="*", default=[], choices=sorted(VARIED), help="add these settings")
    parser.add_argument("--equal-time", action="store_true",
                        help="train each setting again for as many steps as take spos's time")  # fmt: skip
    parser.add_argument("--only", choices=("children", "supernets"), help="train these, and stop")
    parser.add_argument("--minutes", type=float, help="begin no training after so many minutes")
    parser.add_argument("--workers", type=int, default=1, help="of Ray, a thread each")
    parser.add_argument("--name", default=name, help=f"the record's name (default: {name})")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the record is written")
    parser.add_argument("--figures", type=Path, default=FIGURES, help="where the figures are drawn")
    parser.add_argument("--write-tables", type=Path, metavar="FILE", help="fill the marked tables of a page")


def wanted_settings(arguments: argparse.Namespace) -> list[Setting]:
    """The settings of the switches, each once; spos comes first, and the untrained supernet before it."""
    words = [*arguments.settings, *(word for name in arguments.vary for word in VARIED[name])]
    return list(dict.fromkeys([UNTRAINED, Setting("spos"), *map(Setting.parse, words)]))


def proxies_by_name(
    chain: ProbedChain[Any, Any], children: Sequence[Child], batches: Sequence[Any]
) -> dict[str, dict[str, float]]:
    """Zero-cost proxies of the children, by proxy and child."""

    def weights_of(child: Child) -> list[nn.Parameter]:
        modules = (chain.module_at(position, operator) for position, operator in enumerate(child))
        return [weight for module in modules if module is not None for weight in module.parameters()]

    found = gradient_proxies(children, batches, loss_of=chain.loss_of, weights_of=weights_of)
    names = list(map(child_name, children))
    return {key: dict(zip(names, values, strict=True)) for key, values in found.items()}


class OutOfTimeError(BertCompressError):
    """No training begins after the deadline."""


def _timely(train: Any, deadline: float | None, thing: Any, seed: int) -> dict[str, Any]:
    """Train, unless the time is up, and count the processor seconds."""
    if deadline is not None and time.time() > deadline:
        raise OutOfTimeError("the time is up; the same command goes on from here")
    start = time.process_time()
    found: dict[str, Any] = train(thing, seed)
    return {"all_cpu_seconds": round(time.process_time() - start, 2), **found}


@dataclass(frozen=True)
class Pieces:
    """Trains what is missing of a study and reads the rest."""

    world: World
    work: Path
    workers: int
    deadline: float | None

    def _folder(self, name: str) -> Path:
        facts = json.dumps(self.world.facts(), sort_keys=True)
        return self.work / f"{name}-{hashlib.sha256(facts.encode()).hexdigest()[:12]}"

    def truth(self, children: Sequence[Child], seeds: int) -> dict[str, list[dict[str, Any]]]:
        """Results of the children trained alone."""
        named = {child_name(child): child for child in children}
        train = partial(_timely, self.world.train_child, self.deadline)
        return self._trained(named, range(seeds), train, "children")

    def supernets(self, settings: Sequence[Setting], seeds: int) -> dict[str, list[dict[str, Any]]]:
        """Results of the settings' supernets."""
        train = partial(_timely, self.world.train_supernet, self.deadline)
        return self._trained(
            {setting.name: setting for setting in settings}, range(seeds), train, "supernets"
        )

    def _trained(
        self, named: Mapping[str, Any], seeds: Sequence[int], train: Any, name: str
    ) -> dict[str, list[dict[str, Any]]]:
        def say(done: int, total: int) -> None:
            print(f"{name}: {done} of {total}", flush=True)

        results = train_children(
            named, seeds, train, self._folder(name), workers=self.workers, on_progress=say
        )
        return {key: [row["metrics"] for row in rows] for key, rows in results.items()}


def recorded_truth(path: Path, world: World, children: Sequence[Child]) -> dict[str, list[dict[str, Any]]]:
    """The children's losses as an earlier study of the same world has recorded them; no time is counted."""
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["facts"] != json.loads(json.dumps(world.facts())):
        raise SystemExit(f"{path} is of another world: its facts are {record['facts']}")
    losses = {row["child"]: row["truth"] for row in record["children"]}
    names = list(map(child_name, children))
    if missing := [name for name in names if name not in losses]:
        raise SystemExit(f"{path} has no {missing[0]}: ask for {record['num_children']} children or fewer")
    return {name: [{"loss": loss, "all_cpu_seconds": 0.0} for loss in losses[name]] for name in names}


def run_study(world: World, arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Train what is missing; the study's numbers, or None with --only."""
    deadline = None if arguments.minutes is None else time.time() + 60 * arguments.minutes
    pieces = Pieces(world, arguments.work, arguments.workers, deadline)
    children, settings = world.children(arguments.children), wanted_settings(arguments)
    if arguments.truth is not None:
        truth = recorded_truth(arguments.truth, world, children)
    elif arguments.only != "supernets":
        truth = pieces.truth(children, arguments.child_seeds)
    if arguments.only == "children":
        return None
    nets = pieces.supernets(settings, arguments.seeds)
    if arguments.equal_time:
        timed = [replace(s, length=s.length * _time_ratio(nets, s)) for s in settings[2:]]
        nets |= pieces.supernets(timed, arguments.seeds)
    if arguments.only == "supernets":
        return None
    return summarize(world, children, truth, nets)


def publish_study(world: World, arguments: argparse.Namespace, script: str, words: Sequence[str]) -> None:
    """Train what is missing, and write record, figures and tables of the study that `script` is asked for."""
    try:
        found = run_study(world, arguments)
    except JobError as error:
        raise SystemExit(str(error)) from error
    if found is None:
        return
    record = {"name": arguments.name, **provenance(script, words, range(arguments.seeds)), **found}
    write_record(arguments.results / f"{arguments.name}.json", record)
    write_figures(record, arguments.figures)
    if arguments.write_tables:
        write_tables(arguments.write_tables, record)


def _time_ratio(nets: Mapping[str, Sequence[Mapping[str, Any]]], setting: Setting) -> float:
    """How many of the setting's steps take as long as one of spos; the least of the seeds' times counts."""

    def seconds(name: str) -> float:
        return min(row["cpu_seconds"] / row["steps"] for row in nets[name])

    return round(seconds("spos") / seconds(setting.name), 3)


def summarize(
    world: World,
    children: Sequence[Child],
    truth: Mapping[str, Sequence[Mapping[str, Any]]],
    nets: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    """Taus with intervals for every setting and baseline, the spread of the losses, and the interference."""
    names = [child_name(child) for child in children]
    losses = np.array([[row["loss"] for row in truth[name]] for name in names])  # (children, seeds)
    scores = {
        setting: np.array([[row["scores"][name] for row in rows] for name in names])
        for setting, rows in nets.items()
    }  # (children, supernets) each
    untrained = nets[UNTRAINED.name][0]
    baselines = count_baselines(
        [canonical(child) for child in children],
        losses,
        kind_of=lambda operator: operator.kind,
        costs=world.costs(children),
        proxies={key: [found[name] for name in names] for key, found in untrained["proxies"].items()},
    )
    baselines.append(Baseline("untrained supernet", scores.pop(UNTRAINED.name)))
    rows = {
        setting: _setting_row(setting, score, losses.mean(axis=1), scores["spos"], nets[setting])
        for setting, score in scores.items()
    }
    reports = {
        setting: rank_report(names, losses, score, baselines, seed=0, num_resamples=500)
        for setting, score in scores.items()
    }
    best = max(reports, key=lambda setting: rows[setting]["kendall"]["value"])
    for setting, report in reports.items():
        rows[setting]["verdict"] = report["verdict"]
        rows[setting]["over_best_baseline"] = report["baselines"][0]["difference"]
        rows[setting]["regret"] = report["supernet"]["regret"]
    return {
        "facts": world.facts(),
        "num_children": len(children),
        "child_seeds": losses.shape[1],
        "ceiling": reports[best]["ceiling"],
        "chance_regret": reports[best]["supernet"]["chance_regret"],
        "constant_loss": untrained["constant_loss"],
        "settings": rows,
        "best": best,
        "baselines": [
            {key: row[key] for key in ("name", "kendall", "uses_truth", "sign_from_truth", "regret")}
            for row in reports[best]["baselines"]
        ],
        "children": reports[best]["children"],
        "untrained_interference": untrained["interference"],
        "cpu_seconds": {
            "children": round(sum(row["all_cpu_seconds"] for rows in truth.values() for row in rows), 1),
            "supernets": round(sum(row["all_cpu_seconds"] for rows in nets.values() for row in rows), 1),
        },
    }


def _setting_row(
    name: str,
    score: np.ndarray,
    truth: np.ndarray,
    spos: np.ndarray,
    nets: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """One setting's numbers; `score` and `spos` are (children, supernets)."""
    taus = [mean_kendall(column, truth) for column in score.T]
    spreads, constant = score.std(axis=0), nets[0]["constant_loss"]
    collapsed = (spreads < SMALLEST_SPREAD) | (score.min(axis=0) > LEARNT_NOTHING * constant)
    return {
        "kendall": kendall_estimate(score, truth, seed=0).to_dict(),
        "kendall_of_seeds": [round(tau, 4) for tau in taus],
        "kendall_sd": float(np.std(taus, ddof=1)) if len(taus) > 1 else None,
        "over_spos": None if name == "spos" else kendall_difference(score, spos, truth, seed=0).to_dict(),
        "steps": nets[0]["steps"],
        "cpu_ms_a_step": round(1e3 * min(row["cpu_seconds"] / row["steps"] for row in nets), 2),
        "spread": float(spreads.min()),
        "mean_loss": float(score.mean()),
        "collapsed": int(collapsed.sum()),
        "interference": [row["interference"] for row in nets],
    }
