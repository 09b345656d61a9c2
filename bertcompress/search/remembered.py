"""Scores that survive a kill: on record as soon as they are known, and read there instead of computed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from bertcompress.errors import RunFolderError
from bertcompress.files import write_atomically
from bertcompress.search.driver import ScoreMany
from bertcompress.space import Child, child_name


def remembered(score_many: ScoreMany, path: Path) -> ScoreMany:
    """The scores of `score_many`, kept at `path` by placed child; the file belongs to one score function.

    Raises:
        RunFolderError: `path` holds something else.
    """
    scores = _read(path)

    def score_unknown(children: Sequence[Child]) -> Iterable[tuple[Child, float]]:
        known = [child for child in children if child_name(child) in scores]
        yield from ((child, scores[child_name(child)]) for child in known)
        unknown = [child for child in children if child_name(child) not in scores]
        for child, score in score_many(unknown) if unknown else ():
            scores[child_name(child)] = float(score)
            write_atomically(path, json.dumps({"scores": scores}, indent=1).encode())
            yield child, float(score)

    return score_unknown


def _read(path: Path) -> dict[str, float]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): float(score) for name, score in content["scores"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunFolderError(f"{path}: not a search state ({error}); delete it to search anew") from error
