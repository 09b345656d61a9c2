"""From a YAML file, or the name of a recipe that ships, and `--set` overrides to a checked Recipe.

Every problem is told at once, by key path, with the nearest valid word."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bertcompress.errors import RecipeError
from bertcompress.recipe.budget import NUMBER_MARK, RANGE_MARK
from bertcompress.recipe.operators import BY_POSITION_MARK, SAME_MARK
from bertcompress.recipe.schema import Recipe

RECIPES_PACKAGE = "bertcompress.recipes"
SUFFIXES = (".yaml", ".yml")
# What pydantic adds to a place: that a mapping's key is meant, and the form of a limit or of operators.
MARKS = ("[key]", NUMBER_MARK, RANGE_MARK, SAME_MARK, BY_POSITION_MARK)


def load_recipe(path_or_name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a file, or the one that ships under a name, with `KEY.PATH=VALUE` overrides.

    A value is read as YAML: `budget.latency_ms=3`, `space.operators=[mha3, conv3, identity]`.

    Raises:
        RecipeError: it cannot be found or read, or keys or values are not allowed; all problems together.
    """
    subject = str(path_or_name)
    content = _parse(subject, _read(subject))
    problems = [problem for override in overrides if (problem := _override(content, override))]
    if problems:
        raise RecipeError.from_problems("--set", problems)
    try:
        return Recipe.model_validate(_without_empty_sections(content))
    except ValidationError as error:
        raise RecipeError.from_problems(subject, [_describe(each) for each in error.errors()]) from None


def list_recipes() -> dict[str, str]:
    """The description of each recipe that ships, by name."""
    return {name: load_recipe(name).description for name in _shipped_names()}


def _shipped_names() -> list[str]:
    return sorted(
        Path(entry.name).stem for entry in files(RECIPES_PACKAGE).iterdir() if entry.name.endswith(SUFFIXES)
    )


def _read(subject: str) -> str:
    path = Path(subject).expanduser()
    names = _shipped_names()
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"{subject}: not readable as UTF-8 text: {error}") from error
    if subject in names:
        return (files(RECIPES_PACKAGE) / f"{subject}.yaml").read_text(encoding="utf-8")
    nearest = _nearest(subject, names)
    ships = f"{nearest} recipes that ship: {', '.join(names)}".strip()
    raise RecipeError(f"{subject}: no such file, and no recipe ships under that name;{ships and ' ' + ships}")


def _parse(subject: str, text: str) -> dict[str, Any]:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        repeated = list(_repeated_keys(node)) if node else []
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise RecipeError(f"{subject}: not valid YAML: {reason}") from error
    if repeated:
        raise RecipeError.from_problems(subject, repeated)
    if not isinstance(content, dict):
        found = "nothing" if content is None else type(content).__name__
        raise RecipeError(
            f"{subject}: found {found}; a recipe is a mapping of keys, such as `name: my-recipe`"
        )
    return content


def _repeated_keys(node: yaml.Node, path: str = "") -> Iterator[str]:
    """YAML lets the last of equal keys win without a word; here the second one is a problem."""
    if isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            yield from _repeated_keys(item, f"{path}[{position}]")
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            place = f"{path}.{key.value}".lstrip(".")
            line = key.start_mark.line + 1
            if str(key.value) in seen:
                yield f"{place}: line {line} repeats the key of line {seen[str(key.value)]}; keep one"
            seen[str(key.value)] = line
            yield from _repeated_keys(value, place)


def _override(content: dict[str, Any], override: str) -> str | None:
    """Set one key of `content` in place; what is wrong with the override, if anything."""
    place, separator, text = override.partition("=")
    keys = place.strip().split(".")
    if not separator or not all(keys):
        return f"{override!r}: write KEY.PATH=VALUE, for example budget.latency_ms=3"
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return f"{override!r}: {text!r} is not a YAML value; quote it"
    section = content
    for key in keys[:-1]:
        inner = section.setdefault(key, {})
        if inner is None:
            inner = section[key] = {}
        if not isinstance(inner, dict):
            return f"{override!r}: {key} holds {inner!r}, which has no keys; set it whole"
        section = inner
    section[keys[-1]] = value
    return None


def _without_empty_sections(content: dict[str, Any]) -> dict[str, Any]:
    """A section whose keys are all commented out reads as null; it means the defaults."""
    return {
        key: {}
        if value is None and key in Recipe.model_fields and _section_of((key,)) is not Recipe
        else value
        for key, value in content.items()
    }


def _describe(error: ErrorDetails) -> str:
    """One problem in the project's words: where, what was found, what is allowed."""
    kind, found, context = error["type"], error["input"], error.get("ctx", {})
    place = _place(error["loc"])
    if kind == "extra_forbidden":
        allowed = list(_section_of(error["loc"][:-1]).model_fields)
        return (
            f"{place}: unknown key; {_nearest(str(error['loc'][-1]), allowed)} allowed: {', '.join(allowed)}"
        )
    if kind == "missing":
        field = _section_of(error["loc"][:-1]).model_fields[str(error["loc"][-1])]
        return f"{place}: missing; give {field.description}"
    if kind == "literal_error":
        allowed = [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
        return f"{place}: found {found!r}; {_nearest(str(found), allowed)} use one of {', '.join(allowed)}"
    if kind == "value_error":
        return f"{place}: {context['error']}"
    if kind in ("model_type", "dict_type"):
        return f"{place}: found {found!r}; it holds keys, such as {place}.KEY: VALUE"
    reason = error["msg"].removeprefix("Input ").removeprefix("Tuple ").removeprefix("String ")
    hint = "; quote it" if kind == "string_type" and isinstance(found, bool) else ""
    return f"{place}: found {found!r}; it {reason.removesuffix(' after validation')}{hint}"


def _place(location: Sequence[str | int]) -> str:
    words = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location if part not in MARKS]
    return "".join(words).lstrip(".") or "recipe"


def _section_of(location: Sequence[str | int]) -> type[BaseModel]:
    """The model that describes the section at a key path; the last one on the way for a deeper path."""
    section: type[BaseModel] = Recipe
    for key in (part for part in location if isinstance(part, str) and part not in MARKS):
        field = section.model_fields.get(key)
        inner = _models_in(field.annotation) if field else []
        if not inner:
            break
        section = inner[0]
    return section


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that a type names, however deep inside options, lists and annotations."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]


def _nearest(word: str, allowed: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(word, allowed, n=1, cutoff=0.6)
    return f"did you mean {nearest[0]}?" if nearest else ""
