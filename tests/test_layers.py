"""The imports follow the flow: what is later may import what is earlier, never the reverse."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
LAYERS = (
    "errors", "auto_classes", "files", "space", "recipe", "sources", "tasks", "data", "model", "training",
    "supernet", "search", "diagnostics", "evolve_space", "measure", "export", "latency", "report", "pipeline",
    "cli",
)  # fmt: skip
SEES_A_RECIPE = {"recipe", "pipeline", "cli"}
WITHOUT_TORCH = (
    "bertcompress", "bertcompress.auto_classes", "bertcompress.errors", "bertcompress.files",
    "bertcompress.space", "bertcompress.recipe",
    "bertcompress.recipe.template", "bertcompress.sources.teacher", "bertcompress.training.processes",
    "bertcompress.training.parallel",
    "bertcompress.diagnostics.children_alone", "bertcompress.pipeline", "bertcompress.pipeline.run_folder",
    "bertcompress.measure", "bertcompress.cli.options", "bertcompress.cli.app", "bertcompress.export.runtime",
    "bertcompress.export.precisions",
)  # fmt: skip
# Besides torch, what loads it or takes about as long.
HEAVY = ("torch", "transformers", "accelerate", "datasets")


@dataclass(frozen=True)
class Import:
    """One imported module as written at a line; lazy when it stands in a function."""

    module: str
    line: int
    lazy: bool


def layer(module: str) -> str:
    """The layer of a module: "supernet" for bertcompress.supernet.network, "" for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def read_imports(source: str, package: str) -> list[Import]:
    """All imports of a source text in `package`, relative ones resolved, `from p import m` as p.m."""
    found: list[Import] = []

    def visit(node: ast.AST, lazy: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, node.lineno, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*parents, *([node.module] if node.module else [])])
            found.extend(Import(f"{origin}.{alias.name}", node.lineno, lazy) for alias in node.names)
        inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(source), lazy=False)
    return found


def sources() -> dict[str, Path]:
    """Every module of the package by its dotted name, from the three folders it is mapped from."""
    modules = {}
    for folder, name in (("bertcompress", "bertcompress"), ("export", "bertcompress.export")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            modules[".".join([name, *(part for part in parts if part != "__init__")])] = path
    return modules


def own_imports() -> Iterator[tuple[str, str, Import]]:
    """(importing module, place, import) for every import of our own package outside its lazy front door."""
    for module, path in sources().items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        if module == "bertcompress":
            continue
        for found in read_imports(path.read_text(encoding="utf-8"), package):
            if found.module.split(".")[0] == "bertcompress":
                yield module, f"{path.relative_to(ROOT)}:{found.line}", found


def test_every_module_has_a_layer() -> None:
    known = {"", *LAYERS}
    assert [module for module in sources() if layer(module) not in known] == []


def test_nothing_imports_what_comes_later_in_the_flow() -> None:
    order = {name: place for place, name in enumerate(LAYERS)}
    wrong = [
        f"{place}: {layer(module)} imports {found.module}"
        for module, place, found in own_imports()
        if layer(found.module) in order and order[layer(found.module)] > order[layer(module)]
    ]
    assert wrong == []


def test_nothing_imports_through_the_front_door() -> None:
    # `from bertcompress import run` in a lower layer would reach the pipeline unseen.
    wrong = [
        f"{place}: {found.module}"
        for _, place, found in own_imports()
        if layer(found.module) not in {*LAYERS, "__version__"}
    ]
    assert wrong == []


def test_only_pipeline_and_cli_see_a_recipe() -> None:
    wrong = [
        f"{place}: {layer(module)} imports {found.module}"
        for module, place, found in own_imports()
        if layer(found.module) == "recipe" and layer(module) not in SEES_A_RECIPE
    ]
    assert wrong == []


def test_torch_free_modules_name_no_torch_at_the_top() -> None:
    wrong = []
    for module in WITHOUT_TORCH:
        path = sources()[module]
        for found in read_imports(path.read_text(encoding="utf-8"), module):
            if found.module.split(".")[0] in HEAVY and not found.lazy:
                wrong.append(f"{path.relative_to(ROOT)}:{found.line}: {found.module}")
    assert wrong == []


def test_torch_free_modules_load_no_torch() -> None:
    # One interpreter for all: the first module after which something heavy is loaded is the one to blame.
    program = (
        "import importlib, sys\n"
        f"for name in {WITHOUT_TORCH!r}:\n"
        "    importlib.import_module(name)\n"
        f"    loaded = [heavy for heavy in {HEAVY!r} if heavy in sys.modules]\n"
        "    assert not loaded, f'{name} loads {loaded}'\n"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_the_reader_resolves_what_it_reads() -> None:
    source = (
        "from . import a\nfrom ..space import b\nimport bertcompress.cli.app\ndef f():\n    import torch\n"
    )
    assert read_imports(source, "bertcompress.data") == [
        Import("bertcompress.data.a", 1, False),
        Import("bertcompress.space.b", 2, False),
        Import("bertcompress.cli.app", 3, False),
        Import("torch", 5, True),
    ]
