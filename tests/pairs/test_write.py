"""Shards that are written come back as they were."""

import os
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.pairs import Pair, PairError, SourceError, open_pairs, write_shards

from .making import JPEG, PNG

texts = st.text(min_size=1, max_size=12).filter(str.strip)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
pairs = st.builds(
    Pair,
    name=st.sampled_from(["a", "a.png", "b:c.webp"]),
    picture=st.binary(max_size=700),
    texts=st.lists(texts, min_size=1, max_size=4, unique=True).map(tuple),
    labels=st.lists(texts, max_size=2, unique=True).map(tuple),
    source=st.text(max_size=6),
    captions=st.dictionaries(st.sampled_from(["en", "ko", "de"]), st.lists(texts, max_size=2).map(tuple), max_size=2),
    facts=st.dictionaries(st.text(max_size=6), json_values, max_size=3),
)


def without_name(pair):
    return (pair.picture, pair.texts, pair.labels, pair.source, pair.captions, pair.facts)


@settings(max_examples=30, deadline=None)
@given(st.lists(pairs, min_size=1, max_size=4), st.sampled_from([1, 4000, 1 << 20]))
def test_pairs_come_back_as_they_were(tmp_path_factory, given_pairs, shard_bytes):
    folder = tmp_path_factory.mktemp("written")
    shards = write_shards(given_pairs, folder / "1", shard_bytes=shard_bytes)
    source = open_pairs(shards)
    assert [without_name(pair) for pair in source] == [without_name(pair) for pair in given_pairs]
    again = write_shards(source, folder / "2", shard_bytes=shard_bytes)  # names are lost, so suffixes may differ once
    last = write_shards(open_pairs(again), folder / "3", shard_bytes=shard_bytes)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in last]


def test_equal_pairs_give_equal_bytes(tmp_path):
    one = Pair("a", JPEG, ("t",), facts={"a": 1, "b": 2}, captions={"en": ("t",), "ko": ("티",)})
    two = Pair("a", JPEG, ("t",), facts={"b": 2, "a": 1}, captions={"ko": ("티",), "en": ("t",)})
    (first,), (second,) = write_shards([one], tmp_path / "1"), write_shards([two], tmp_path / "2")
    assert first.read_bytes() == second.read_bytes()


def test_shards_hold_what_webdataset_readers_look_for(tmp_path):
    picture = tmp_path / "p.PNG"
    picture.write_bytes(PNG)
    written = [Pair("x", picture, ("one", "two"), source="s"), Pair("y", JPEG, ("three",)), Pair("z", b"?", ("4",))]
    shards = write_shards(written, tmp_path / "out", prefix="train", shard_bytes=6200)
    assert [path.name for path in shards] == ["train-00000.tar", "train-00001.tar"]
    with tarfile.open(shards[0]) as archive:
        members = archive.getmembers()
        assert [member.name for member in members] == [
            "00000000.png", "00000000.txt", "00000000.json", "00000001.jpg", "00000001.txt", "00000001.json"
        ]  # fmt: skip
        assert {(member.mtime, member.uid, member.gid, member.uname) for member in members} == {(0, 0, 0, "")}
        assert archive.extractfile(members[0]).read() == PNG
        assert archive.extractfile(members[1]).read() == b"one"
        assert b'"texts": ["one", "two"]' in archive.extractfile(members[2]).read()
    assert [len(shard) for shard in open_pairs(tmp_path / "out").shards] == [2, 1]
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("data", "suffix"),
    [
        (JPEG, ".jpg"),
        (PNG, ".png"),
        (b"RIFF\0\0\0\0WEBPVP8 ", ".webp"),
        (b"GIF89a", ".gif"),
        (b"\0\0\0 ftypavif", ".avif"),
        (b"\0\0\0 ftypheic", ".heic"),
        (b"who knows", ".jpg"),
    ],
)
def test_pictures_in_memory_are_named_by_what_they_start_as(tmp_path, data, suffix):
    (path,) = write_shards([Pair("main-000.tar:k", data, ("t",))], tmp_path)
    with tarfile.open(path) as archive:
        assert archive.getnames()[0] == f"00000000{suffix}"


def test_bad_pairs_are_raised_or_handed_over(tmp_path):
    bad = [
        PairError("e", "no text", "there is none"),
        Pair("gone", tmp_path / "gone.jpg", ("t",)),
        Pair("bytes", JPEG, ("t",), facts={"blob": b"x"}),
        Pair("nan", JPEG, ("t",), facts={"x": float("nan")}),
        Pair("none", JPEG, ()),
    ]
    good = Pair("good", JPEG, ("t",))
    errors = []
    (path,) = write_shards([*bad, good], tmp_path / "out", on_error=errors.append)
    assert [(error.pair, error.kind) for error in errors] == [
        ("e", "no text"), ("gone", "missing file"), ("bytes", "not JSON"), ("nan", "not JSON"), ("none", "no text")
    ]  # fmt: skip
    assert without_name(open_pairs(path).read(0)) == without_name(good)
    for pair in bad:
        with pytest.raises(PairError):
            write_shards([good, pair], tmp_path / "raised")
        assert list((tmp_path / "raised").iterdir()) == []  # nothing half written


def test_shards_are_never_mixed_with_others(tmp_path):
    write_shards([Pair("a", JPEG, ("t",))], tmp_path)
    with pytest.raises(SourceError, match=r"there are shards pairs-\*.tar already.*another folder or prefix"):
        write_shards([Pair("a", JPEG, ("t",))], tmp_path)
    assert write_shards([Pair("a", JPEG, ("t",))], tmp_path, prefix="more")[0].name == "more-00000.tar"
    with pytest.raises(SourceError, match="there is no pair to write"):
        write_shards([], tmp_path / "none")


def test_a_shard_is_synced_before_it_gets_its_name(tmp_path, monkeypatch):
    events = []
    sync, replace = os.fsync, type(tmp_path).replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (events.append("sync"), sync(descriptor)))
    monkeypatch.setattr(type(tmp_path), "replace", lambda path, to: (events.append("rename"), replace(path, to))[1])
    write_shards([Pair("a", JPEG, ("t",))], tmp_path)
    assert events[:2] == ["sync", "rename"]


def test_half_letters_of_texts_become_question_marks(tmp_path):
    """Beside the JSON stands a text file, which must say the same; UTF-8 cannot hold half a letter."""
    pair = Pair("a", JPEG, ("a \ud83d b",), captions={"en": ("a \ud83d b",)}, facts={"x": "\udc00"})
    (path,) = write_shards([pair], tmp_path)
    again = open_pairs(path).read(0)
    assert again.texts == again.captions["en"] == ("a ? b",)
    assert again.facts == pair.facts
