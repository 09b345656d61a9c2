"""`bertcompress evolve-space`: a run's space, its operators judged while they train, and replaced.

A generation is a training (weights and fitness together) and a selection. Each is kept when it is done, and a
training has checkpoints, so that a killed evolution goes on where it was and ends alike."""

from __future__ import annotations

import random
import time
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from safetensors.torch import load_file, save_file

from bertcompress import __version__
from bertcompress.evolve_space.autospace import Choices, Rules, evolve
from bertcompress.evolve_space.gating import FitnessSettings, GatedChain, train_fitness
from bertcompress.evolve_space.inherit import inherit
from bertcompress.evolve_space.mutations import Ladder
from bertcompress.files import make_atomically, read_json
from bertcompress.pipeline.costs import cost_function
from bertcompress.pipeline.evolved_space import (
    FOLDER,
    RECIPE,
    RESULT,
    describe_evolution,
    evolved_recipe,
    made_from,
)
from bertcompress.pipeline.generations import (
    GENERATION,
    Generation,
    carried,
    change_row,
    generation_name,
    read_generation,
    write_generation,
)
from bertcompress.pipeline.operator_costs import table_of_choices
from bertcompress.pipeline.operator_prices import OperatorPrices
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.settings import supernet_settings, supernet_weights
from bertcompress.pipeline.supernets import started_supernet
from bertcompress.search import fitting_child, sampler_within
from bertcompress.space import BERT_LAYER, Operator, SearchSpace
from bertcompress.supernet import SuperBert, nearest_to_teacher
from bertcompress.training.checkpoint import CHECKPOINT_NAME
from bertcompress.training.distill import DistillLoss, embedding_groups
from bertcompress.training.log import TrainingLog
from bertcompress.training.loop import seeded

WEIGHTS = "weights.safetensors"
NUM_PRICED_CHILDREN = 32


@dataclass(frozen=True)
class EvolutionSettings:
    """How long a space evolves: generations, optimizer steps of each, and how many operators run at once."""

    generations: int = 4
    steps: int = 400
    paths: int = 2
    drop_share: float = 1 / 3
    waste_weight: float = 0.2


def evolve_space(run: Run, chosen: EvolutionSettings) -> dict[str, Any]:
    """Evolve the run's space from its fine-tuned teacher; writes the result and the evolved recipe.

    The run's latency and teacher stages are finished. What was finished from the same inputs is read; a
    killed evolution goes on in the generation it was in.
    """
    inputs = _inputs(run, chosen)
    if run.folder.is_finished(FOLDER, inputs):
        run.say(f"{FOLDER}: done before, kept")
        result: dict[str, Any] = read_json(run.folder.path / RESULT)
        return result
    start = time.monotonic()
    numbers = range(1, chosen.generations + 1)
    run.folder.begin(FOLDER, keep=[generation_name(number) for number in numbers], inputs=inputs)
    pool = _Pool(run)
    now = Generation(run.space.choices, _even(run.space.choices), [set() for _ in run.space.choices], {})
    records = []
    for number in numbers:
        now = _generation(run, pool, chosen, number, now)
        records.append(now.record)
    result = describe_evolution(run, pool.prices, records, now.choices, pool.reference)
    result |= {"settings": asdict(chosen), "made_from": inputs["before"], "recipe": RECIPE}
    run.folder.write_text(RECIPE, evolved_recipe(run.recipe, now.choices))
    run.folder.write_json(RESULT, result)
    for name in (WEIGHTS, CHECKPOINT_NAME):
        for spent in run.path(FOLDER).glob(f"*/{name}"):
            spent.unlink()
    run.folder.mark_finished(FOLDER, inputs, time.monotonic() - start)
    return result


def _inputs(run: Run, chosen: EvolutionSettings) -> dict[str, Any]:
    return {
        "before": made_from(run),
        "version": __version__,
        "settings": asdict(chosen),
        "supernet": run.recipe.supernet.model_dump(mode="json"),
    }


def _even(choices: Choices[Operator]) -> list[dict[Operator, float]]:
    return [dict.fromkeys(operators, 0.0) for operators in choices]


class _Pool:
    """The operators that evolution may use, their prices, and which choices hold a fitting child."""

    def __init__(self, run: Run) -> None:
        teacher, dimensions = run.teacher_architecture, run.space.dimensions
        known = {operator for operators in run.space.choices for operator in operators}
        attention, feed_forward = teacher.operators[: len(BERT_LAYER)]
        self.ladder = Ladder.of_teacher(dimensions, attention.size, feed_forward.size, sorted(known))
        self.reference = nearest_to_teacher(run.space, teacher.operators)
        choices = [self.ladder.operators] * run.space.num_positions
        tables = {
            name: table_of_choices(run, choices, conditions=conditions, monotonic=True)
            for name, conditions in run.latency_conditions.items()
        }
        cost_of = cost_function(run.recipe, dimensions, tables)

        @cache
        def feasible(choices: Choices[Operator]) -> bool:
            space = SearchSpace(dimensions, choices)
            return fitting_child(space, cost_of, run.budgets, random.Random(run.recipe.seed)) is not None

        self.feasible = feasible
        # Prices are those inside children that the budgets let through, of the space as it was given.
        fitting = tuple(Operator.parse(name) for name in run.latency["feasible_child"])
        sample = sampler_within(run.space, lambda child: run.budgets.fits(cost_of(child)), fitting)
        rng = random.Random(run.recipe.seed)
        self.prices = OperatorPrices(tables, [sample(rng) for _ in range(NUM_PRICED_CHILDREN)])

    def costs(self, choices: Choices[Operator]) -> list[dict[Operator, tuple[float, ...]]]:
        """Return, for each position, what its operators add to a child at every condition of the run."""
        return [
            {operator: self.prices.all_ms(position, operator) for operator in operators}
            for position, operators in enumerate(choices)
        ]

    def rules(self, chosen: EvolutionSettings) -> Rules[Operator]:
        """What evolution obeys here."""
        return Rules(
            self.reference, self.ladder.mutations, self.feasible, chosen.drop_share, chosen.waste_weight
        )


def _generation(
    run: Run, pool: _Pool, chosen: EvolutionSettings, number: int, before: Generation
) -> Generation:
    """One generation, read where it was finished before."""
    folder = run.path(FOLDER, generation_name(number))
    if (folder / GENERATION).exists():
        return read_generation(folder / GENERATION)
    run.say(f"{FOLDER}: generation {number} of {chosen.generations}")
    start = time.monotonic()
    logits, costs = _train(run, chosen, number, before), pool.costs(before.choices)
    choices, changes = evolve(
        before.choices,
        logits,
        costs,
        pool.rules(chosen),
        replace=number < chosen.generations,
        banned=before.banned,
        rng=random.Random(f"{run.recipe.seed}/{number}"),
    )
    record = {
        "generation": number,
        "positions": [change_row(*each) for each in zip(changes, logits, costs, strict=True)],
        "num_children": SearchSpace(run.space.dimensions, before.choices).num_children,
        "seconds": round(time.monotonic() - start, 1),
    }
    after = Generation(
        choices,
        [carried(row, operators) for row, operators in zip(logits, choices, strict=True)],
        [lost | set(change.dropped) for lost, change in zip(before.banned, changes, strict=True)],
        record,
    )
    write_generation(run, number, after)
    return after


def _train(
    run: Run, chosen: EvolutionSettings, number: int, before: Generation
) -> list[dict[Operator, float]]:
    """Train a generation's weights and fitness; the weights are written, the fitness is returned."""
    wanted, folder = run.recipe.supernet, run.path(FOLDER, generation_name(number))
    folder.mkdir(exist_ok=True)
    settings = supernet_settings(wanted, chosen.steps)
    # Every generation with random numbers of its own, so that it does not depend on having run the last.
    with (
        seeded(random.Random(f"{run.recipe.seed}/train/{number}").getrandbits(31)) as rng,
        TrainingLog(folder, f"{FOLDER} {number}", run.console) as log,
    ):
        supernet = started_supernet(run, SearchSpace(run.space.dimensions, before.choices), rng)
        if number > 1:
            inherit(supernet, _load_previous(run, number))
        chain = GatedChain(supernet, before.choices, before.logits)
        train_fitness(
            chain,
            run.student_splits["train"],
            DistillLoss(run.targets, supernet_weights(wanted)),
            settings,
            FitnessSettings(paths=chosen.paths),
            weight_groups=embedding_groups(supernet, 1.0 if wanted.train_embeddings else 0.0),
            rng=rng,
            log=log,
        )
    weights = {name: tensor.contiguous() for name, tensor in supernet.state_dict().items()}
    make_atomically(folder / WEIGHTS, lambda temporary: save_file(weights, str(temporary)))
    return chain.logits()


def _load_previous(run: Run, number: int) -> SuperBert:
    previous = read_json(run.path(FOLDER, generation_name(number - 1), GENERATION))
    choices = SearchSpace.of_names(run.space.dimensions, previous["trained"])
    supernet = SuperBert(choices)
    supernet.load_state_dict(load_file(str(run.path(FOLDER, generation_name(number - 1), WEIGHTS))))
    return supernet
