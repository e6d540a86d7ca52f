"""Web archives."""

import base64
import gzip
import io
import json
import pickle
import sys
import types
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.errors import MissingExtra
from anmok.pairs import Pair, PairError, SourceError, open_pairs
from anmok.pairs.archive import RecordError, frames, load_record

from .making import JPEG, PNG, RECORDS, SITE, kinds, warc_record, write_warc


@pytest.mark.parametrize("name", ["crawl.warc", "crawl.warc.gz"])
def test_pages_and_pictures_are_joined_by_address(tmp_path, name):
    source = open_pairs(write_warc(tmp_path / name, RECORDS))
    red, blue, moved = source
    assert red == Pair(
        f"{name}:{SITE}#0",
        JPEG,
        ("빨간 가방",),
        source="crawl",
        facts={"address": SITE + "red bag.jpg", "page": SITE, "page_title": "Shop", "texts_from": ["alt"]},
    )
    assert (blue.picture, blue.texts) == (PNG, ("a blue bag",))
    assert (moved.picture, moved.texts) == (JPEG, ("moved",))
    assert kinds(source) == {"picture not archived": 1}
    assert f"such as {SITE}gone.jpg" in source.problems[0].reason
    assert list(pickle.loads(pickle.dumps(source))) == [red, blue, moved]


def test_pictures_may_be_in_another_archive_and_before_their_page(tmp_path):
    write_warc(tmp_path / "1.warc.gz", RECORDS[2:])
    write_warc(tmp_path / "2.warc", RECORDS[:2])
    source = open_pairs(tmp_path)
    assert [pair.name for pair in source] == [f"2.warc:{SITE}#{number}" for number in (0, 1, 3)]
    assert source.read(0).picture == JPEG
    with pytest.raises(SourceError, match="are in no archive"):
        open_pairs(tmp_path / "2.warc")


def test_base_charset_of_http_revisits_and_embedded_pictures(tmp_path):
    data = "data:image/png;base64," + base64.b64encode(PNG * 4).decode()
    page = f"<base href='/pics/'><img src=1.jpg alt='가방'><img src='{data}' alt=here><img src=2.jpg alt=again>"
    records = [
        warc_record(SITE, page.encode("cp949"), content="text/html; charset=euc-kr"),
        warc_record("https://example.kr/pics/1.jpg", JPEG, content="image/jpeg"),
        warc_record(
            "https://example.kr/pics/2.jpg",
            b"",
            kind="revisit",
            warc=[("WARC-Refers-To-Target-URI", "https://example.kr/pics/1.jpg")],
        ),
    ]
    source = open_pairs(write_warc(tmp_path / "a.warc", records))
    assert [(pair.texts[0], pair.picture) for pair in source] == [("가방", JPEG), ("here", PNG * 4), ("again", JPEG)]


def chunked(data):
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("http", "pack"),
    [
        ([("Transfer-Encoding", "chunked")], chunked),
        ([("Content-Encoding", "gzip")], gzip.compress),
        ([("Content-Encoding", "deflate")], zlib.compress),
        ([("Content-Encoding", "deflate")], raw_deflate),
        ([("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked")], lambda data: chunked(gzip.compress(data))),
        ([("Content-Encoding", "gzip")], bytes),  # crawlers unpack and leave the header
        ([("Content-Encoding", "identity")], bytes),
    ],
)
@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz"])
def test_what_http_packs_is_unpacked(tmp_path, http, pack, name):
    records = [
        warc_record(SITE, pack(b"<img src=1.jpg alt=one>"), http=http),
        warc_record(SITE + "1.jpg", pack(JPEG), content="image/jpeg", http=http),
    ]
    (pair,) = open_pairs(write_warc(tmp_path / name, records))
    assert (pair.texts, pair.picture) == (("one",), JPEG)


def test_unknown_and_damaged_packing_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "brotli", None)
    records = [
        *RECORDS[:4],
        warc_record(SITE + "br", b"x", http=[("Content-Encoding", "br")]),
        warc_record(SITE + "zz", b"x", http=[("Content-Encoding", "zstd")]),
        warc_record(SITE + "gz", b"\x1f\x8b\x08broken!!", http=[("Content-Encoding", "gzip")]),
        warc_record(SITE + "2", b"<img src=2.jpg alt=two>"),
        warc_record(SITE + "2.jpg", b"\x1f\x8b\x08broken!!", content="image/jpeg", http=[("Content-Encoding", "gzip")]),
    ]
    source = open_pairs(write_warc(tmp_path / "a.warc", records))
    assert kinds(source) == {"encoding": 2, "damaged": 1, "picture not archived": 2}
    assert any("pip install 'brotli>=1.2'" in problem.reason for problem in source.problems)
    assert [pair.kind for pair in source if isinstance(pair, PairError)] == ["damaged"]


def test_brotli_is_unpacked_where_it_is_installed(monkeypatch):
    class Decompressor:
        def process(self, data, *, output_buffer_limit):
            if data == b"broken":
                raise RuntimeError("brotli: decoder failed")
            return (data * 1000)[:output_buffer_limit]

    monkeypatch.setitem(sys.modules, "brotli", types.SimpleNamespace(Decompressor=Decompressor))
    monkeypatch.setattr("anmok.pairs.archive.MOST_RECORD_BYTES", 2000)
    for body, kind in ((b"broken", "damaged"), (b"large", "too large")):
        with pytest.raises(RecordError) as caught:
            load_record(warc_record(SITE, body, http=[("Content-Encoding", "br")])).payload()
        assert caught.value.kind == kind
    assert load_record(warc_record(SITE, b"x", http=[("Content-Encoding", "br")])).payload() == b"x" * 1000
    monkeypatch.setattr(Decompressor, "process", lambda self, data: data)  # as before 1.2
    with pytest.raises(RecordError, match="it is packed with Brotli"):
        load_record(warc_record(SITE, b"x", http=[("Content-Encoding", "br")])).payload()


def test_bombs_are_not_unpacked(monkeypatch):
    monkeypatch.setattr("anmok.pairs.archive.MOST_RECORD_BYTES", 10_000)
    record = warc_record(SITE, gzip.compress(bytes(1 << 20)), http=[("Content-Encoding", "gzip")])
    with pytest.raises(RecordError, match="it unpacks to more than"):
        load_record(record).payload()
    assert load_record(gzip.compress(warc_record(SITE, bytes(1 << 20)))) is None


@settings(max_examples=25, deadline=None)
@given(share=st.floats(0.01, 0.999), packed=st.booleans())
def test_a_cut_archive_is_used_up_to_the_cut(tmp_path_factory, share, packed):
    folder = tmp_path_factory.mktemp("cut")
    path = write_warc(folder / ("a.warc.gz" if packed else "a.warc"), RECORDS[2:] + RECORDS[:2] + RECORDS[2:])
    whole = path.read_bytes()
    with io.BytesIO(whole) as file:
        every = list(frames("", file, len(whole)))
    cut = int(len(whole) * share)
    with io.BytesIO(whole[:cut]) as file:
        found = []
        try:
            for frame in frames("", file, cut):
                found.append(frame)
        except Exception as error:
            assert type(error).__name__ == "ArchiveStopped"
            assert error.kind == "cut"
    assert [frame for frame in found if sum(frame) <= cut - 4] == [frame for frame in every if sum(frame) <= cut - 4]
    path.write_bytes(whole[:cut])
    if cut > sum(every[5]):  # the page is whole
        assert len(open_pairs(path)) == 3


def test_a_cut_or_damaged_archive_says_where(tmp_path):
    path = write_warc(tmp_path / "a.warc.gz", RECORDS)
    data = path.read_bytes()
    path.write_bytes(data[:-30])
    source = open_pairs(path)
    assert len(source) == 3
    assert source.problems[0].kind == "cut"
    assert "the records before are used, whatever came after is lost" in source.problems[0].reason
    with io.BytesIO(data) as file:
        last, _ = list(frames("", file, len(data)))[-1]
    path.write_bytes(data[:last] + b"rubbish!" + data[last + 8 :])
    source = open_pairs(path)
    assert (len(source), source.problems[0].kind) == (3, "damaged")
    assert f"byte {last:,}" in source.problems[0].reason
    path.write_bytes(data[: last + 60] + bytes(9) + data[last + 69 :])
    assert len(open_pairs(path)) == 3


def test_one_gzip_stream_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "a.warc.gz").write_bytes(gzip.compress(b"".join(RECORDS)))
    with pytest.raises(SourceError, match=r"is one gzip stream.*warcio recompress OLD NEW.*gunzip"):
        open_pairs(tmp_path / "a.warc.gz")


HEAD = b"WARC/1.0\r\n"


@pytest.mark.parametrize("data", [b"", b"rubbish" * 100, HEAD, HEAD + b"Content-Length: 9\r\n\r\n", b"\x1f\x8b"])
def test_rubbish_is_refused(tmp_path, data):
    (tmp_path / "a.warc").write_bytes(data)
    with pytest.raises(SourceError, match="there is no pair that can be used"):
        open_pairs(tmp_path / "a.warc")


def test_records_with_odd_headers_are_told_and_the_rest_goes_on(tmp_path):
    odd = RECORDS[2].replace(b"HTTP/1.1 200 OK", b"HTTP/1.1 \xff\xfe \0  ")
    nothing = b"WARC/1.0\r\nContent-Length: 0\r\n\r\n\r\n\r\n"
    unknown = RECORDS[2].replace(b"WARC/1.0", b"WARC/9.9")
    source = open_pairs(write_warc(tmp_path / "a.warc", [odd, nothing, unknown, *RECORDS]))
    assert len(source) == 3
    assert kinds(source)["damaged"] >= 1


def test_an_archive_that_changes_is_an_error(tmp_path):
    path = write_warc(tmp_path / "a.warc", RECORDS)
    source = open_pairs(path)
    path.write_bytes(path.read_bytes().replace(b"WARC/1.0", b"nonsense"))
    with pytest.raises(PairError, match="the record cannot be read"):
        source.read(0)
    path.write_bytes(b"short")
    with pytest.raises(PairError, match="was changed since it was opened"):
        source.read(0)


def test_nothing_is_said_on_the_way(tmp_path, capfd):
    """warcio writes what it stumbles over to stderr; what happened belongs into the problems."""
    path = write_warc(tmp_path / "a.warc.gz", RECORDS)
    data = path.read_bytes()
    path.write_bytes(data[:-40] + bytes(20) + data[-20:])
    open_pairs(path)
    assert capfd.readouterr() == ("", "")


def test_records_keep_what_is_needed_and_no_more(tmp_path):
    (shard,) = open_pairs(write_warc(tmp_path / "a.warc", RECORDS)).shards
    record = json.loads(shard.records[0])
    assert set(record) == {"page", "number", "place", "texts", "facts", "embedded"}


def test_without_warcio_the_extra_is_named(tmp_path, monkeypatch):
    path = write_warc(tmp_path / "a.warc", RECORDS)
    monkeypatch.setitem(sys.modules, "warcio.recordloader", None)
    with pytest.raises(MissingExtra, match=r"reading web archives needs warcio.*pip install 'anmok\[web\]'"):
        open_pairs(path)
