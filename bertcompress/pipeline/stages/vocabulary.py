"""Trim the vocabulary to the tokens of the training texts, where the recipe asks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from bertcompress.data.tokenized import TokenizedSplit, tokenize
from bertcompress.data.vocabulary import Vocabulary, trim_vocabulary
from bertcompress.files import read_json
from bertcompress.pipeline.run import SPLITS, Run
from bertcompress.pipeline.stage import Stage


def choose_vocabulary(run: Run) -> None:
    """Trim the vocabulary to the training texts', where the recipe asks; every split is cut into it anew.

    vocabulary.json holds the teacher's ids of the kept tokens, and by split how many rows are cut otherwise,
    and into how many tokens, unknown ones counted too, before and after.
    """
    if run.recipe.space.vocabulary == "full":
        return
    trimmed = trim_vocabulary(run.tokenizer, np.unique(run.teacher_splits["train"].input_ids).tolist())
    trimmed.tokenizer.save_pretrained(run.path("vocabulary", "tokenizer"))
    texts = {}
    for name in SPLITS:
        split = tokenize(run.prepared.splits[name], trimmed.tokenizer, run.task, run.recipe.data.max_length)
        split.save(run.path("vocabulary", f"{name}.safetensors"))
        texts[name] = _cut_otherwise(run.teacher_splits[name], split, trimmed)
    described = {"kept": trimmed.kept.tolist(), "of": len(run.tokenizer), "texts": texts}
    run.folder.write_json("vocabulary/vocabulary.json", described)
    run.say(f"vocabulary: {len(trimmed.kept):,} of {len(run.tokenizer):,} tokens kept")


def _cut_otherwise(theirs: TokenizedSplit, ours: TokenizedSplit, trimmed: Vocabulary) -> dict[str, int]:
    """How many rows the trimmed tokenizer cuts into other pieces, and unknown tokens now and before."""
    before = (theirs.input_ids[a:b] for a, b in pairwise(theirs.offsets))
    after = (trimmed.kept[ours.input_ids[a:b]] for a, b in pairwise(ours.offsets))
    changed = sum(not np.array_equal(*rows) for rows in zip(before, after, strict=True))
    unknown = trimmed.unknown_id
    return {
        "rows": len(ours),
        "rows_cut_otherwise": changed,
        "tokens": len(ours.input_ids),
        "tokens_before": len(theirs.input_ids),
        "unknown_tokens": int((ours.input_ids == unknown).sum()),
        "unknown_tokens_before": int((theirs.input_ids == trimmed.kept[unknown]).sum()),
    }


def vocabulary_words(run: Run) -> dict[str, str]:
    """What trimming the vocabulary did to texts that it was not trimmed to, where it was trimmed."""
    if run.kept_tokens is None:
        return {}
    found = read_json(run.path("vocabulary", "vocabulary.json"))
    test = found["texts"]["test"]
    return {
        "vocabulary": f"{len(found['kept']):,} of {found['of']:,} tokens, those of the training texts; "
        f"{test['rows_cut_otherwise']:,} of {test['rows']:,} test texts are cut into other pieces than "
        f"before, {test['tokens']:,} tokens for {test['tokens_before']:,}, "
        f"{test['unknown_tokens']:,} of them unknown (before: {test['unknown_tokens_before']:,})"
    }


STAGE = Stage("vocabulary", ("space.vocabulary",), ("data",), choose_vocabulary)
