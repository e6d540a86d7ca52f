"""Metadata files beside pictures."""

import pickle

import pyarrow
import pyarrow.parquet
import pytest

from anmok.pairs import Pair, PairError, SourceError, open_pairs

from .making import kinds, write_files, write_lines, write_table


@pytest.fixture
def folder(tmp_path):
    return write_files(tmp_path / "pets", ["sub/1.png", "2.png"])


def test_metadata_csv(folder):
    rows = [["file_name", "text", "n"], ["sub/1.png", "one,\ntwo", "1"], ["2.png", "three", "2"]]
    write_table(folder / "metadata.csv", rows, separator=",")
    source = open_pairs(folder)
    assert list(source) == [
        Pair("metadata.csv:2:sub/1.png", folder / "sub/1.png", ("one,\ntwo",), source="pets", facts={"n": "1"}),
        Pair("metadata.csv:4:2.png", folder / "2.png", ("three",), source="pets", facts={"n": "2"}),
    ]
    assert source.problems == ()


@pytest.mark.parametrize("column", ["text", "caption", "title", "words"])
def test_texts_may_have_other_names(folder, column):
    write_table(folder / "metadata.csv", [["file_name", column], ["2.png", "a"]], separator=",")
    text_key = "words" if column == "words" else "title"
    assert open_pairs(folder, text_key=text_key).read(0).texts == ("a",)


def test_metadata_jsonl(folder):
    records = [
        {"file_name": "sub/1.png", "caption": ["one", "둘"], "source": "s", "label": "cat", "n": 1},
        {"file_name": "2.png", "captions_en": ["e"], "captions_ko": ["가"]},
    ]
    write_lines(folder / "metadata.jsonl", records)
    source = pickle.loads(pickle.dumps(open_pairs(folder)))
    one = Pair("metadata.jsonl:1:sub/1.png", folder / "sub/1.png", ("one", "둘"), ("cat",), "s", facts={"n": 1})
    captions = {"en": ("e",), "ko": ("가",)}
    two = Pair("metadata.jsonl:2:2.png", folder / "2.png", ("e", "가"), source="pets", captions=captions)
    assert list(source) == [one, two]


def test_splits_have_their_own_metadata(folder):
    for split in ("train", "test"):
        write_files(folder / split, ["1.png"])
        write_table(folder / split / "metadata.csv", [["file_name", "text"], ["1.png", split]], separator=",")
    source = open_pairs(folder)
    assert [(pair.name, pair.texts[0], pair.source) for pair in source] == [
        ("test/metadata.csv:2:1.png", "test", "test"),
        ("train/metadata.csv:2:1.png", "train", "train"),
    ]
    assert [pair.texts for pair in open_pairs(folder / "train/metadata.csv")] == [("train",)]


def test_metadata_in_parquet(folder):
    table = pyarrow.table({"file_name": ["2.png", "gone.png", "../x.png"], "text": ["a", "b", "c"]})
    pyarrow.parquet.write_table(table, folder / "metadata.parquet")
    one, two, three = open_pairs(folder)
    assert (one.picture, one.texts) == (folder / "2.png", ("a",))
    assert (two.kind, three.kind) == ("missing file", "outside")


def test_bad_lines_are_told_and_the_rest_goes_on(folder):
    lines = [
        '{"file_name": "2.png", "text": "good"}',
        "{",
        "[1]",
        '{"text": "no picture"}',
        '{"file_name": 3, "text": "t"}',
        '{"file_name": "../../etc/passwd", "text": "t"}',
        '{"file_name": "2.png"}',
        "",
        '{"file_name": "gone.png", "text": "t"}',
    ]
    (folder / "metadata.jsonl").write_bytes("\n".join(lines).encode() + b"\n\xff\xfe\n")
    source = open_pairs(folder)
    assert [problem.where.rpartition(":")[2] for problem in source.problems] == ["2", "3", "4", "5", "6", "7", "10"]
    assert kinds(source) == {"not JSON": 3, "no picture": 2, "outside": 1, "no text": 1}
    good, gone = source
    assert good.texts == ("good",)
    assert (gone.pair, gone.kind) == ("metadata.jsonl:9:gone.png", "missing file")


@pytest.mark.parametrize("name", ["../2.png", "/etc/passwd", "sub/../../x.png"])
def test_a_table_of_metadata_does_not_lead_out(folder, name):
    write_table(folder / "metadata.csv", [["file_name", "text"], [name, "t"], ["2.png", "t"]], separator=",")
    source = open_pairs(folder)
    assert [pair.picture for pair in source] == [folder / "2.png"]
    assert kinds(source)["outside"] == 1


def test_pictures_that_no_row_names_are_counted(folder):
    write_files(folder, ["3.png", "4.png"])
    write_lines(folder / "metadata.jsonl", [{"file_name": "2.png", "text": "a"}])
    source = open_pairs(folder)
    assert kinds(source) == {"no text": 3}
    assert "holds 4 pictures, and the metadata has rows for 1 of them at most" in source.problems[0].reason


def test_a_row_that_cannot_be_used_is_not_counted_twice(folder):
    write_lines(folder / "metadata.jsonl", [{"file_name": "2.png", "text": "a"}, {"file_name": "sub/1.png"}])
    assert kinds(open_pairs(folder)) == {"no text": 1}


def test_columns_that_are_not_there_are_named(folder):
    write_table(folder / "metadata.csv", [["file_nam", "texts"], ["2.png", "a"]], separator=",")
    with pytest.raises(SourceError, match=r"no column 'filepath' or 'file_name'.*Columns: 'file_nam', 'texts'"):
        open_pairs(folder)
    (folder / "metadata.csv").unlink()
    write_lines(folder / "metadata.jsonl", [{"image": "2.png", "text": "a"}])
    with pytest.raises(SourceError, match="'file_name' is missing; the line has 'image', 'text'"):
        open_pairs(folder)
    assert len(open_pairs(folder, image_key="image")) == 1


def test_metadata_that_changes_is_an_error(folder):
    path = write_lines(folder / "metadata.jsonl", [{"file_name": "2.png", "text": "a"}])
    source = open_pairs(folder)
    path.write_bytes(b"")
    with pytest.raises(PairError, match="was changed since it was opened"):
        source.read(0)
