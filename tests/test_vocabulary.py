"""A trimmed vocabulary cuts the texts it was made of as before, spells out others, and changes no logit."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoTokenizer,
    BertForSequenceClassification,
    BertTokenizerFast,
    PreTrainedTokenizerFast,
)

from bertcompress.data.vocabulary import trim_vocabulary
from bertcompress.errors import DataError
from bertcompress.model.convert_bert import bert_architecture
from bertcompress.space import SearchSpace, teacher_child
from bertcompress.supernet import SuperBert, warm_start
from bertcompress.training.teacher import keep_tokens

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PIECES = (
    *"abcdz",
    *(f"##{letter}" for letter in "abcdz"),
    "ab",
    "##ab",
    "abc",
    "##bc",
    "bad",
    "cab",
    "##cab",
)
words = st.text(alphabet="abcd", min_size=1, max_size=7)
texts = st.lists(words, min_size=1, max_size=6).map(" ".join)


def wordpiece() -> PreTrainedTokenizerFast:
    """A cased WordPiece of few letters, its tokens in no order of their kind."""
    tokens = [*SPECIAL[:2], *PIECES[:4], *SPECIAL[2:], *PIECES[4:]]
    rust = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    rust.normalizer = normalizers.BertNormalizer(lowercase=False)
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ids = [(token, tokens.index(token)) for token in ("[CLS]", "[SEP]")]
    rust.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=rust,
        **dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True)),
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def used_by(tokenizer: PreTrainedTokenizerFast, corpus: list[str]) -> set[int]:
    return {number for row in tokenizer(corpus)["input_ids"] for number in row}


@settings(max_examples=50, deadline=None)
@given(st.lists(texts, min_size=1, max_size=5))
def test_the_corpus_is_cut_as_before_in_fewer_tokens(corpus):
    tokenizer = wordpiece()
    used = used_by(tokenizer, corpus)
    trimmed = trim_vocabulary(tokenizer, used)
    assert len(trimmed.tokenizer) == len(trimmed.kept) < len(tokenizer)
    assert used <= set(trimmed.kept.tolist())
    for first, second in zip(corpus, reversed(corpus), strict=True):
        theirs, ours = tokenizer(first, second), trimmed.tokenizer(first, second)
        assert trimmed.kept[ours["input_ids"]].tolist() == theirs["input_ids"]
        assert ours["token_type_ids"] == theirs["token_type_ids"]


@settings(max_examples=50, deadline=None)
@given(st.lists(texts, min_size=1, max_size=3), texts)
def test_an_unseen_text_of_known_letters_is_spelt_out(corpus, text):
    letters = set("".join(corpus))
    tokenizer = wordpiece()
    trimmed = trim_vocabulary(tokenizer, used_by(tokenizer, corpus))
    cut = trimmed.tokenizer(text, add_special_tokens=False)["input_ids"]
    known = [word for word in text.split() if set(word) <= letters]
    assert cut.count(trimmed.tokenizer.unk_token_id) == len(text.split()) - len(known)
    spelt = "".join(trimmed.tokenizer.convert_ids_to_tokens(cut)).replace("##", "").replace("[UNK]", "")
    assert spelt == "".join(known)


def test_it_comes_back_from_its_folder_and_from_the_tokenizers_library(tmp_path):
    trimmed = trim_vocabulary(wordpiece(), used_by(wordpiece(), ["abc bad"])).tokenizer
    trimmed.save_pretrained(tmp_path)
    loaded, served = (
        AutoTokenizer.from_pretrained(tmp_path),
        Tokenizer.from_file(str(tmp_path / "tokenizer.json")),
    )
    for text in ("abc bad", "cab", "zz top"):
        assert loaded(text)["input_ids"] == served.encode(text).ids == trimmed(text)["input_ids"]
    for name in ("pad_token_id", "unk_token_id", "cls_token_id", "sep_token_id", "mask_token_id"):
        assert getattr(loaded, name) == getattr(trimmed, name) is not None
    assert (
        loaded(["a", "bad cab"], padding=True)["attention_mask"][0]
        == [1, 1, 1, *[0] * 5][: len(loaded("bad cab")["input_ids"])]
    )


def test_it_is_of_the_class_that_it_was_and_keeps_added_tokens(tmp_path):
    """A class that other versions of transformers know too, and that loads with the same settings."""
    pieces = [*SPECIAL[:2], *PIECES[:4], *SPECIAL[2:], *PIECES[4:], "A", "Ab"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n")
    tokenizer = BertTokenizerFast.from_pretrained(tmp_path, do_lower_case=False)
    tokenizer.add_tokens(["<url>", "<name>"])
    trimmed = trim_vocabulary(tokenizer, used_by(tokenizer, ["Ab bad <url>"]))
    assert type(trimmed.tokenizer) is type(tokenizer)
    trimmed.tokenizer.save_pretrained(tmp_path / "trimmed")
    config = json.loads((tmp_path / "trimmed/tokenizer_config.json").read_text())
    assert config["tokenizer_class"].startswith("BertTokenizer")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "trimmed")
    for text, cut in (("Ab bad <url>", ["Ab", "bad", "<url>"]), ("<name> ab", ["<name>", "a", "##b"])):
        assert loaded.tokenize(text) == trimmed.tokenizer.tokenize(text) == cut
    ids = loaded("Ab <url>", "bad")["input_ids"]
    assert ids == trimmed.tokenizer("Ab <url>", "bad")["input_ids"]
    assert trimmed.kept[ids].tolist() == tokenizer("Ab <url>", "bad")["input_ids"]
    assert len(loaded) == len(trimmed.kept) == max(loaded.get_vocab().values()) + 1


def test_the_unknown_token_stays_where_only_the_model_knows_of_it():
    rust = Tokenizer(models.WordPiece({"a": 0, "b": 1, "[UNK]": 2, "##b": 3}, unk_token="[UNK]"))
    rust.pre_tokenizer = pre_tokenizers.Whitespace()
    trimmed = trim_vocabulary(PreTrainedTokenizerFast(tokenizer_object=rust), {0})
    assert trimmed.kept.tolist() == [0, 2]
    assert trimmed.tokenizer("a ab")["input_ids"] == [0, trimmed.unknown_id] == [0, 1]


def test_bert_processing_is_renumbered_too():
    tokenizer = wordpiece()
    tokenizer.backend_tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", tokenizer.sep_token_id), ("[CLS]", tokenizer.cls_token_id)
    )
    trimmed = trim_vocabulary(tokenizer, used_by(tokenizer, ["abc"])).tokenizer
    ids = trimmed("abc")["input_ids"]
    assert trimmed.convert_ids_to_tokens(ids) == ["[CLS]", "abc", "[SEP]"]


def test_a_vocabulary_of_merges_is_refused():
    rust = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
    with pytest.raises(
        DataError, match=r"tokenizer is BPE; only WordPiece and WordLevel .*vocabulary to full"
    ):
        trim_vocabulary(PreTrainedTokenizerFast(tokenizer_object=rust), {0})


def test_a_child_of_kept_tokens_gives_the_logits_of_the_full_one(tiny_bert: BertForSequenceClassification):
    """On rows of kept tokens, renumbered; it is the teacher's own chain, started from the teacher."""
    kept = np.array([0, 1, 2, 5, 8, 40, 41, 96])
    ours = torch.randint(1, len(kept), (3, 7), generator=torch.Generator().manual_seed(0))
    theirs = torch.from_numpy(kept)[ours]
    mask = torch.ones_like(ours)
    with torch.inference_mode():
        expected = tiny_bert(theirs, attention_mask=mask).logits
    teacher = keep_tokens(tiny_bert, kept)
    assert teacher.bert.embeddings.word_embeddings.weight.shape == (8, 32)
    architecture = bert_architecture(teacher.config)
    space = SearchSpace(architecture.dimensions, tuple((o,) for o in teacher_child(2, 4, 64)))
    assert space.dimensions.vocab_size == 8
    supernet = SuperBert(space)
    warm_start(supernet, teacher)
    supernet.eval()
    with torch.inference_mode():
        found = supernet(ours, mask, architecture=space.largest()).logits
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert sum(p.numel() for p in supernet.parameters()) == space.architecture(space.largest()).num_parameters
