"""What is opened as what, in which order, under which names."""

import gzip
import multiprocessing
import os

import pytest

from anmok import pairs, progress
from anmok.pairs import KINDS, Pair, SourceError, open_pairs

from .making import RECORDS, kinds, pair_files, write_files, write_lines, write_table, write_tar, write_warc

PAGE = b"<!DOCTYPE html><img src=p.jpg alt=text>"


def make(folder):
    """One source of every kind."""
    write_tar(folder / "shards/a.tar", pair_files(2))
    write_table(folder / "table/t.csv", [["filepath", "title"], ["p.jpg", "text"]])
    write_lines(folder / "hf/metadata.jsonl", [{"file_name": "p.jpg", "text": "text"}])
    (folder / "pages/page.html").write_bytes(PAGE)
    write_warc(folder / "warc/a.warc.gz", RECORDS)


@pytest.fixture
def sources(tmp_path):
    write_files(tmp_path, ["shards/x", "table/p.jpg", "hf/p.jpg", "pages/p.jpg", "warc/x"])
    write_files(tmp_path / "classes", ["a/1.jpg", "b/1.jpg"])
    make(tmp_path)
    return tmp_path


PLACES = {
    "shards": ["shards", "shards/a.tar"],
    "table": ["table", "table/t.csv"],
    "folder": ["classes"],
    "huggingface": ["hf", "hf/metadata.jsonl"],
    "pages": ["pages", "pages/page.html"],
    "warc": ["warc", "warc/a.warc.gz"],
}


@pytest.mark.parametrize(("kind", "place"), [(kind, place) for kind, places in PLACES.items() for place in places])
def test_every_kind_is_recognised_and_can_be_said(sources, kind, place):
    found, said = open_pairs(sources / place), open_pairs(str(sources / place), kind=kind)
    assert len(found) >= 1
    assert (list(found), found.fingerprint) == (list(said), said.fingerprint)
    assert all(isinstance(pair, Pair) for pair in found)


def test_kinds_are_complete():
    assert set(PLACES) == set(KINDS)


@pytest.mark.parametrize("name", ["shards/a.tar", "pages/page.html", "warc/a.warc.gz"])
def test_a_name_that_says_nothing_is_judged_by_its_content(sources, name):
    path = (sources / name).rename((sources / name).parent / "data")
    assert len(open_pairs(path)) >= 1


def test_kinds_are_mixed_in_the_order_given(sources):
    source = open_pairs([sources / "table", f"{sources}/shards/*.tar", sources / "classes", sources / "hf"])
    assert [shard.name for shard in source.shards] == ["t.csv", "a.tar", "classes", "metadata.jsonl"]
    assert len(source) == 1 + 2 + 2 + 1


def test_shards_of_braces_folders_and_deeper_folders(tmp_path):
    write_files(tmp_path, ["deep/one/x", "deep/two/x"])
    for number in (0, 1, 3):
        write_tar(tmp_path / f"train-{number:03d}.tar", pair_files(1, start=number))
    write_tar(tmp_path / "deep/two/b.tar", pair_files(1))
    write_tar(tmp_path / "deep/one/a.tar", pair_files(1))
    source = open_pairs(f"{tmp_path}/train-{{000..003}}.tar")
    assert [pair.texts[0] for pair in source] == ["text 0", "text 1", "text 3"]
    assert kinds(source) == {"missing shard": 1}
    assert [shard.name for shard in open_pairs(tmp_path).shards] == ["train-000.tar", "train-001.tar", "train-003.tar"]
    assert [shard.name for shard in open_pairs(tmp_path / "deep").shards] == ["a.tar", "b.tar"]


def test_equal_names_are_told_apart_by_their_folders(tmp_path):
    write_files(tmp_path, ["x/a/0", "x/b/0", "y/a/0"])
    paths = [write_tar(tmp_path / place, pair_files(1)) for place in ("x/a/0.tar", "x/b/0.tar", "y/a/0.tar", "1.tar")]
    source = open_pairs([*paths, tmp_path / "1.tar"])
    assert [shard.name for shard in source.shards] == ["x/a/0.tar", "b/0.tar", "y/a/0.tar", "1.tar"]
    assert len({pair.name for pair in source}) == 4
    assert source.read(1).source == "0"
    assert kinds(source) == {"named twice": 1}


def test_the_fingerprint_is_of_the_data_not_of_its_place(tmp_path):
    write_files(tmp_path, ["here/x", "there/x"])
    one = write_tar(tmp_path / "here/a.tar", pair_files(3))
    (tmp_path / "there/a.tar").write_bytes(one.read_bytes())
    fingerprint = open_pairs(one).fingerprint
    assert len(fingerprint) == 32
    assert open_pairs(tmp_path / "there/a.tar").fingerprint == fingerprint
    write_tar(one, pair_files(4))
    assert open_pairs(one).fingerprint != fingerprint
    write_tar(one, pair_files(3, size=600))
    assert open_pairs(one).fingerprint != fingerprint


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("nowhere.tar", "there is no such file or folder"),
        ("shards/aa.tar", "no such file or folder. Did you mean 'a.tar'?"),
        ("shards/*.csv", "nothing has a name of this pattern"),
        ("shards/{0..3}.tar", "nothing has a name of this pattern"),
        ("a\0b.tar", "there is no such file or folder"),
        ("s3://bucket/{0..9}.tar", "is an address, and nothing is fetched unasked"),
        ("empty", "there is no source of pairs in it. Looked for a .tar"),
        ("x.jpg", "is no source of pairs. Expected a .tar"),
        ("x.json.gz", "is packed with gzip: unpack it first"),
    ],
)
def test_what_cannot_be_opened_says_why(sources, where, message):
    (sources / "empty").mkdir()
    write_files(sources, ["x.jpg"])
    (sources / "x.json.gz").write_bytes(gzip.compress(b"{}"))
    place = where if "://" in where else f"{sources}/{where}"
    with pytest.raises(SourceError, match=message.replace("?", r"\?")):
        open_pairs(place)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "tabel"}, "'tabel' is not a kind of source. Did you mean 'table'.*Known: auto, shards"),
        ({"separator": "tab"}, "separator='tab': expected one character"),
        ({"separator": '"'}, "expected one character"),
        ({"encoding": "utf8mb4"}, "encoding='utf8mb4' is not an encoding"),
        ({"encoding": "hex"}, "is not an encoding"),
        ({"kind": "warc"}, "there is nothing of kind 'warc' in this folder"),
    ],
)
def test_options_are_checked(sources, options, message):
    with pytest.raises(SourceError, match=message):
        open_pairs(sources / "shards", **options)
    with pytest.raises(SourceError, match="no source of pairs was given"):
        open_pairs([])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("name", ["pipe", "pipe.tar", "pipe.csv"])
def test_a_pipe_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(SourceError, match="is not a regular file but a pipe"):
        open_pairs(tmp_path / name)


def read_all(source):
    return [(pair.name, pair.texts) for pair in source]


def test_sources_are_read_in_spawned_processes(sources):
    source = open_pairs([sources / place for places in PLACES.values() for place in places[:1]])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(read_all, (source,)) == read_all(source)


def test_progress_is_told(sources):
    told = []
    with progress.listen(told.append):
        open_pairs([sources / "shards", sources / "table"])
    assert {report.name for report in told} == {"indexing shards", "reading t.csv"}
    assert all(report.done == report.total for report in told if report.finished and report.name == "indexing shards")


def test_public_names_are_there():
    assert all(hasattr(pairs, name) for name in pairs.__all__)
    assert {"KINDS", "Pair", "PairError", "PairSource", "Problem", "Shard", "SourceError"} < set(pairs.__all__)
