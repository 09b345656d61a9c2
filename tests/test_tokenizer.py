"""A tokenizer is the model's own: its files are there, it knows plain text, the model embeds its tokens."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoints import save_classifier
from small_models import WORDS, word_tokenizer
from transformers import BertConfig, RobertaConfig
from typer.testing import CliRunner

from bertcompress.cli.app import app
from bertcompress.errors import TeacherError
from bertcompress.sources.tokenizer import check_tokenizer_suits, load_tokenizer, too_many_tokens

PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "film", "a", "the")
VOCABULARY = "\n".join(PIECES) + "\n"
CONFIG = json.dumps({"tokenizer_class": "BertTokenizer"})

# Files of a folder beside its config.json.
INCOMPLETE = {
    "nothing": {},
    "settings alone": {"tokenizer_config.json": CONFIG, "special_tokens_map.json": '{"unk_token": "[UNK]"}'},
    "half of a vocabulary": {"vocab.json": '{"<s>": 0, "<pad>": 1, "a": 2}'},
    "the other half": {"merges.txt": "#version: 0.2\ng o\n"},
    "sentencepiece's settings": {"tokenizer_config.json": '{"tokenizer_class": "XLMRobertaTokenizer"}'},
}
UNREADABLE = {
    "another JSON": {"tokenizer.json": '{"a": 1}'},
    "a cut JSON": {"tokenizer.json": '{"version": "1.0", '},
    "a pointer": {"tokenizer.json": "version https://git-lfs.github.com/spec/v1\n"},
    "no such class": {"tokenizer_config.json": '{"tokenizer_class": "NoSuch"}', "vocab.txt": VOCABULARY},
}


def write(folder: Path, files: dict[str, str], config: BertConfig | RobertaConfig | None = None) -> str:
    (config or BertConfig()).save_pretrained(folder)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return str(folder)


@pytest.mark.parametrize("files", INCOMPLETE.values(), ids=INCOMPLETE)
@pytest.mark.parametrize("config", [BertConfig(), RobertaConfig()], ids=["bert", "roberta"])
def test_a_folder_without_a_vocabulary_names_what_was_looked_for(
    tmp_path: Path, files: dict[str, str], config: BertConfig | RobertaConfig
) -> None:
    with pytest.raises(TeacherError, match=r"no tokenizer: looked for tokenizer\.json, vocab\.txt"):
        load_tokenizer(write(tmp_path, files, config))


@pytest.mark.parametrize("files", UNREADABLE.values(), ids=UNREADABLE)
def test_files_that_are_no_tokenizer_are_refused(tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(TeacherError, match="has no tokenizer that can be read"):
        load_tokenizer(write(tmp_path, files))


@pytest.mark.parametrize("files", [{"vocab.txt": ""}, {"sentencepiece.bpe.model": "of another class"}])
def test_files_without_tokens_are_refused(tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(TeacherError, match=r"plain text comes out all unknown|that can be read"):
        check_tokenizer_suits(load_tokenizer(write(tmp_path, files)), 30522, "model")


@pytest.mark.parametrize("kept", ["vocab.txt", "tokenizer.json"])
def test_one_file_of_a_tokenizer_is_enough(tmp_path: Path, kept: str) -> None:
    tokenizer = load_tokenizer(write(tmp_path / "whole", {"vocab.txt": VOCABULARY}))
    tokenizer.save_pretrained(tmp_path / "saved")
    place = tmp_path / ("whole" if kept == "vocab.txt" else "saved")
    shutil.copy(place / kept, write(tmp_path / "alone", {}))
    alone = load_tokenizer(str(tmp_path / "alone"))
    assert alone("the good film")["input_ids"] == [2, 8, 5, 6, 3]
    check_tokenizer_suits(alone, len(PIECES), "model")


def test_a_slow_tokenizer_is_refused(tmp_path: Path) -> None:
    files = {"tokenizer_config.json": '{"tokenizer_class": "BertJapaneseTokenizer"}', "vocab.txt": VOCABULARY}
    with pytest.raises(TeacherError, match="BertJapaneseTokenizer"):
        load_tokenizer(write(tmp_path, files))


@pytest.mark.parametrize("words", [PIECES[:5], (*PIECES[:5], "ⴰⵣⵓⵍ", "ⵜⴰⵎⴰⵣⵉⵖⵜ")], ids=["special", "another"])
def test_a_tokenizer_to_which_plain_text_is_unknown_is_refused(words: tuple[str, ...]) -> None:
    """As of a vocabulary that was lost: lm-sys/FastChat 599, google-research/albert 81."""
    with pytest.raises(TeacherError, match="plain text comes out all unknown"):
        check_tokenizer_suits(word_tokenizer(words), 100, "model")


@pytest.mark.parametrize("words", ["фильм и", "映画 人", "और", "e"])
def test_any_script_is_plain_text(words: str) -> None:
    check_tokenizer_suits(word_tokenizer((*PIECES[:5], *words.split())), 100, "model")


@pytest.mark.parametrize("added", [["very new"], ["[NEW]"]])
def test_tokens_beyond_the_embeddings_are_refused_with_the_last_one(added: list[str]) -> None:
    """huggingface/transformers 12763, EuroEval/EuroEval 52, MemPalace/mempalace pull request 2136."""
    tokenizer = word_tokenizer()
    assert too_many_tokens(tokenizer, len(WORDS)) is None
    tokenizer.add_tokens(added)
    with pytest.raises(
        TeacherError, match=rf"ids up to 10 \('{added[0].replace('[', '.').replace(']', '.')}'\)"
    ):
        check_tokenizer_suits(tokenizer, len(WORDS), "model")


def test_the_number_of_tokens_does_not_hide_a_high_id() -> None:
    # Six tokens, one of them with an id that is far beyond their number.
    tokenizer = word_tokenizer()
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    backend["model"]["vocab"]["far"] = 5000
    tokenizer.backend_tokenizer.from_str(json.dumps(backend))
    changed = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer.from_str(json.dumps(backend)))
    assert "ids up to 5000" in str(too_many_tokens(changed, 4999))


def spoil_tokens(folder: Path) -> None:
    tokenizer = word_tokenizer()
    tokenizer.add_tokens(["zzz"])
    tokenizer.save_pretrained(folder)


def remove_tokens(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [(remove_tokens, "has no tokenizer: looked for"), (spoil_tokens, "the model embeds 10 tokens")],
)
def test_export_model_refuses_and_writes_nothing(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(save_classifier(tmp_path / "model"))
    done = CliRunner().invoke(app, ["export-model", str(tmp_path / "model"), str(tmp_path / "out")])
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert not (tmp_path / "out").exists()
