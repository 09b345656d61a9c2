"""Make the transfer set: the training rows and views of them, with the teacher's answers on all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from safetensors.torch import save_file

from bertcompress.data.tokenized import TokenizedSplit
from bertcompress.data.views import ViewMaker, ViewShares, find_neighbours
from bertcompress.pipeline.run import Run
from bertcompress.pipeline.stage import Stage
from bertcompress.training.loop import model_logits

ROWS = "views.safetensors"
LOGITS = "logits.safetensors"


def make_transfer_set(run: Run) -> None:
    """Make `student.views` views of every training row, and keep the teacher's logits on them.

    There are fewer where rows and views would be more than `student.max_rows`. Views that came out twice are
    kept once. report.json says how many there are.
    """
    chosen, num_rows = run.recipe.student, len(run.student_splits["train"])
    number = min(chosen.views, max(0, chosen.max_rows - num_rows) // num_rows)
    if number < chosen.views:
        limit = f"student.max_rows {chosen.max_rows:,} leaves room for {number}"
        run.say(f"transfer: {limit} of {chosen.views} views of each of {num_rows:,} rows")
    if not number:
        run.folder.write_json("transfer/report.json", {"views_a_row": 0, "views": 0, "repeated": 0})
        return
    views = _views(run, number)
    kept = _different(views)
    run.say(f"transfer: the teacher answers {len(kept):,} views of {num_rows:,} rows")
    kept.save(run.path("transfer", ROWS))
    logits = model_logits(run.teacher, _in_teacher_tokens(kept, run.kept_tokens))
    save_file({"logits": logits}, str(run.path("transfer", LOGITS)))
    described = {"views_a_row": number, "views": len(kept), "repeated": len(views) - len(kept)}
    run.folder.write_json("transfer/report.json", described)


def _views(run: Run, number: int) -> TokenizedSplit:
    train, tokenizer = run.student_splits["train"], run.student_tokenizer
    words = run.starting_model.bert.embeddings.word_embeddings.weight.detach().float().numpy()  # (V, D)
    neighbours = find_neighbours(words, tokenizer, np.unique(train.input_ids).tolist())
    make = ViewMaker(
        train, neighbours, ViewShares(), tokenizer.all_special_ids, max_length=run.recipe.data.max_length
    )
    rng = np.random.default_rng(run.recipe.seed)
    return TokenizedSplit.joined([make(rng) for _ in range(number)])


def _different(views: TokenizedSplit) -> TokenizedSplit:
    """The views without repetitions, each where it came first."""
    cuts = (slice(a, b) for a, b in zip(views.offsets[:-1], views.offsets[1:], strict=True))
    first = {
        (views.input_ids[cut].tobytes(), views.token_type_ids[cut].tobytes()): row
        for row, cut in reversed(list(enumerate(cuts)))
    }
    return views.select(sorted(first.values()))


def _in_teacher_tokens(split: TokenizedSplit, kept_tokens: np.ndarray | None) -> TokenizedSplit:
    """The same rows in the teacher's ids, of which the children's vocabulary may be a part."""
    if kept_tokens is None:
        return split
    return replace(split, input_ids=kept_tokens[split.input_ids].astype(np.int32))


KEYS = ("seed", "student.views", "student.max_rows")
STAGE = Stage("transfer", KEYS, ("vocabulary", "teacher"), make_transfer_set)
