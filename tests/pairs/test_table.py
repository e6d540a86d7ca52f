"""Tables of pictures and texts."""

import csv
import io
import pickle
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.pairs import Pair, PairError, SourceError, open_pairs

from .making import kinds, write_files, write_table

HEADER = ["filepath", "title"]


@pytest.fixture
def folder(tmp_path):
    return write_files(tmp_path, ["p/1.jpg", "p/2.jpg", "p/3.jpg"])


@pytest.mark.parametrize(("separator", "suffix"), [("\t", ".csv"), (",", ".csv"), ("\t", ".tsv"), (";", ".csv")])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_separator_and_byte_order_mark_are_found(folder, separator, suffix, encoding):
    rows = [HEADER, ["p/1.jpg", "a bag, red"], ["p/2.jpg", 'two "lines"\nof text']]
    path = write_table(folder / f"pairs{suffix}", rows, separator=separator, encoding=encoding)
    source = open_pairs(path)
    assert list(source) == [
        Pair(f"pairs{suffix}:2:p/1.jpg", folder / "p/1.jpg", ("a bag, red",), source="pairs"),
        Pair(f"pairs{suffix}:3:p/2.jpg", folder / "p/2.jpg", ('two "lines"\nof text',), source="pairs"),
    ]
    assert source.problems == ()


def test_other_columns_are_captions_labels_source_and_facts(folder):
    columns = ["license", "title_ko", "label", "filepath", "source", "title", "credit"]
    row = ["MIT", "빨간 가방", "bag", "p/1.jpg", "shop", " a red bag ", ""]
    (pair,) = open_pairs(write_table(folder / "t.csv", [columns, row]))
    assert pair == Pair(
        "t.csv:2:p/1.jpg", folder / "p/1.jpg", ("a red bag", "빨간 가방"), ("bag",), "shop",
        {"en": ("a red bag",), "ko": ("빨간 가방",)}, {"license": "MIT"},
    )  # fmt: skip


def test_columns_can_be_named(folder):
    path = write_table(folder / "t.csv", [["image", "caption", "title"], ["p/1.jpg", "a", "b"]], separator="|")
    pair = open_pairs(path, image_key="image", text_key="caption").read(0)
    assert (pair.texts, pair.facts) == (("a",), {"title": "b"})


def test_labels_may_be_the_texts_as_they_are(folder):
    path = write_table(folder / "t.csv", [["filepath", "label"], ["p/1.jpg", "bag"]])
    pair = open_pairs(path, text_key="label").read(0)
    assert (pair.texts, pair.labels, pair.facts) == (("bag",), ("bag",), {})


def test_labels_alone_fill_the_templates(folder):
    rows = [["filepath", "label", "label_ko"], ["p/1.jpg", "red_bag", "빨간 가방"], ["p/2.jpg", "", "컵"]]
    one, two = open_pairs(write_table(folder / "t.csv", rows), templates="small")
    assert one.texts[:2] == ("red bag", "a photo of a red bag.")
    assert "빨간 가방을 찍은 사진" in one.texts
    assert (one.labels, one.facts) == (("red_bag",), {"label_ko": "빨간 가방"})
    assert two.texts[0] == "컵"


def test_absolute_paths_are_taken_as_they_are(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    path = write_table(elsewhere / "t.csv", [HEADER, [str(folder / "p/1.jpg"), "t"], ["../x.jpg", "t"]])
    source = open_pairs(path)
    assert source.read(0).picture == folder / "p/1.jpg"
    with pytest.raises(PairError, match=r"x.jpg: there is no such file \(paths are relative to the table's folder\)"):
        source.read(1)


def test_bad_rows_are_told_with_their_line_and_the_rest_goes_on(folder):
    lines = [
        "filepath,title",
        'p/1.jpg,"two',
        'lines"',
        "p/2.jpg",
        "",
        "p/2.jpg,a,b",
        "p/2.jpg,  ",
        ",text",
        "p/\0.jpg,text",
        "p/3.jpg,last",
    ]
    (folder / "t.csv").write_text("\r\n".join(lines), encoding="utf-8")
    source = open_pairs(folder / "t.csv")
    assert [pair.texts for pair in source] == [("two\r\nlines",), ("last",)]
    assert [pair.name for pair in source] == ["t.csv:2:p/1.jpg", "t.csv:10:p/3.jpg"]
    found = {problem.where: problem.kind for problem in source.problems}
    rows = {"t.csv:4": "bad row", "t.csv:6": "bad row", "t.csv:7": "no text", "t.csv:8": "no picture"}
    assert found == {**rows, "t.csv:9": "bad path"}
    assert source.problems[0].reason == "line 4: 1 fields where the header has 2"
    assert "must be in quotation marks" in source.problems[1].reason


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("filepath,titel\n1.jpg,x\n", r"no column 'title'\. Did you mean 'titel'\? Columns: 'filepath', 'titel'"),
        ("image;caption\n1.jpg;x\n", r"'filepath'\. Pass image_key='image'\? .*'title'\. Pass text_key='caption'\?"),
        ("a|b|c\n1|2|3\n", "Columns: 'a', 'b', 'c'. image_key, text_key and separator say which are meant"),
        ("filepath,title,title\n1.jpg,x,y\n", "the column 'title' is there twice"),
        ("", "the table is empty: its first line must name the columns"),
        ("\n\n \n", "the table is empty"),
    ],
)
def test_a_header_that_does_not_fit_is_refused_with_near_names(tmp_path, header, message):
    (tmp_path / "t.csv").write_text(header, encoding="utf-8")
    with pytest.raises(SourceError, match=message):
        open_pairs(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("encoding", "guess"), [("cp949", "cp949"), ("euc-kr", "cp949"), ("utf-16", "utf-16"), ("latin-1", "latin-1")]
)
def test_another_encoding_is_refused_with_the_way_out(folder, encoding, guess):
    text = "café crème" if encoding == "latin-1" else "나무 탁자 위의 가방"
    rows = [HEADER, ["p/1.jpg", "plain"], ["p/2.jpg", text]]
    path = write_table(folder / "t.csv", rows, encoding=encoding)
    with pytest.raises(SourceError, match=f"not UTF-8 at byte [0-9]+ .*pass encoding='{guess}', or save") as caught:
        open_pairs(path)
    assert ("line 1:" if encoding == "utf-16" else "line 3:") in str(caught.value)
    assert open_pairs(path, encoding=guess).read(1).texts == (text,)
    wrong = open_pairs(path, encoding="utf-16") if encoding == "utf-16" else None
    assert wrong is None or len(wrong) == 2


def test_utf_8_is_not_read_as_something_else(folder):
    path = write_table(folder / "t.csv", [HEADER, ["p/1.jpg", "나무"]])
    with pytest.raises(SourceError, match="not ASCII at byte"):
        open_pairs(path, encoding="ascii")


def test_line_ends_of_old_macs(folder):
    (folder / "t.csv").write_bytes(b'filepath\ttitle\rp/1.jpg\tone\rp/2.jpg\t"two\rlines"\r')
    assert [pair.texts for pair in open_pairs(folder / "t.csv")] == [("one",), ("two\nlines",)]


def test_missing_pictures_are_told_when_read_and_at_once_where_all_are(folder):
    source = open_pairs(write_table(folder / "t.csv", [HEADER, ["p/1.jpg", "a"], ["p/9.jpg", "b"]]))
    assert source.problems == ()
    error = list(source)[1]
    assert (error.pair, error.kind) == ("t.csv:3:p/9.jpg", "missing file")
    (folder / "sub").mkdir()
    source = open_pairs(write_table(folder / "sub/t.csv", [HEADER, *([f"p/{n}.jpg", "a"] for n in range(300))]))
    (problem,) = source.problems
    assert problem.kind == "missing files"
    assert "none of 100 pictures looked for is there" in problem.reason
    assert "relative to the table's folder" in problem.reason


def test_a_name_that_no_file_can_have_is_a_missing_file(folder):
    source = open_pairs(write_table(folder / "t.csv", [HEADER, ["x" * 5000, "a"], ["p/1.jpg", "b"]]))
    assert source.read(1).texts == ("b",)
    with pytest.raises(PairError, match="there is no such file"):
        source.read(0)


@pytest.mark.parametrize("lines", [10, 300, 5000])
def test_a_quotation_mark_that_is_never_closed_is_told(folder, lines):
    rows = "".join(f"p/2.jpg\ttext {number} {'x' * 40}\n" for number in range(lines))
    (folder / "t.tsv").write_text(f'filepath\ttitle\np/1.jpg\tgood\np/1.jpg\t"open\n{rows}', encoding="utf-8")
    source = open_pairs(folder / "t.tsv")
    assert source.read(0).texts == ("good",)
    assert kinds(source)["open quote"] >= min(lines, 1000)
    assert "line 3 to" in source.problems[0].reason
    assert "quotation mark" in source.problems[0].reason
    assert all(len(pair.texts[0]) < 100 for pair in source)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), min_size=1, max_size=6),
    separator=st.sampled_from("\t,;"),
    encoding=st.sampled_from(["utf-8", "utf-16"]),
)
def test_rows_are_those_of_the_csv_module(tmp_path_factory, rows, separator, encoding):
    """Every row that can be used comes back, wherever it begins."""
    path = tmp_path_factory.getbasetemp() / "any.csv"
    write_table(path, [HEADER, *rows], separator=separator, encoding=encoding)
    text = path.read_bytes().decode(encoding)
    expected = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))[1:]
    usable = [
        [cell.strip() for cell in row]
        for row in expected
        if len(row) == 2 and all(cell.strip() for cell in row) and "\0" not in row[0].strip()
    ]
    if not usable:
        with pytest.raises(SourceError):
            open_pairs(path, separator=separator, encoding=encoding)
        return
    (shard,) = pickle.loads(pickle.dumps(open_pairs(path, separator=separator, encoding=encoding))).shards
    found = [[*shard.row(index).values()] for index in range(len(shard))]
    assert [[re.sub("\r\n|\r", "\n", cell) for cell in row] for row in found] == [
        [re.sub("\r\n|\r", "\n", cell) for cell in row] for row in usable
    ]


def test_a_table_that_changes_or_goes_is_an_error(folder):
    path = write_table(folder / "t.csv", [HEADER, ["p/1.jpg", "a"]])
    source = open_pairs(path)
    path.write_bytes(path.read_bytes() + b"p/2.jpg\tb\n")
    with pytest.raises(PairError, match=r"t.csv was changed since it was opened: open it again"):
        source.read(0)


def test_rows_take_12_bytes_each_in_memory(folder):
    (folder / "t.csv").write_text("filepath,title\n" + "p/1.jpg,a text of some length\n" * 20_000, encoding="utf-8")
    source = open_pairs(folder / "t.csv")
    assert len(source) == 20_000
    assert len(pickle.dumps(source)) < 20_000 * 12 + 3000
