"""The tokenizer of a model: its files are there, it knows plain text, and the model embeds all its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from bertcompress.errors import TeacherError
from bertcompress.sources.checkpoint import first_line

# Each is a tokenizer's vocabulary; without one of them transformers 5 makes one of special tokens alone.
VOCABULARIES = (
    ("tokenizer.json",), ("vocab.txt",), ("vocab.json", "merges.txt"), ("spiece.model",),
    ("sentencepiece.bpe.model",), ("tokenizer.model",), ("spm.model",),
)  # fmt: skip
# Plain text of many scripts, its letters one by one too: some piece of it is in every vocabulary.
PROBES = (
    "The film is good, and the story a very fine one.",
    "0 1 2 3 4 5 6 7 8 9 . , ! ?",
    "a b c d e f g h i j k l m n o p q r s t u v w x y z",
    "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z",
    "это фильм и был на не в",
    "\u03b1\u03c5\u03c4\u03cc \u03b5\u03af\u03bd\u03b1\u03b9 \u03ba\u03b1\u03b9 \u03c4\u03bf",
    "هذا في من على و",
    "זה של לא על את",
    "यह है और में का",
    "这 是 一 部 好 电影 的 不 了 人",
    "これ は の を に 映画 です",
    "이 영화 는 의 를 다",
    "นี่ คือ และ ที่ ใน",
    "এ ক ম র த க ம ன తె ల మ ა ი ე მ ա ե ի մ የ ነ መ ក ន ម က မ བ ད",
)


def load_tokenizer(location: str, subject: str | None = None) -> PreTrainedTokenizerBase:
    """The fast tokenizer of a folder or a Hub id.

    Raises:
        TeacherError: there is none, it cannot be read, or it is a slow one.
    """
    subject = subject or f"teacher.source: {location}"
    folder = Path(location)
    if folder.is_dir() and not any(all((folder / name).is_file() for name in each) for each in VOCABULARIES):
        looked_for = ", ".join(" with ".join(each) for each in VOCABULARIES)
        raise TeacherError(
            f"{subject} has no tokenizer: looked for {looked_for}; save it there with its save_pretrained"
        )
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(location, use_fast=True)
    except Exception as error:  # tokenizers raises Exception itself, and readers what they like.
        raise TeacherError(
            f"{subject} has no tokenizer that can be read: {first_line(error)}; load the right one with "
            "AutoTokenizer and write it there with save_pretrained"
        ) from error
    if not tokenizer.is_fast:
        raise TeacherError(
            f"{subject}: {type(tokenizer).__name__} is a slow tokenizer, without a tokenizer.json; give a "
            "model whose tokenizer has a fast form"
        )
    return tokenizer


def check_tokenizer_suits(tokenizer: PreTrainedTokenizerBase, vocab_size: int, subject: str) -> None:
    """Refuse a tokenizer that knows no plain text, or gives ids that the model does not embed.

    Raises:
        TeacherError: either is so.
    """
    problem = too_many_tokens(tokenizer, vocab_size)
    if problem is None and knows_nothing_of(tokenizer, PROBES):
        problem = (
            f"tokenizer: plain text comes out all unknown; its {len(tokenizer)} tokens are special ones, or "
            "of another model; copy the files of the tokenizer that the model was trained with"
        )
    if problem:
        raise TeacherError(f"{subject}: {problem}")


def too_many_tokens(tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> str | None:
    """Why some id is beyond the model's embeddings, added tokens included; None where none is."""
    vocabulary = tokenizer.get_vocab()
    last = max(vocabulary, key=lambda token: vocabulary[token], default="")
    if vocabulary.get(last, -1) < vocab_size:
        return None
    return (
        f"tokenizer: gives ids up to {vocabulary[last]} ({last!r}); the model embeds {vocab_size} tokens; "
        "copy the model's own tokenizer, or train it with resize_token_embeddings after adding tokens"
    )


def knows_nothing_of(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> bool:
    """Whether every one of the texts comes out as unknown tokens alone, or as none."""
    unknown = tokenizer.unk_token_id
    try:
        rows = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    except Exception:  # noqa: BLE001  # tokenizers raises Exception itself where even the unknown token is none.
        return True
    return all(number == unknown for row in rows for number in row)
