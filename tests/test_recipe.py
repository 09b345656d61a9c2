"""Recipes: what ships loads, what is wrong is told at once by key path, and a round trip changes nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bertcompress.errors import RecipeError
from bertcompress.recipe import (
    Recipe,
    list_recipes,
    load_recipe,
    operators_by_position,
    teacher_sized_operators,
)
from bertcompress.recipe.budget import ends
from bertcompress.space import Operator

GOOD = """\
name: tiny
task: {text_columns: [text], label_column: label}
data: {source: reviews.csv}
space: {operators: [mha3, ffn384, conv3, identity]}
budget: {num_parameters: 15000000}
"""

# What is wrong -> (text to replace in GOOD, its replacement, words of the message).
BAD = {
    "unknown key": (
        "num_parameters:",
        "num_paramters:",
        ["budget.num_paramters", "did you mean num_parameters"],
    ),
    "unknown section": ("budget:", "budgets:", ["budgets: unknown key", "budget: missing"]),
    "no budget": ("{num_parameters: 15000000}", "{}", ["budget: empty", "speedup"]),
    "two latency budgets": ("num_parameters: 15000000", "latency_ms: 3, speedup: 4", ["budget:", "keep one"]),
    "below its bound": ("15000000", "-1", ["budget.num_parameters: found -1", "greater than"]),
    "word for a number": ("15000000", "many", ["budget.num_parameters: found 'many'", "integer"]),
    "unknown operator": ("conv3", "lstm3", ['space.operators[2]: "lstm3"', "mhaH"]),
    "even kernel": ("conv3", "conv4", ["space.operators[2]", "conv3 or conv5"]),
    "one operator": ("mha3, ffn384, conv3, identity", "mha3", ["space.operators", "two or more"]),
    "operator twice": ("ffn384", "mha3", ["space.operators: mha3 is there twice"]),
    "unknown operator at a position": (
        "[mha3, ffn384, conv3, identity]",
        "[[mha3], [conv3, lstm3]], num_positions: 2",
        ['space.operators[1][1]: "lstm3"', "mhaH"],
    ),
    "operator twice at a position": (
        "[mha3, ffn384, conv3, identity]",
        "[[mha3, mha3], conv3], num_positions: 2",
        ["space.operators[0]: mha3 is there twice"],
    ),
    "no operator at a position": (
        "[mha3, ffn384, conv3, identity]",
        "[[mha3, conv3], []], num_positions: 2",
        ["space.operators[1]: no operator"],
    ),
    "teacher-sized at a position": (
        "[mha3, ffn384, conv3, identity]",
        "[[mha3, conv3], teacher-sized], num_positions: 2",
        ["space.operators[1]: teacher-sized stands for every position"],
    ),
    "no choice at any position": (
        "[mha3, ffn384, conv3, identity]",
        "[[mha3], [conv3]], num_positions: 2",
        ["space.operators: one operator at every position"],
    ),
    "lists for other positions than there are": (
        "[mha3, ffn384, conv3, identity]",
        "[[mha3, conv3], [conv3]], num_positions: 3",
        ["space: operators has lists for 2 positions, and num_positions is 3"],
    ),
    "three text columns": ("[text]", "[a, b, c]", ["task.text_columns", "at most 2"]),
    "no source": ("{source: reviews.csv}", "{max_length: 64}", ["data.source: missing", "Hub id"]),
    "unknown split": ("source: reviews.csv", "source: x, files: {trian: a}", ["data.files.trian", "train"]),
    "no train file": ("source: reviews.csv", "source: x, files: {test: a}", ["data: files names no train"]),
    "name is a path": ("tiny", "../tiny", ["name: found '../tiny'"]),
    "yes is not text": ("label_column: label", "label_names: [yes, no]", ["task.label_names[0]", "quote it"]),
    "key twice": ("name: tiny", "name: tiny\nname: other", ["name: line 2 repeats the key of line 1"]),
    "not YAML": ("name: tiny", "name: [tiny", ["recipe.yaml", "not valid YAML"]),
    "not a mapping": (GOOD, "- tiny\n", ["found list"]),
    "empty file": (GOOD, "", ["found nothing"]),
    "section is a number": ("budget:", "teacher: 3\nbudget:", ["teacher: found 3", "teacher.KEY"]),
    "wrong choice": ("budget:", "supernet: {strategy: magicat}\nbudget:", ["did you mean magic-at", "spos"]),
    "ramp falls": (
        "budget:",
        "supernet: {alignment: {start_fraction: 0.6}}\nbudget:",
        ["supernet.alignment:", "start earlier"],
    ),
    "more positions replaced than there are": (
        "budget:",
        "supernet: {strategy: magic-t, replaced_positions: 50}\nbudget:",
        ["supernet.replaced_positions 50 is above space.num_positions"],
    ),
    "more finalists than children": (
        "budget:",
        "search: {num_evaluations: 2, num_finalists: 5}\nbudget:",
        ["search:", "num_finalists 5"],
    ),
    "another searcher starts from a distribution": (
        "budget:",
        "search: {start_distribution: distribution.json}\nbudget:",
        ["search:", "evolution", "use parsec"],
    ),
    "timed precision not exported": (
        "budget:",
        "export: {precisions: [int8]}\nbudget:",
        ["latency.precision fp32", "export.precisions"],
    ),
    "empty range": ("15000000", "{}", ["budget.num_parameters: empty; give min, max or both"]),
    "range upside down": ("15000000", "{min: 9, max: 8}", ["budget.num_parameters: min 9 is above max 8"]),
    "three ends": ("15000000", "[1, 2, 3]", ["budget.num_parameters: found 3 numbers", "[min, max]"]),
    "unknown end": (
        "15000000",
        "{most: 8}",
        ["budget.num_parameters.most: unknown key", "allowed: min, max"],
    ),
    "end below its bound": (
        "num_parameters: 15000000",
        "size_mib: [-1, 5]",
        ["budget.size_mib.min: found -1", "greater than 0"],
    ),
    "half a parameter": ("15000000", "[1.5, 3]", ["budget.num_parameters.min: found 1.5", "integer"]),
    "further latency without a limit": (
        "num_parameters: 15000000",
        "latencies: [{batch_size: 8}]",
        ["budget.latencies[0]: bounds nothing", "latency_ms or speedup"],
    ),
    "further latency misspelt": (
        "num_parameters: 15000000",
        "latencies: [{batchsize: 8, speedup: 3}]",
        ["budget.latencies[0].batchsize: unknown key; did you mean batch_size?"],
    ),
    "further latency with a bad range": (
        "num_parameters: 15000000",
        "latencies: [{batch_size: 8, latency_ms: {mix: 3}}]",
        ["budget.latencies[0].latency_ms.mix: unknown key; did you mean", "allowed: min, max"],
    ),
    "further latency at the same conditions": (
        "num_parameters: 15000000",
        "latencies: [{batch_size: 8, speedup: 3}, {batch_size: 8, latency_ms: 9}]",
        ["budget.latencies[1] has the very conditions of budget.latencies[0]"],
    ),
    "further latency at the conditions under latency": (
        "num_parameters: 15000000",
        "latencies: [{batch_size: 1, speedup: 3}]",
        ["budget.latencies[0] has the very conditions of the section latency"],
    ),
    "further precision not exported": (
        "budget: {num_parameters: 15000000}",
        "budget: {latencies: [{precision: int8, speedup: 3}]}\nexport: {precisions: [fp32]}",
        ["budget.latencies[0].precision int8 is not exported"],
    ),
    "teacher-sized with others": ("mha3, ffn384", "teacher-sized, mha3", ["teacher-sized stands alone"]),
}


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return path


@pytest.mark.parametrize("case", BAD)
def test_a_bad_recipe_gives_one_clear_message(recipe_file: Path, case: str) -> None:
    old, new, words = BAD[case]
    assert old in GOOD
    recipe_file.write_text(GOOD.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file)
    message = str(caught.value)
    assert "recipe.yaml" in message
    assert all(word in message for word in words), message


def test_all_problems_come_at_once(recipe_file: Path) -> None:
    bad = GOOD.replace("conv3", "lstm3").replace("15000000", "-1").replace("label_column", "lable_column")
    recipe_file.write_text(bad, encoding="utf-8")
    with pytest.raises(RecipeError, match="has 3 problems") as caught:
        load_recipe(recipe_file)
    assert len(str(caught.value).splitlines()) == 4


def test_the_recipes_that_ship_load_and_say_what_they_are() -> None:
    described = list_recipes()
    assert set(described) == {"reviews-mini", "imdb-small", "sst2-small", "from-scratch-mini"}
    assert all(described.values())
    for name in described:
        assert load_recipe(name).name == name


def test_written_out_and_read_back_is_equal(recipe_file: Path, tmp_path: Path) -> None:
    for recipe in [load_recipe(recipe_file), *map(load_recipe, list_recipes())]:
        written = tmp_path / "written.yaml"
        written.write_text(recipe.to_yaml(), encoding="utf-8")
        assert load_recipe(written) == recipe


def test_every_section_and_key_is_described() -> None:
    schema = Recipe.model_json_schema()
    for section in [schema, *schema["$defs"].values()]:
        assert section["description"]
        for key, value in section["properties"].items():
            assert "$ref" in value or value["description"], key


def test_overrides_are_yaml_and_make_their_section(recipe_file: Path) -> None:
    recipe = load_recipe(
        recipe_file,
        ["budget.latency_ms=3", "teacher.learning_rate=1e-4", "space.operators=teacher-sized", "seed=7"],
    )
    assert recipe.budget.latency_ms == 3.0
    assert recipe.teacher.learning_rate == 1e-4
    assert recipe.space.operators == ("teacher-sized",)
    assert recipe.seed == 7


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("budget.latency_ms", "KEY.PATH=VALUE"),
        (".=3", "KEY.PATH=VALUE"),
        ("name.inner=3", "set it whole"),
        ("seed=[1", "not a YAML value"),
        ("budget.latncy_ms=3", "did you mean latency_ms"),
    ],
)
def test_a_bad_override_is_refused(recipe_file: Path, override: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        load_recipe(recipe_file, [override])


def test_a_limit_is_a_number_or_a_range(recipe_file: Path, tmp_path: Path) -> None:
    further = "budget.latencies=[{batch_size: 8, sequence_length: 128, speedup: {min: 4, max: 9}}]"
    overrides = ["budget.num_parameters={min: 5}", "budget.size_mib=[2, 8.5]", "budget.macs=10", further]
    recipe = load_recipe(recipe_file, overrides)
    budget = recipe.budget
    limits = (budget.num_parameters, budget.size_mib, budget.macs, budget.latency_ms)
    assert [ends(limit) for limit in limits] == [(5, None), (2.0, 8.5), (None, 10), (None, None)]
    assert ends(budget.latencies[0].speedup) == (4.0, 9.0)
    conditions = budget.latencies[0].conditions(recipe.latency)
    assert list(conditions.values()) == [8, 128, 1, "fp32", "cpu"]
    written = tmp_path / "written.yaml"
    written.write_text(recipe.to_yaml(), encoding="utf-8")
    assert load_recipe(written) == recipe


def test_a_section_with_every_key_commented_out_means_the_defaults(recipe_file: Path) -> None:
    recipe_file.write_text(GOOD + "search:\n  # searcher: random\n", encoding="utf-8")
    assert load_recipe(recipe_file).search == load_recipe(recipe_file, ["search.searcher=evolution"]).search


def test_a_misspelt_name_gets_the_nearest_recipe() -> None:
    with pytest.raises(RecipeError, match=r"did you mean reviews-mini\?"):
        load_recipe("review-mini")


def test_a_file_that_is_not_text_is_refused(recipe_file: Path) -> None:
    recipe_file.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(RecipeError, match="UTF-8"):
        load_recipe(recipe_file)


def test_operators_by_position_read_back_and_one_alone_needs_no_list(recipe_file: Path) -> None:
    written = "space={num_positions: 3, operators: [[mha3, identity], conv3, [ffn384]]}"
    recipe = load_recipe(recipe_file, [written])
    assert operators_by_position(recipe.space.operators) == (("mha3", "identity"), ("conv3",), ("ffn384",))
    recipe_file.write_text(recipe.to_yaml(), encoding="utf-8")
    assert load_recipe(recipe_file) == recipe


def test_the_same_operators_everywhere_are_not_lists(recipe_file: Path) -> None:
    assert operators_by_position(load_recipe(recipe_file).space.operators) is None


def test_teacher_sized_operators_are_buildable_and_divide() -> None:
    names = teacher_sized_operators(12, 1536)
    assert names == ("mha12", "mha6", "mha3", "ffn1536", "ffn768", "ffn384", "conv3", "conv5", "identity")
    assert all(Operator.parse(name).name == name for name in teacher_sized_operators(5, 10))


def test_the_defaults_of_a_minimal_recipe_are_plain_yaml(recipe_file: Path) -> None:
    content = yaml.safe_load(load_recipe(recipe_file).to_yaml())
    assert content["supernet"]["alignment"]["check_every"] == 100
    assert content["export"]["precisions"] == ["fp32", "int8"]


def test_loading_a_recipe_imports_no_torch() -> None:
    program = (
        "import sys\nfrom bertcompress.recipe import load_recipe\nload_recipe('reviews-mini')\n"
        "print([name for name in ('torch', 'transformers', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
