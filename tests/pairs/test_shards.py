"""WebDataset shards: which files belong together, and what is wrong with the others."""

import gzip
import json
import pickle
import re
import tarfile
import time
import zipfile

import pytest

from anmok.pairs import Pair, PairError, SourceError, open_pairs
from anmok.pairs.shards import index_shard

from .making import JPEG, kinds, pair_files, write_tar


def record(**fields):
    return json.dumps(fields, ensure_ascii=False).encode()


def test_texts_and_records_of_one_key_are_one_pair(tmp_path):
    members = [
        ("a/k1.webp", b"1"),
        ("a/k1.json", record(captions_en=["one"], captions_ko=["하나"], labels=["x"], source="s", license="MIT")),
        ("a/k2.txt", b" two\n"),
        ("a/k2.JPG", b"2"),
        ("b/k2.png", b"3"),
        ("b/k2.txt", b"three"),
        ("b/k2.json", record(caption="3", url="http://x")),
        ("k.with.dots.jpg", b"no"),
        ("._k1.jpg", b"no"),
        ("README.md", b"no"),
    ]
    source = open_pairs(write_tar(tmp_path / "s-00.tar", members))
    first, second, third = source
    captions = {"en": ("one",), "ko": ("하나",)}
    assert first == Pair("s-00.tar:a/k1.webp", b"1", ("one", "하나"), ("x",), "s", captions, {"license": "MIT"})
    assert second == Pair("s-00.tar:a/k2.JPG", b"2", ("two",), (), "s-00")
    assert third == Pair("s-00.tar:b/k2.png", b"3", ("three", "3"), (), "s-00", {}, {"url": "http://x"})
    assert kinds(source) == {}


def test_keys_are_those_of_webdataset(tmp_path):
    """A key ends at the first dot: `v1.2.jpg` is not the picture of `v1.2.txt` but file "2.jpg" of the key "v1"."""
    members = [("v1.2.jpg", b"1"), ("v1.2.txt", b"t"), ("d.d/k.jpg", b"2"), ("d.d/k.txt", b"two")]
    source = open_pairs(write_tar(tmp_path / "a.tar", members))
    assert [pair.name for pair in source] == ["a.tar:d.d/k.jpg"]


def test_what_has_no_partner_is_counted_and_the_rest_is_used(tmp_path):
    members = [
        *pair_files(2),
        ("alone.jpg", JPEG),
        ("text.txt", b"text"),
        ("k000.jpg", JPEG),
        ("k000.txt", b"again"),
        ("k001.png", JPEG),
    ]
    source = open_pairs(write_tar(tmp_path / "a.tar", members))
    assert [pair.texts for pair in source] == [("text 0",), ("text 1",)]
    assert kinds(source) == {"no text": 1, "no picture": 1, "duplicate key": 2}
    assert {problem.where for problem in source.problems} == {
        "a.tar:alone", "a.tar:text", "a.tar:k000.jpg", "a.tar:k001.png"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("cut", "used", "reason"),
    [
        (6 * 1024 + 100, 3, "in the middle of a header"),
        (6 * 1024 + 512 + 20, 3, "in the middle of 'k003.jpg'.*that of 'k003' is lost"),
        (7 * 1024 + 512 + 3, 3, "in the middle of 'k003.txt'.*that of 'k003' is lost"),
        (6 * 1024, 3, "without the mark of an archive's end"),
    ],
)
def test_a_cut_shard_is_used_up_to_the_cut(tmp_path, cut, used, reason):
    path = write_tar(tmp_path / "a.tar", pair_files(5))
    path.write_bytes(path.read_bytes()[:cut])
    source = open_pairs(path)
    assert [pair.texts[0] for pair in source] == [f"text {number}" for number in range(used)]
    (problem,) = source.problems
    assert (problem.where, problem.kind) == ("a.tar", "cut")
    assert re.search(reason, problem.reason)


def test_a_pair_whose_third_file_is_cut_is_given_up(tmp_path):
    path = write_tar(tmp_path / "a.tar", [*pair_files(1), *pair_files(1, start=1), ("k001.json", bytes(5000))])
    path.write_bytes(path.read_bytes()[: 4 * 1024 + 2000])
    source = open_pairs(path)
    assert len(source) == 1
    assert kinds(source) == {"cut": 1}


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.tar", b"", r"is empty \(0 bytes\)"),
        ("a.tar", b"not a tar at all" * 100, "not a tar archive"),
        ("a.tar", bytes(10240), "none of its 0 files"),
        ("a.tar.gz", gzip.compress(bytes(10240)), r"packed with gzip.*unpack it first \(gunzip a.tar.gz\)"),
        ("a.tar", gzip.compress(bytes(10240)), "packed with gzip"),
        ("a.tgz", gzip.compress(bytes(10240)), "gunzip"),
    ],
)
def test_what_is_no_shard_says_what_it_is(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=message):
        open_pairs(tmp_path / name)
    write_tar(tmp_path / "good.tar", pair_files(2))  # beside a good one it is a problem
    source = open_pairs([tmp_path / name, tmp_path / "good.tar"])
    assert len(source) == 2
    assert [problem.where for problem in source.problems] == [name]


def test_a_zip_named_tar_says_so(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.tar", "w") as archive:
        archive.writestr("k.jpg", b"1")
    with pytest.raises(SourceError, match=r"packed with zip.*unzip"):
        open_pairs(tmp_path / "a.tar")


def test_a_shard_without_pairs_names_an_example(tmp_path):
    write_tar(tmp_path / "a.tar", [("sound.wav", b"x"), ("sound.cls", b"1")])
    with pytest.raises(SourceError, match=r"none of its 2 files, such as 'sound.wav', is a picture with a \.txt or"):
        open_pairs(tmp_path / "a.tar")


@pytest.mark.parametrize(
    ("files", "kind", "reason"),
    [
        ([("k.txt", "나무 탁자 위의 가방".encode("cp949"))], "encoding", "not UTF-8 at byte 0 .*encoding='cp949'"),
        ([("k.json", b"{")], "not JSON", "cannot be read"),
        ([("k.json", b"[]")], "not JSON", "expected an object in its .json, found list"),
        ([("k.json", b"[" * 100_000)], "not JSON", "cannot be read"),
        ([("k.json", b'{"url": "x"}')], "no text", "its .json has url"),
        ([("k.txt", b" \n")], "no text", "neither"),
    ],
)
def test_bad_pairs_are_errors_when_they_are_read(tmp_path, files, kind, reason):
    source = open_pairs(write_tar(tmp_path / "a.tar", [("k.jpg", JPEG), *files, *pair_files(1)]))
    bad, good = list(source)
    assert isinstance(bad, PairError)
    assert (bad.pair, bad.kind) == ("a.tar:k.jpg", kind)
    with pytest.raises(PairError, match=reason):
        source.read(0)
    assert good.texts == ("text 0",)


def test_texts_in_another_encoding(tmp_path):
    path = write_tar(tmp_path / "a.tar", [("k.jpg", JPEG), ("k.txt", "가방".encode("cp949"))])
    assert open_pairs(path, encoding="cp949").read(0).texts == ("가방",)


def test_names_that_lead_out_are_only_names(tmp_path):
    link = tarfile.TarInfo("link.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    members = [("../../etc/passwd.jpg", b"1"), ("../../etc/passwd.txt", b"t"), (link, b""), ("link.txt", b"t")]
    source = open_pairs(write_tar(tmp_path / "a.tar", members))
    (pair,) = source
    assert (pair.name, pair.picture) == ("a.tar:../../etc/passwd.jpg", b"1")
    assert kinds(source) == {"no picture": 1}


def test_a_huge_picture_is_refused_before_it_is_read(tmp_path, options, problems, monkeypatch):
    monkeypatch.setattr("anmok.pairs.shards.MOST_BYTES", 1000)
    path = write_tar(tmp_path / "a.tar", [("big.jpg", bytes(1001)), ("big.txt", b"t"), *pair_files(1)])
    shard = index_shard("a.tar", path, options, problems)
    assert len(shard) == 1
    assert [problem.kind for problem in problems.found()] == ["too large", "no picture"]


def test_a_shard_that_changes_or_goes_is_an_error(tmp_path):
    path = write_tar(tmp_path / "a.tar", pair_files(2))
    source = pickle.loads(pickle.dumps(open_pairs(path)))
    assert source.read(1).texts == ("text 1",)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(PairError, match="was changed since it was opened: open it again"):
        source.read(0)
    path.unlink()
    with pytest.raises(PairError, match="there is no such file"):
        source.read(0)


def test_labels_without_texts_fill_the_templates(tmp_path):
    path = write_tar(tmp_path / "a.tar", [("k.jpg", JPEG), ("k.json", record(labels=["red_bag", "bag"]))])
    pair = open_pairs(path, templates="none").read(0)
    assert (pair.texts, pair.labels) == (("red bag",), ("red_bag", "bag"))


def test_ten_thousand_members_are_indexed_in_well_under_a_second(tmp_path, options, problems):
    header = bytearray(tarfile.TarInfo("k00000.jpg").tobuf())
    blocks = []
    for number in range(5000):
        for suffix in ("jpg", "txt"):
            header[:10] = f"k{number:05d}.{suffix}".encode()
            header[148:156] = b" " * 8
            header[148:156] = f"{sum(header):06o}\0 ".encode()
            blocks.append(bytes(header))
    path = tmp_path / "a.tar"
    path.write_bytes(b"".join(blocks) + bytes(1024))
    times = []
    for _ in range(3):
        start = time.process_time()
        shard = index_shard("a.tar", path, options, problems)
        times.append(time.process_time() - start)
    assert len(shard) == 5000
    assert min(times) < 1.0
