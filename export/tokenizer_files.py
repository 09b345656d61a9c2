"""The tokenizer of an exported folder, held against the one of the training: same ids, masks and token types.

Two readers of the folder are asked: what serves without transformers (see encoding), and `AutoTokenizer`."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from bertcompress.errors import VerificationError
from bertcompress.export.encoding import TokenizerSettings, open_tokenizer, padded

Text: TypeAlias = str | tuple[str, str]
Arrays: TypeAlias = Mapping[str, np.ndarray]
# Rows, of which `words` says that they are split already, to padded arrays.
Encode: TypeAlias = Callable[..., Arrays]
MOST_NAMED = 5
# Texts on which tokenizers part ways: case, accents, punctuation, whitespace, other scripts, emoji, length.
PROBES = (
    "a",
    ".",
    "The film is good.",
    "Don't SHOUT -- naïve café, 3.14%!",
    "  spaces\tand\nlines  ",
    "映画 фильм الفيلم फ़िल्म 🎬👩‍👩‍👧",
    "\u200b\u3000\x01e\u0301 ﬁne İstanbul ẞ",
    "antidisestablishmentarianism" * 3,
    "words " * 600,
)


def tokenizer_settings(
    tokenizer: PreTrainedTokenizerBase, pad_token_id: int | None = None
) -> TokenizerSettings:
    """How a tokenizer of transformers makes rows; `pad_token_id` is the model's, for one without its own."""
    own = tokenizer.pad_token_id
    return TokenizerSettings(
        truncation_side=tokenizer.truncation_side,
        padding_side=tokenizer.padding_side,
        pad_token_id=own if own is not None else (pad_token_id or 0),
        pad_token=tokenizer.pad_token or "[PAD]",
        pad_type_id=tokenizer.pad_token_type_id,
        uses_segments="token_type_ids" in tokenizer.model_input_names,
        splits_special_tokens=bool(getattr(tokenizer, "split_special_tokens", False)),
    )


def write_tokenizer(
    tokenizer: PreTrainedTokenizerBase, settings: TokenizerSettings, max_length: int, out_dir: Path
) -> None:
    """Save the tokenizer; its tokenizer.json tells every reader of it where rows are cut and how padded."""
    kept = tokenizer.model_max_length
    tokenizer.model_max_length = max_length
    try:
        tokenizer.save_pretrained(out_dir)
    finally:
        tokenizer.model_max_length = kept
    _state_sides(tokenizer, out_dir / "tokenizer_config.json")
    path = str(out_dir / "tokenizer.json")
    stored = Tokenizer.from_file(path)
    stored.enable_truncation(max_length, direction=settings.truncation_side)
    stored.enable_padding(
        direction=settings.padding_side,
        pad_id=settings.pad_token_id,
        pad_token=settings.pad_token,
        pad_type_id=settings.pad_type_id,
    )
    stored.save(path)


def _state_sides(tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """Write what transformers saves only where it was given at loading, and not where it was set later."""
    config = json.loads(path.read_text(encoding="utf-8"))
    for name in ("truncation_side", "padding_side", "model_input_names"):
        config[name] = getattr(tokenizer, name)
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def check_tokenizer(
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    settings: TokenizerSettings,
    max_length: int,
    texts: Sequence[Text] = (),
    *,
    words: bool = False,
) -> int:
    """Hold both readers of the folder against the tokenizer, on probes and `texts`; returns their number.

    Of single texts and pairs, one by one and padded together; with `words` also of texts split into words.

    Raises:
        VerificationError: they do not; the first texts are named with what was found.
    """
    rows: list[Text] = [*probes(tokenizer, max_length), *texts]
    trained = _by_transformers(tokenizer, max_length)
    readers = {
        "without transformers": _by_tokenizers(folder / "tokenizer.json", settings, max_length),
        "by AutoTokenizer": _reloaded(folder),
    }
    problems = []
    for name, reader in readers.items():
        found = [*_differences(trained, reader, rows), *(_of_words(trained, reader, rows) if words else ())]
        problems += [f"read {name}: {each}" for each in found[:MOST_NAMED]]
        if len(found) > MOST_NAMED:
            problems.append(f"read {name}: and {len(found) - MOST_NAMED} more of {len(rows)} texts")
    if problems:
        advice = "the model would be served other inputs than it was trained on; save its tokenizer anew"
        raise VerificationError.from_problems(str(folder / "tokenizer.json"), [*problems, advice])
    return len(rows)


def probes(tokenizer: PreTrainedTokenizerBase, max_length: int, seed: int = 0) -> list[Text]:
    """PROBES, long texts of differing words, the tokenizer's special and added tokens, and pairs of all."""
    rng = random.Random(seed)
    names = sorted({*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()})
    long = " ".join(drawn_words(tokenizer, max_length + 40, rng))
    longer = " ".join(drawn_words(tokenizer, max_length + 80, rng))
    singles = [*PROBES, long, " ".join(names), "a".join(names), f"the{'good'.join(names)}.".upper()]
    singles = [text for text in singles if text.strip()]
    pairs = list(zip(singles, reversed(singles), strict=True))
    return [*singles, *pairs, (long, longer), (longer, "a"), ("a", longer)]


def drawn_words(tokenizer: PreTrainedTokenizerBase, number: int, rng: random.Random) -> list[str]:
    """Tokens of the vocabulary as words, special ones aside, each as likely as any other."""
    special = set(tokenizer.all_special_ids)
    ids = [index for index in range(len(tokenizer)) if index not in special] or list(range(len(tokenizer)))
    drawn = [rng.choice(ids) for _ in range(number)]
    return [str(tokenizer.decode([index])).strip() or "a" for index in drawn]


def _by_transformers(tokenizer: PreTrainedTokenizerBase, max_length: int | None) -> Encode:
    """How a tokenizer of transformers encodes; without a length, at its own."""

    def encode(rows: Sequence[Any], *, words: bool = False) -> Arrays:
        pairs = [row for row in rows if isinstance(row, tuple)]
        parts: list[Any] = [list(part) for part in zip(*rows, strict=True)] if pairs else [list(rows)]
        padding = len(rows) > 1
        options = {
            "truncation": True,
            "padding": padding,
            "is_split_into_words": words,
            "return_attention_mask": True,
        }
        encoded = tokenizer(*parts, **options, **({} if max_length is None else {"max_length": max_length}))
        ids = np.array(encoded["input_ids"], dtype=np.int64)
        segments = encoded.get("token_type_ids")
        return {
            "input_ids": ids,
            "attention_mask": np.array(encoded["attention_mask"], dtype=np.int64),
            # A model that is given none takes them for zeros.
            "token_type_ids": np.zeros_like(ids) if segments is None else np.array(segments, dtype=np.int64),
        }

    return encode


def _by_tokenizers(path: Path, settings: TokenizerSettings, max_length: int) -> Encode:
    served = open_tokenizer(path, settings, max_length)

    def encode(rows: Sequence[Any], *, words: bool = False) -> Arrays:
        return padded(served.encode_batch(list(rows), is_pretokenized=words), settings)

    return encode


def _reloaded(folder: Path) -> Encode:
    try:
        return _by_transformers(AutoTokenizer.from_pretrained(folder), None)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VerificationError(
            f"{folder}: AutoTokenizer cannot load what it saved ({error}); save the model's tokenizer anew"
        ) from error


def _differences(trained: Encode, reader: Encode, rows: Sequence[Text]) -> list[str]:
    """Where two ways to encode differ: texts one by one, then singles and pairs in padded batches."""
    found = [_difference(trained([row]), reader([row]), _shown(row)) for row in rows]
    problems = [each for each in found if each is not None]
    if problems:
        return problems
    singles = [row for row in rows if isinstance(row, str)]
    pairs = [row for row in rows if not isinstance(row, str)]
    for batch, name in ((singles, "texts"), (pairs, "pairs")):
        try:
            expected = trained(batch)
        except ValueError:
            continue  # It has no token to pad with; what it was trained on had one length.
        problem = _difference(expected, reader(batch), f"{len(batch)} {name} padded together")
        problems += [] if problem is None else [problem]
    return problems


def _of_words(trained: Encode, reader: Encode, rows: Sequence[Text]) -> list[str]:
    """As _differences, of texts that are split into words; nothing where the tokenizer takes none."""
    problems = []
    for row in rows:
        if not isinstance(row, str):
            continue
        split = row.split()
        try:
            expected = trained([split], words=True)
        except (AssertionError, ValueError):
            return []
        problem = _difference(expected, reader([split], words=True), f"the words of {_shown(row)}")
        problems += [] if problem is None else [problem]
    return problems


def _difference(expected: Arrays, found: Arrays, shown: str) -> str | None:
    """The first of ids, masks and token types that differ, and where; None where all are equal."""
    for name, want in expected.items():
        if np.array_equal(want, found[name]):
            continue
        if want.shape != found[name].shape:
            lengths = f"{found[name].shape[-1]} tokens; the model was trained on {want.shape[-1]}"
            return f"{shown}: {name} of {lengths}: {_ends(found[name])} for {_ends(want)}"
        row, place = np.argwhere(want != found[name])[0]
        ours, theirs = _start(found[name][row, place:]), _start(want[row, place:])
        return f"{shown}: {name} from token {place} on {ours}; the model was trained on {theirs}"
    return None


def _start(values: np.ndarray, most: int = 6) -> str:
    words = " ".join(str(value) for value in values[:most])
    return f"{words} ..." if len(values) > most else words


def _ends(values: np.ndarray) -> str:
    return _start(values[0])


def _shown(row: Text) -> str:
    if isinstance(row, str):
        return repr(row if len(row) <= 40 else f"{row[:37]}...")
    return " and ".join(_shown(part) for part in row)
