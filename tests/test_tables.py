"""Tables: what was written is what is read, or it is refused by line.

Reports of these faults in public trackers are named in the tests that hold them off.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertcompress.errors import DataError
from bertcompress.sources.data import LoadedSource, load_source

EXAMPLES = int(os.environ.get("TABLE_EXAMPLES", "100"))
Rows = Sequence[tuple[Any, Any]]

PLAIN = [(f"film number {number} was seen", "pos" if number % 2 else "neg") for number in range(40)]


def train(path: Path) -> list[tuple[Any, ...]]:
    split = load_source(str(path)).splits["train"]
    return list(zip(*(split[name][:] for name in split.column_names), strict=True))


def refusal(path: Path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        load_source(str(path))
    return str(caught.value)


def lines(rows: Rows, separator: str = ",") -> str:
    return "".join(f"{text}{separator}{label}\n" for text, label in [("text", "label"), *rows])


# ---- the law ----

NASTY = st.sampled_from(list(",;|\t\"'\\\r\n\0 \u2028\x85\ufeff#=@-+[]{}:%&é漢😀a1"))
WORDS = (
    "",
    "nan",
    "null",
    "None",
    "NA",
    "inf",
    "1.0",
    "01",
    "1e5",
    "true",
    '"',
    '""',
    " ",
    "\\N",
    "-",
    "=1+1",
)
TEXT = st.one_of(
    st.sampled_from(WORDS), st.text(NASTY, max_size=12), st.text(max_size=12).filter(str.isprintable)
)
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXT
)


def delimited(delimiter: str, quoting: Any, end: str, encoding: str) -> Callable[[Rows], bytes]:
    def write(rows: Rows) -> bytes:
        file = io.StringIO(newline="")
        writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=end)
        writer.writerows([("text", "label"), *rows])
        return file.getvalue().encode(encoding)

    return write


def plain_tsv(rows: Rows) -> bytes:
    return lines([[re.sub(r"[\t\r\n]", "_", value) for value in row] for row in rows], "\t").encode()


def jsonl(rows: Rows, *, ascii_only: bool) -> bytes:
    return "".join(
        json.dumps({"text": text, "label": label}, ensure_ascii=ascii_only) + "\n" for text, label in rows
    ).encode()


def json_list(rows: Rows) -> bytes:
    return json.dumps([{"text": text, "label": label} for text, label in rows], indent=1).encode()


@given(
    rows=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6),
    delimiter=st.sampled_from([",", "\t"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_delimited_rows_come_back_or_are_refused_by_line(
    rows: Rows, delimiter: str, quoting: Any, end: str, encoding: str
) -> None:
    content = delimited(delimiter, quoting, end, encoding)(rows)
    broken = any(mark in value for row in rows for value in row for mark in "\r\n")
    # Of a quoted tsv another reading may be possible; a csv without line breaks has one only.
    check(content, ".csv" if delimiter == "," else ".tsv", rows, may_refuse=broken or delimiter == "\t")


@given(rows=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6))
@settings(max_examples=EXAMPLES, deadline=None)
def test_unquoted_tsv_rows_come_back_or_are_refused_by_line(rows: Rows) -> None:
    written = [tuple(re.sub(r"[\t\r\n]", "_", value) for value in row) for row in rows]
    marks = any('"' in value for row in written for value in row)
    quoted = any(value.startswith('"') and value.endswith('"') for row in written for value in row)
    check(plain_tsv(rows), ".tsv", written, may_refuse=marks, may_differ=quoted)


@given(rows=st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=6), ascii_only=st.booleans())
@settings(max_examples=EXAMPLES, deadline=None)
def test_json_rows_come_back_with_their_types(rows: Rows, ascii_only: bool) -> None:
    check(jsonl(rows, ascii_only=ascii_only), ".jsonl", rows, may_refuse=False)
    check(json_list(rows), ".json", rows, may_refuse=False)


@given(texts=st.lists(st.one_of(st.none(), TEXT), min_size=1, max_size=6), categories=st.booleans())
@settings(max_examples=EXAMPLES, deadline=None)
def test_parquet_rows_come_back(texts: list[str | None], categories: bool) -> None:
    column = pa.array(texts, pa.string())
    table = pa.table(
        {"text": column.dictionary_encode() if categories else column, "label": [1] * len(texts)}
    )
    file = io.BytesIO()
    pq.write_table(table, file)
    check(file.getvalue(), ".parquet", [(text, 1) for text in texts], may_refuse=False)


def check(content: bytes, suffix: str, rows: Rows, *, may_refuse: bool, may_differ: bool = False) -> None:
    """Hold the reader to the rows that were written; spaces at the ends of a text do not count."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows" + suffix)
        path.write_bytes(content)
        loaded = loaded_or_refusal(path)
        if isinstance(loaded, str):
            assert may_refuse, loaded
            assert re.search(r"lines? \d+", loaded)
            return
        split = loaded.splits["train"]
        read = list(zip(split["text"][:], split["label"][:], strict=True))
        if not may_differ:
            assert [as_read(loaded, row) for row in rows] == [as_read(loaded, row) for row in read]


def loaded_or_refusal(path: Path) -> LoadedSource | str:
    try:
        return load_source(str(path))
    except DataError as error:
        return str(error)


def as_read(loaded: LoadedSource, row: Sequence[Any]) -> list[Any]:
    """A row as it has to come back: its values, as words where a column holds several kinds of value."""
    values = []
    for name, value in zip(("text", "label"), row, strict=True):
        if loaded.mixed("train", name) and value is not None and not isinstance(value, str):
            whole = isinstance(value, float) and value.is_integer()
            value = json.dumps(int(value) if whole else value)
        values.append(value.strip() if isinstance(value, str) else value)
    return values


# ---- delimited files ----


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        # A comma in every text used to drop the start of every text.
        ("a.csv", "text,label\ngood, fine,pos\nbad, dull,neg\n", "line 2: .* 3 fields, .* header has 2"),
        ("a.csv", lines(PLAIN[:1]) + "so, so,pos\n" + lines(PLAIN), "line 3: .* 3 fields"),
        ("a.csv", "text,label\na,pos\nb\nc,neg\n", "line 3: .* 1 field,"),
        ("a.csv", "text;label\na;pos\nb, c;neg\n", "line 1: the header is separated by semicolons"),
        ("a.csv", "text\tlabel\na\tpos\n", "line 1: .* tabs.*name it .tsv"),
        ("a.tsv", "text,label\na,pos\n", "line 1: .* commas.*name it .csv"),
        ("a.csv", 'text,label\n"say \\"hi\\"",pos\n', "line 2: .*escaped by backslashes"),
        ("a.csv", 'text,label\n"good" film,pos\n', "line 2: .*text follows a quotation mark"),
        ("a.csv", 'text,label\na,pos\n"good film,pos\nb,neg\n', "lines 3 to 4: .*never closed"),
        ("a.csv", 'text,label\n"Good, film", "pos"\n', "line 2: a space stands before"),
        ("a.csv", "text,text,label\na,b,c\n", "line 1: the header names 'text' more than once"),
        ("a.csv", "text,label\ncafé,pos\n".encode("latin-1"), "line 2: byte 0xe9 at position 4 .*iconv"),
        ("a.csv", "text,label\na,b\n".encode("utf-16-le"), "line 1: holds NUL bytes, as UTF-16"),
        ("a.csv", b"\x1f\x8b\x08\x00", "gzip archive; unpack"),
        ("a.csv", b"PK\x03\x04 xlsx", "spreadsheet"),
        ("a.csv", "<!DOCTYPE html>\n<html>", "an HTML page"),
        ("a.csv", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("a.json", '{"text": {"0": "a"}, "label": {"0": 1}}', "orient='records'"),
        ("a.json", '{"data": [{"text": "a"}]}', "one object that holds data; write a list of objects"),
        ("a.csv", "\ufeff", "holds no rows"),
        ("a.tsv", 'text\tlabel\n"a \\"b\\" c"\tx\n"d" e\ty\n', "line 2: "),
        ("a.tsv", 'text\tlabel\n"a ""b"" c"\tx\n"d" e\ty\n', "line 2: .*escaped within it"),
    ],
)
def test_what_could_be_read_as_another_table_is_refused_by_line(
    tmp_path: Path, name: str, content: str | bytes, words: str
) -> None:
    assert re.search(words, refusal(tmp_path / name, content), re.DOTALL)


def test_a_tsv_without_quotation_marks_keeps_its_rows(tmp_path: Path) -> None:
    """A text that begins with a mark swallowed the rows up to the next (facebookresearch/pytext 777)."""
    rows = list(PLAIN)
    rows[10], rows[30] = ('"Lovely, said the first', "pos"), ('"Dull, said the other', "neg")
    path = tmp_path / "a.tsv"
    path.write_text(lines(rows, "\t"), encoding="utf-8")
    assert train(path) == rows
    assert load_source(str(path)).files[0]["quotes"] == "none"


@pytest.mark.parametrize("last", [11, 12, 30])
def test_a_quotation_mark_that_swallows_rows_is_found(tmp_path: Path, last: int) -> None:
    """The mark of line 12 is closed by that of a later line, by chance at the end of a text."""
    rows = list(PLAIN)
    rows[10], rows[last] = ('"Lovely was the first', "pos"), ('the other was dull"', "neg")
    message = refusal(tmp_path / "a.csv", lines(rows))
    assert "line 12: the quoted field that begins there holds what looks like a row" in message
    turned = [(label, text) for text, label in rows]
    assert "line 12" in refusal(tmp_path / "b.csv", lines(turned))
    (tmp_path / "a.tsv").write_text(lines(rows, "\t"), encoding="utf-8")
    assert train(tmp_path / "a.tsv") == rows


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_texts_of_several_lines_and_of_10_mb_are_read(tmp_path: Path, suffix: str) -> None:
    """The csv module stops at 131,072 characters by itself (biolab/orange3 2404)."""
    rows = [("word " * 2_000_000 + "end", "pos"), ("one line,\nanother line\n\nthe last", "neg"), *PLAIN]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(delimited("," if suffix == ".csv" else "\t", csv.QUOTE_MINIMAL, "\n", "utf-8")(rows))
    assert train(path) == rows
    assert load_source(str(path)).files[0]["rows_with_line_breaks"] == 1
    assert csv.field_size_limit() == 131_072


def test_blank_lines_and_unnamed_columns_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(",text,label\n0,a,pos\n\n1,b,neg\n  \n", encoding="utf-8")
    loaded = load_source(str(path))
    assert loaded.splits["train"].column_names == ["text", "label"]
    assert dict(loaded.files[0]) == {
        "split": "train",
        "path": str(path),
        "records": 2,
        "blank_lines": 2,
        "rows_with_line_breaks": 0,
        "unnamed_columns": 1,
    }
    assert [loaded.place("train", row) for row in (0, 1)] == ["line 2", "line 4"]


def test_a_column_of_numbers_may_turn_to_words_anywhere(tmp_path: Path) -> None:
    rows = [(str(number), "0" if number < 11_000 else "unknown") for number in range(12_000)]
    path = tmp_path / "a.csv"
    path.write_text(lines(rows), encoding="utf-8")
    assert train(path) == rows


# ---- JSON ----


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"text": "a"}\n\n{"text": "b", "text": "c"}\n', "line 3: .*'text' occurs twice"),
        ('{"text": "a"}\n{"text": "\\ud83d"}\n', "line 2: 'text' holds half of a surrogate pair"),
        ('{"text": "a", "label": Infinity}\n', "line 1: .*Infinity"),
        ('{"text": "a", "label": 1e999}\n', "line 1: .*1e999"),
        ('{"text": "a"}{"text": "b"}\n', "line 1: .*Extra data"),
        ('{\n"text": "a"\n}\n', "line 1: .*whole JSON object"),
        ('["a", "b"]\n', "line 1: found a list"),
        ('{"text": ' + "[" * 100_000 + "]" * 100_000 + "}\n", "line 1: .*nested too deeply"),
    ],
)
def test_what_is_no_json_object_a_line_is_refused_by_line(tmp_path: Path, content: str, words: str) -> None:
    assert re.search(words, refusal(tmp_path / "a.jsonl", content), re.DOTALL)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('[{"text": "a"},\n {"text": }]', "line 2: not readable as json"),
        ('[{"text": "a"}\n {"text": "b"}]', "a comma or ] is missing"),
        ('[{"text": "a"},\n]', "line 2: "),
        ('[{"text": "a"}] more', "text follows the end"),
        ('[{"text": "a"},\n"b"]', "line 2: found a text"),
        ('{"text": {"0": "a"}, "label": {"0": 1}', "line 1: "),
    ],
)
def test_a_json_list_is_refused_by_line(tmp_path: Path, content: str, words: str) -> None:
    assert re.search(words, refusal(tmp_path / "a.json", content), re.DOTALL)


def test_json_of_changing_types_is_read_and_noted(tmp_path: Path) -> None:
    """Arrow's reader stops at "Column changed from number to string" (huggingface/datasets 6106)."""
    path = tmp_path / "a.jsonl"
    rows = [
        {"text": "a", "label": 1, "size": 2**70},
        {"text": "b", "label": "one", "size": 1},
        {"label": None},
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    loaded = load_source(str(path))
    assert loaded.splits["train"]["label"][:] == ["1", "one", None]
    assert loaded.splits["train"]["text"][:] == ["a", "b", None]
    assert dict(loaded.mixed("train", "label")) == {"numbers": 1, "text": 2}
    assert loaded.splits["train"]["size"][0] == str(2**70)


def test_nan_is_missing_and_null_as_a_word_is_a_word(tmp_path: Path) -> None:
    """The text "null" used to become None (huggingface/datasets 4467)."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": NaN, "label": 1.5}\n{"text": "null", "label": NaN}\n', encoding="utf-8")
    assert train(path) == [(None, 1.5), ("null", None)]
    path = tmp_path / "a.csv"
    path.write_text(lines([("null", "NA"), ("nan", "None")]), encoding="utf-8")
    assert train(path) == [("null", "NA"), ("nan", "None")]


# ---- parquet ----


def test_a_parquet_file_is_itself_alone(tmp_path: Path) -> None:
    """A folder named key=value adds no column (pola-rs/polars 12903), categories are what they stand for."""
    folder = tmp_path / "year=2020" / "a [b] 50% :: *?"
    folder.mkdir(parents=True)
    table = pa.table({"text": pa.array(["a", "b"], pa.string_view()), "label": pa.array(["x", "y"])})
    table = table.set_column(1, "label", table["label"].dictionary_encode())
    pq.write_table(table, folder / "train.parquet")
    assert train(folder) == [("a", "x"), ("b", "y")]
    assert load_source(str(folder)).splits["train"].column_names == ["text", "label"]


def test_parquet_whose_text_is_no_utf8_is_refused(tmp_path: Path) -> None:
    broken = pa.array([b"caf\xe9"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": broken}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"not readable as parquet: .*UTF8"):
        load_source(str(tmp_path / "a.parquet"))


def test_a_column_of_a_type_that_nothing_here_reads_is_left_out(tmp_path: Path) -> None:
    pairs = pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))
    pq.write_table(pa.table({"text": ["a"], "more": pairs, "label": [True]}), tmp_path / "a.parquet")
    assert train(tmp_path / "a.parquet") == [("a", True)]


# ---- paths ----


@pytest.mark.parametrize(
    "name",
    [
        "reviews[1]",
        "50% off",
        "a::b",
        "-rf",
        "~me",
        "a b",
        "*",
        "?",
        "{x}",
        "zip:",
        "s3:",
        "é😀",
        "#",
        "data.v2",
    ],
)
@pytest.mark.parametrize("relative", [True, False])
def test_a_path_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, relative: bool) -> None:
    """Brackets used to be taken for a pattern, and another file was read (huggingface/datasets 7468)."""
    monkeypatch.chdir(tmp_path)
    Path("reviews1.csv").write_text(lines([("wrong", "file")]), encoding="utf-8")
    source = f"{name}.csv" if relative else str(tmp_path / f"{name}.csv")
    Path(source).write_text(lines(PLAIN), encoding="utf-8")
    assert train(Path(source)) == PLAIN
    Path(name).mkdir()
    Path(name, f"{name}.csv").write_text(lines(PLAIN), encoding="utf-8")
    folder = name if relative else str(tmp_path / name)
    assert len(load_source(folder, {"train": f"{name}.csv"}).splits["train"]) == 40
    assert len(load_source(folder, {"train": name}).splits["train"]) == 40


def test_hidden_files_are_no_data(tmp_path: Path) -> None:
    (tmp_path / ".ipynb_checkpoints").mkdir()
    for name in ("reviews.csv", "._reviews.csv", ".ipynb_checkpoints/reviews.csv"):
        (tmp_path / name).write_text(lines(PLAIN), encoding="utf-8")
    assert len(load_source(str(tmp_path)).splits["train"]) == 40


def test_several_files_of_a_split_are_one_table_and_their_rows_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(lines(PLAIN[:3]), encoding="utf-8")
    (tmp_path / "b.csv").write_text("label,text\nneg,last\n", encoding="utf-8")
    loaded = load_source(str(tmp_path), {"train": ["a", "b"]}, where={"label": "neg"})
    assert loaded.splits["train"]["text"][:] == [PLAIN[0][0], PLAIN[2][0], "last"]
    assert [loaded.place("train", row) for row in range(3)] == [
        "a.csv line 2",
        "a.csv line 4",
        "b.csv line 2",
    ]
    (tmp_path / "b.csv").write_text("text,class\nlast,neg\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"b\.csv: has the columns text, class, and a.csv has text, label"):
        load_source(str(tmp_path), {"train": ["a", "b"]})
