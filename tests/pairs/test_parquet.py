"""Parquet with pictures in it."""

import json
import pickle
import sys

import pyarrow
import pyarrow.parquet
import pytest

from anmok.errors import MissingExtra
from anmok.pairs import Pair, PairError, SourceError, open_pairs
from anmok.pairs.parquet import _row_group

from .making import PNG, write_files


def write(path, columns, *, group=2, metadata=None):
    table = pyarrow.table(columns)
    if metadata:
        table = table.replace_schema_metadata({"huggingface": json.dumps(metadata)})
    pyarrow.parquet.write_table(table, path, row_group_size=group)
    return path


def pictures(count):
    return [{"bytes": PNG + str(number).encode(), "path": f"{number}.png"} for number in range(count)]


def test_rows_are_pairs_in_any_order(tmp_path):
    columns = {"image": pictures(5), "text": [f"text {n}" for n in range(5)], "n": list(range(5)), "audio": [b"x"] * 5}
    source = pickle.loads(pickle.dumps(open_pairs(write(tmp_path / "a.parquet", columns))))
    assert len(source) == 5
    for number in (4, 0, 3, 1, 2, 2):
        facts = {"n": number, "file_name": f"{number}.png"}
        name, picture = f"a.parquet:{number}", PNG + str(number).encode()
        assert source.read(number) == Pair(name, picture, (f"text {number}",), source="a", facts=facts)


def test_a_row_group_is_read_once_in_order(tmp_path):
    columns = {"image": pictures(6), "text": ["t"] * 6}
    source = open_pairs(write(tmp_path / "a.parquet", columns))
    _row_group.cache_clear()
    list(source)
    assert _row_group.cache_info().misses == 3
    assert _row_group.cache_info().currsize == 1


def test_plain_bytes_lists_of_captions_and_named_columns(tmp_path):
    columns = {"jpg": [PNG, PNG], "words": [["a", "b"], ["c"]], "captions_ko": [["가"], []]}
    source = open_pairs(write(tmp_path / "a.parquet", columns), image_key="jpg", text_key="words")
    assert [pair.texts for pair in source] == [("a", "b", "가"), ("c",)]
    assert source.read(0).captions == {"ko": ("가",)}


def test_numbered_classes_have_the_names_of_the_schema(tmp_path):
    features = {"image": {"_type": "Image"}, "label": {"names": ["cat", "bull_dog"], "_type": "ClassLabel"}}
    columns = {"image": pictures(3), "label": [1, 0, 7]}
    path = write(tmp_path / "a.parquet", columns, metadata={"info": {"features": features}})
    one, two, three = open_pairs(path)
    assert (one.labels, one.texts[:2]) == (("bull_dog",), ("bull dog", "a photo of a bull dog."))
    assert two.labels == ("cat",)
    assert (three.kind, three.pair) == ("no text", "a.parquet:2")


def test_rows_that_cannot_be_used_are_errors(tmp_path):
    write_files(tmp_path, ["there.png"])
    image = [
        {"bytes": None, "path": "there.png"},
        {"bytes": None, "path": "gone.png"},
        {"bytes": None, "path": "../../etc/passwd"},
        {"bytes": b"", "path": None},
        None,
        {"bytes": PNG, "path": "a\0b.png"},
    ]
    source = open_pairs(write(tmp_path / "a.parquet", {"image": image, "text": ["t", "t", "t", "t", "t", None]}))
    good, *bad = source
    assert good.picture == tmp_path / "there.png"
    assert [error.kind for error in bad] == ["missing file", "outside", "no picture", "no picture", "no text"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"url": ["http://x"], "caption": ["a"]}, "no column of pictures.*Columns: url, caption.*not fetched"),
        ({"image": pictures(1), "url": ["x"]}, "no column of texts.*nor of labels. Columns: image, url"),
        ({"image": pictures(1), "label": [3]}, "no column of texts"),
        ({"image": pictures(0), "text": []}, "the file has no rows"),
    ],
)
def test_files_without_pictures_or_texts_say_what_they_have(tmp_path, columns, message):
    schema = None
    if not columns.get("text", [1]):
        schema = pyarrow.schema([("image", pyarrow.binary()), ("text", pyarrow.string())])
    pyarrow.parquet.write_table(pyarrow.table(columns, schema=schema), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=message):
        open_pairs(tmp_path / "a.parquet")


@pytest.mark.parametrize("data", [b"", b"PAR1", b"nonsense" * 100])
def test_damaged_files_are_refused(tmp_path, data):
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(SourceError, match="not a Parquet file that can be read"):
        open_pairs(tmp_path / "a.parquet")


def test_a_damaged_row_group_is_an_error_of_its_pairs(tmp_path):
    columns = {"image": [PNG * 50] * 4, "text": [f"text {n}" for n in range(4)]}
    path = write(tmp_path / "a.parquet", columns)
    source = open_pairs(path)
    data = bytearray(path.read_bytes())
    data[4:200] = b"\xff" * 196
    path.write_bytes(data)
    _row_group.cache_clear()
    assert {error.kind for error in source if isinstance(error, PairError)} == {"damaged"}
    path.unlink()
    with pytest.raises(PairError, match="cannot be read"):
        source.read(0)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", {"image": pictures(1), "text": ["t"]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pip install 'anmok\[parquet\]'"):
        open_pairs(path)
