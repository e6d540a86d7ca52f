"""Evaluation data: shards, folders, tables, and what is wrong with them."""

import io
import json
import tarfile

import pytest
from PIL import Image

from anmok.evaluate import DataError, read_data
from anmok.pairs import open_pairs, write_shards


def facts(**extra):
    return {"source": "s", "labels": ["a"], "captions_en": ["an a"], "captions_ko": ["에이"], **extra}


def test_shards_are_read_in_order(tmp_path, write_shard):
    write_shard(tmp_path / "b-000.tar", [(b"3", facts(labels=["x", "wide"]))])
    write_shard(tmp_path / "a-000.tar", [(b"1", facts()), (b"2", {"captions_en": ["two", "zwei"]})])
    first, second, third = read_data(tmp_path)
    assert (first.picture, first.name, first.source) == (b"1", "a-000.tar:k000.webp", "s")
    assert (second.source, second.labels, second.caption("en"), second.caption("ko")) == (
        "a-000",
        (),
        ("two", "zwei"),
        (),
    )
    assert third.labels == ("x", "wide")
    assert [example.picture for example in read_data(tmp_path / "b-000.tar")] == [b"3"]


def test_shards_of_write_shards_say_the_same(tmp_path, write_shard):
    """Also a class and its kind of one name: both levels stay."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    write_shard(tmp_path / "s-000.tar", [(buffer.getvalue(), facts(labels=["Avocado", "Avocado"]))])
    write_shards(open_pairs(tmp_path / "s-000.tar"), tmp_path / "again")
    (first,), (again,) = read_data(tmp_path / "s-000.tar"), read_data(tmp_path / "again")
    assert again.labels == first.labels == ("Avocado", "Avocado")
    assert again.captions == first.captions == (("en", ("an a",)), ("ko", ("에이",)))
    assert again.source == first.source


def test_folder_of_classes(tmp_path):
    for name in ("red_bag/1.jpg", "red_bag/2.png", "cup/3.jpg", ".hidden/4.jpg", "empty/readme.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    examples = list(read_data(tmp_path))
    assert [(example.labels, example.picture.name) for example in examples] == [
        (("cup",), "3.jpg"),
        (("red bag",), "1.jpg"),
        (("red bag",), "2.png"),
    ]
    assert examples[1].caption("en") == ("red bag",)


@pytest.mark.parametrize(("delimiter", "suffix"), [(",", ".csv"), ("\t", ".tsv")])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_table_of_titles_and_labels(tmp_path, delimiter, suffix, encoding):
    path = tmp_path / f"pairs{suffix}"
    path.write_text(f"filepath{delimiter}title\r\np/1.jpg{delimiter}a red bag\r\n", encoding=encoding)
    (example,) = read_data(path)
    assert (example.picture, example.source, example.labels) == (tmp_path / "p/1.jpg", "pairs", ())
    assert example.caption("en") == ("a red bag",)
    path.write_text(
        f"filepath{delimiter}label{delimiter}label_ko\n1.jpg{delimiter}bag{delimiter}가방\n", encoding=encoding
    )
    (example,) = read_data(path)
    assert (example.labels, example.caption("ko")) == (("bag",), ("가방",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("filepath,titel\n1.jpg,x\n", r"'titel' is not a column. Did you mean 'title'"),
        ("filepath\n1.jpg\n", "expected the columns filepath,label or filepath,title, found filepath"),
        ("filepath,label,title\n1.jpg,x,y\n", "expected the columns"),
        ("filepath,title\n1.jpg,x\n2.jpg\n", "line 3: expected 2 fields: filepath, title"),
        ("filepath,title\n1.jpg,x,y\n", "line 2: expected 2 fields"),
        ("", "expected the columns"),
    ],
)
def test_bad_table_is_refused(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        list(read_data(path))


def test_bad_paths_are_refused(tmp_path):
    with pytest.raises(DataError, match="nowhere: there is no such file or folder"):
        list(read_data(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"expected \.tar shards, or a folder of pictures .* found 0 folders"):
        list(read_data(tmp_path))
    (tmp_path / "x.zip").write_bytes(b"")
    with pytest.raises(DataError, match=r"x.zip: expected \.tar shards, a \.csv or \.tsv"):
        list(read_data(tmp_path / "x.zip"))
    (tmp_path / "k.csv").write_bytes("filepath,label\n1.jpg,가방\n".encode("cp949"))
    with pytest.raises(DataError, match="not UTF-8"):
        list(read_data(tmp_path / "k.csv"))


def test_damaged_shard_is_refused(tmp_path, write_shard):
    path = write_shard(tmp_path / "a.tar", [(b"1" * 3000, facts()), (b"2" * 3000, facts())])
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(DataError, match=r"a.tar: the shard cannot be read|has a picture without"):
        list(read_data(path))
    path.write_bytes(b"not a tar at all" * 100)
    with pytest.raises(DataError, match=r"a.tar: the shard cannot be read"):
        list(read_data(path))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "not JSON"),
        (b"[]", "expected a JSON object, found list"),
        (json.dumps({"labels": "a"}).encode(), "'labels' must be a list of strings, found 'a'"),
        (json.dumps({"captions_en": [1]}).encode(), r"'captions_en' must be a list of strings, found \[1\]"),
        (json.dumps({"source": "s"}).encode(), "neither labels nor captions"),
        (None, "k has a picture without .json, or a .json without picture"),
    ],
)
def test_bad_member_is_refused_by_name(tmp_path, data, message):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as shard:
        for end, content in ((".webp", b"1"), (".json", data)):
            if content is not None:
                member = tarfile.TarInfo(f"k{end}")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))
    with pytest.raises(DataError, match=message):
        list(read_data(path))
