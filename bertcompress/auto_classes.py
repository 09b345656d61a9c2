"""Make compact models known to transformers' Auto classes once these are imported, and not before.

`import bertcompress` must not load torch, so it cannot register its model there itself. It leaves a hook on
the imports of transformers, which imports `bertcompress.model`, where the model registers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from threading import local
from types import ModuleType

AUTO_CLASSES = "transformers.models.auto.configuration_auto"


class AutoClassesHook(MetaPathFinder):
    """Watch the modules of transformers; after the outermost with which the Auto classes came, register.

    Not earlier: a module of transformers that is half imported has not all that `bertcompress.model` needs.
    """

    def __init__(self) -> None:
        self._in_progress = local()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module of transformers, its execution watched; None for all others."""
        if fullname.partition(".")[0] != "transformers":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            self._watch(spec.loader)
        return spec

    def _watch(self, loader: Loader) -> None:
        execute = loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            depth = getattr(self._in_progress, "depth", 0)
            self._in_progress.depth = depth + 1
            try:
                execute(module)
            finally:
                self._in_progress.depth = depth
            if depth == 0 and AUTO_CLASSES in sys.modules and self in sys.meta_path:
                sys.meta_path.remove(self)
                import_module("bertcompress.model")

        # An attribute of this loader alone: it is made for one module.
        loader.exec_module = execute_and_register  # type: ignore[method-assign]


def install() -> None:
    """Register compact models with the Auto classes: at once where these are imported, else when they are."""
    if AUTO_CLASSES in sys.modules:
        import_module("bertcompress.model")
    elif not any(isinstance(finder, AutoClassesHook) for finder in sys.meta_path):
        sys.meta_path.insert(0, AutoClassesHook())
