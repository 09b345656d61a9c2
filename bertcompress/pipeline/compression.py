"""The stages that make the compact model: supernet, search, and distillation of winner and baseline."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from bertcompress.data.batches import epoch_batches
from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.files import read_json
from bertcompress.pipeline.finalists import choose_winner, measure_finalists
from bertcompress.pipeline.operator_costs import uniform_bert_operators
from bertcompress.pipeline.preparation import checkpoint_every, checks, metrics_of
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.scoring import open_evaluator, sample_rows, scores_path
from bertcompress.search import (
    SEARCHERS,
    Budgets,
    Evaluation,
    Parsec,
    ScoreMany,
    Searcher,
    SearchResult,
    remembered,
    sampler_within,
    search,
)
from bertcompress.search.distribution import OperatorDistribution
from bertcompress.space import Child, Operator, SearchSpace, canonical
from bertcompress.supernet import SuperBert, extract, measure_importance, nearest_child, warm_start
from bertcompress.supernet.alignment import Alignment, Ramp
from bertcompress.supernet.strategy import STRATEGIES, Parts, Strategy
from bertcompress.supernet.train import child_logits, train_supernet
from bertcompress.training.distill import (
    DistillLoss,
    DistillWeights,
    distill,
    embedding_groups,
    soft_cross_entropy,
)
from bertcompress.training.log import TrainingLog
from bertcompress.training.loop import Batch, FitSettings, num_epoch_steps, seeded

NUM_IMPORTANCE_BATCHES = 8
DEV_BATCH_SIZE = 64
MOST_BASELINE_LAYERS = 12
SCORES_A_LINE = 25
STUDENT_ROLES = ("winner", "baseline")  # each a folder of the stage


def started_supernet(run: Run, space: SearchSpace, rng: random.Random) -> SuperBert:
    """A supernet of `space`, started from the teacher unless the recipe asks for random weights."""
    supernet = SuperBert(space)
    if run.recipe.supernet.warm_start == "teacher":
        importance = measure_importance(run.start, _importance_batches(run.student_splits["train"], rng))
        warm_start(supernet, run.start, importance=importance)
    return supernet


def _importance_batches(split: TokenizedSplit, rng: random.Random) -> Iterator[Batch]:
    for indices in epoch_batches(split, 32, rng)[:NUM_IMPORTANCE_BATCHES]:
        yield split.batch(indices)


def dev_loss(run: Run, supernet: SuperBert, split: TokenizedSplit) -> Callable[[Child], float]:
    """Loss of a child on `split` with the shared weights: decides on anchor replacement."""

    def loss(child: Child) -> float:
        logits = child_logits(supernet, child, split)
        return run.task.evaluate(logits.numpy(), split.labels)["loss"]

    return loss


def make_supernet(run: Run) -> None:
    """Warm-start and train the supernet with the recipe's strategy; the anchor is noted."""
    chosen, seed = run.recipe.supernet, run.recipe.seed
    settings = FitSettings(
        chosen.steps,
        chosen.batch_size,
        chosen.learning_rate,
        chosen.warmup_fraction,
        chosen.weight_decay,
        checkpoint_every=checkpoint_every(chosen.steps),
    )
    loss = DistillLoss(run.targets, DistillWeights(chosen.distill_weight, chosen.temperature))
    with seeded(seed) as rng, TrainingLog(run.path("supernet"), "supernet", run.console) as log:
        supernet = started_supernet(run, run.space, rng)
        _, anchor = train_supernet(
            supernet,
            run.student_splits["train"],
            loss,
            settings,
            strategy=_strategy(run, supernet),
            parameter_groups=embedding_groups(supernet, 1.0 if chosen.train_embeddings else 0.0),
            rng=rng,
            log=log,
        )
    save_file({name: tensor.contiguous() for name, tensor in supernet.state_dict().items()},
              str(run.path("supernet", "supernet.safetensors")))  # fmt: skip
    described = None if anchor is None else [operator.name for operator in anchor.child]
    replacements = 0 if anchor is None else anchor.num_replacements
    run.folder.write_json("supernet/anchor.json", {"anchor": described, "num_replacements": replacements})


def _strategy(run: Run, supernet: SuperBert) -> Strategy[Operator]:
    """The recipe's strategy: what its words stand for on this space."""
    chosen, space = run.recipe.supernet, run.space
    aligned, temperature = chosen.alignment, chosen.temperature
    dev = sample_rows(
        run.student_splits["validation"], aligned.check_batches * DEV_BATCH_SIZE, run.recipe.seed
    )
    near_teacher = nearest_child(space, run.teacher_architecture.operators)
    parts = Parts(
        space.choices,
        random.Random(run.recipe.seed),
        accepts=(lambda child: run.budgets.fits(run.cost_of(child)))
        if chosen.sample_within_budget
        else _any_child,
        replaced_positions=chosen.replaced_positions,
        fair_update=chosen.fair_update,
        largest=space.largest(),
        smallest=space.smallest(),
        imitation=lambda ours, theirs: soft_cross_entropy(ours, theirs, temperature),
        alignment=Alignment(
            Ramp(aligned.weight, aligned.start_fraction, aligned.end_fraction),
            inputs=aligned.inputs,
            anchor=near_teacher if aligned.anchor == "teacher" else None,
            dev_loss=dev_loss(run, supernet, dev) if aligned.anchor == "best" else None,
            check_every=aligned.check_every,
            one_row_in=aligned.one_row_in,
        ),
    )
    return STRATEGIES[chosen.strategy](parts)


def _any_child(child: Child) -> bool:
    return True


def load_supernet(run: Run) -> SuperBert:
    """The trained supernet."""
    supernet = SuperBert(run.space)
    supernet.load_state_dict(load_file(str(run.path("supernet", "supernet.safetensors"))))
    return supernet


def search_children(run: Run) -> None:
    """Search under the budgets, measure the best whole, and name the best that fits as the winner.

    Raises:
        BudgetError: none of the finalists' exported files meets the budgets.
    """
    feasible = tuple(Operator.parse(name) for name in run.latency["feasible_child"])
    searcher = make_searcher(run, run.budgets, feasible)
    with open_evaluator(run) as score_many:
        result = search_within(run, run.budgets, feasible, searcher, score_many)
    if isinstance(searcher, Parsec):
        searcher.distribution.save(run.path("search", "distribution.json"))
    finalists = measure_finalists(run, result.evaluations, run.budgets)
    described = {
        "winner": choose_winner(finalists, run.budgets)["placed"],
        "finalists": finalists,
        "evaluated": [_evaluation_row(evaluation, result) for evaluation in result.evaluations],
        "stopped_because": result.stopped_because,
    }
    run.folder.write_json("search/search.json", described)


def make_searcher(run: Run, budgets: Budgets, feasible: Child) -> Searcher:
    """The recipe's searcher under any budgets that `feasible` fits."""
    chosen = run.recipe.search
    sample = sampler_within(run.space, lambda child: budgets.fits(run.cost_of(child)), feasible)
    searcher = SEARCHERS[chosen.searcher](run.space, sample, run.cost_of, budgets, chosen.population_size)
    if isinstance(searcher, Parsec) and chosen.start_distribution is not None:
        searcher.distribution = OperatorDistribution.load(Path(chosen.start_distribution), run.space)
    return searcher


def search_within(
    run: Run, budgets: Budgets, feasible: Child, searcher: Searcher, score_many: ScoreMany
) -> SearchResult:
    """The recipe's search by a fresh searcher; scores that are on record are not computed again."""
    chosen = run.recipe.search
    return search(
        run.space,
        searcher,
        score_many=remembered(_counted(run, score_many), scores_path(run)),
        cost_of=run.cost_of,
        budgets=budgets,
        num_evaluations=chosen.num_evaluations,
        rng=random.Random(run.recipe.seed),
        seeds=[feasible],
        ask_size=chosen.generation_size,
    )


def _counted(run: Run, score_many: ScoreMany) -> ScoreMany:
    """The same scores, with a line of progress for every so many."""
    count = 0

    def count_scores(children: Sequence[Child]) -> Iterator[tuple[Child, float]]:
        nonlocal count
        for scored in score_many(children):
            count += 1
            if count % SCORES_A_LINE == 0:
                run.say(f"search: {count} of at most {run.recipe.search.num_evaluations} children scored")
            yield scored

    return count_scores


def _evaluation_row(evaluation: Evaluation, result: SearchResult) -> dict[str, Any]:
    return {
        "architecture": evaluation.name,
        "score": evaluation.score,
        **evaluation.cost.to_dict(),
        "fits": True,
        "on_front": evaluation in result.front,
    }


def winner_child(run: Run) -> Child:
    """The search's winner, placed on the space's positions."""
    return tuple(Operator.parse(name) for name in read_json(run.path("search", "search.json"))["winner"])


def uniform_baseline(run: Run) -> Child:
    """A hand-designed BERT of equal layers within the budgets: the one nearest to the winner's cost.

    When none fits, it is the one that breaks the budgets least, and the report says so.
    """
    attentions, feed_forwards = uniform_bert_operators(run)
    layers = itertools.product(attentions, feed_forwards)
    candidates = [layer * depth for layer in layers for depth in range(1, MOST_BASELINE_LAYERS + 1)]
    winner = run.cost_of(canonical(winner_child(run)))

    def distance(child: Child) -> float:
        pairs = zip(run.cost_of(child).values, winner.values, strict=True)
        return sum(abs(math.log(ours / theirs)) for ours, theirs in pairs if ours and theirs)

    return min(candidates, key=lambda child: (run.budgets.overshoot(run.cost_of(child)), distance(child)))


def distill_students(run: Run) -> None:
    """Distill the winner from the supernet's weights and the baseline from the teacher's, settings alike."""
    _distill(run, "winner", load_supernet(run), winner_child(run))
    if run.recipe.student.baseline:
        child = uniform_baseline(run)
        space = SearchSpace(run.space.dimensions, tuple((operator,) for operator in child))
        with seeded(run.recipe.seed) as rng:
            started = started_supernet(run, space, rng)
        _distill(run, "baseline", started, child)


def _distill(run: Run, role: str, supernet: SuperBert, child: Child) -> None:
    chosen = run.recipe.student
    student = extract(supernet, child)
    per_epoch = num_epoch_steps(run.student_splits["train"], chosen.batch_size)
    settings = FitSettings(
        per_epoch * chosen.epochs,
        chosen.batch_size,
        chosen.learning_rate,
        checkpoint_every=checkpoint_every(per_epoch * chosen.epochs),
    )
    weights = DistillWeights(chosen.distill_weight, chosen.temperature, chosen.hidden_weight)
    with seeded(run.recipe.seed) as rng, TrainingLog(run.path("student", role), role, run.console) as log:
        distill(
            student,
            run.student_splits["train"],
            DistillLoss(run.targets, weights),
            settings,
            rng=rng,
            log=log,
            checks=checks(run, run.student_splits["validation"], every=per_epoch, patience=chosen.patience),
            embedding_factor=chosen.embedding_learning_rate_factor,
        )
    student.requires_grad_(True)
    names = dict(enumerate(run.task.label_names))
    student.config.id2label, student.config.label2id = names, {name: index for index, name in names.items()}
    student.save_pretrained(run.path("student", role, "model"))
    run.folder.write_json(f"student/{role}/metrics.json", metrics_of(run, student, run.student_splits))
