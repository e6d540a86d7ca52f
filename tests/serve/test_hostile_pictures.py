"""Pictures made to do harm: each fails or succeeds by itself, and the service goes on.

TORTURE_ROUNDS sets how many mutated files there are (a few unless told).
"""

import base64
import io
import json
import os
import pickle
import struct
import warnings
import zlib

import httpx2 as httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from .serving import base64_of, picture

ROUNDS = int(os.environ.get("TORTURE_ROUNDS", "6"))
KINDS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "BMP", "ICO")
FILES = [picture(seed, kind) for seed, kind in enumerate(KINDS)]
JSON = {"Content-Type": "application/json"}
GOOD = picture(100)


@pytest.fixture(scope="module")
def served(serve):
    return serve(pictures=32, pixels=1_000_000, decode_s=5.0, request_bytes=8 << 20, picture_bytes=2 << 20)


@pytest.fixture(scope="module")
def api(served):
    with httpx.Client(base_url=served.address, timeout=60) as client:
        assert client.post("/v1/collections", json={"name": "c"}).status_code == 201
        yield client


@st.composite
def mutated(draw):
    """A picture file with some of its bits turned, its end cut off, or its parts put together with another's."""
    content = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(0, 8))):
        place = draw(st.integers(0, min(len(content), 200) - 1) | st.integers(0, len(content) - 1))
        content[place] ^= draw(st.integers(1, 255))
    how = draw(st.sampled_from(["as it is", "cut", "spliced", "doubled", "grown", "size"]))
    place = draw(st.integers(0, len(content)))
    if how == "cut":
        del content[place:]
    elif how == "spliced":
        content = content[:place] + draw(st.sampled_from(FILES))[draw(st.integers(0, 300)) :]
    elif how == "doubled":
        content = content * 2
    elif how == "grown":
        content[place:place] = draw(st.binary(max_size=64)) * draw(st.integers(1, 50))
    elif how == "size":  # what may be a length or a size becomes a huge one
        content[place : place + 4] = draw(
            st.sampled_from([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x00"])
        )
    return bytes(content)


def each_by_itself(answer, count):
    """The results of a batch whose last picture is good."""
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert len(results) == count and results[-1].get("error") is None
    for one in results:
        if one.get("error") is not None:
            assert one["error"]["code"] in ("picture", "too_large") and 0 < len(one["error"]["message"]) < 300
            assert "/tmp" not in one["error"]["message"] and ".py" not in one["error"]["message"]
    return results


@settings(max_examples=ROUNDS, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(files=st.lists(mutated(), min_size=12, max_size=24))
def test_broken_files_fail_alone(api, files):
    sent = [base64_of(file) for file in [*files, GOOD]]
    each_by_itself(api.post("/v1/embed", json={"pictures": sent, "encoding": "base64"}), len(sent))
    body = {"pictures": sent, "labels": ["a", "b"]}
    each_by_itself(api.post("/v1/classify", json=body), len(sent))
    named = [{"id": f"{i}", "picture": one} for i, one in enumerate(sent)]
    results = each_by_itself(api.put("/v1/collections/c/pictures", json={"pictures": named}), len(sent))
    kept = api.get("/v1/collections/c").json()["pictures"]
    assert kept == sum(one.get("error") is None for one in results)
    for one in results:
        shown = api.get("/v1/collections/c/thumbnail", params={"id": one["id"]})
        assert shown.status_code in (200, 404) and (shown.status_code == 404 or one.get("error") is None)
    ids = [one["id"] for one in results]
    assert api.post("/v1/collections/c/pictures/delete", json={"ids": ids}).json()["deleted"] == kept
    parts = [("pictures", (f"{i}.png", file)) for i, file in enumerate([*files, GOOD])]
    each_by_itself(api.post("/v1/embed", files=parts), len(sent))


def png(width, height, data=b""):
    """The file of a PNG that says it is of this size."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + data + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")


def text_chunk(size):
    """A compressed text that unfolds to so many bytes."""
    content = b"k\0\0" + zlib.compress(bytes(size), 9)
    return struct.pack(">I", len(content)) + b"zTXt" + content + struct.pack(">I", zlib.crc32(b"zTXt" + content))


def frames(count):
    file = io.BytesIO()
    pictures = [Image.new("P", (500, 500), i % 7) for i in range(count)]
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:])
    return file.getvalue()


def bmp(width, height):
    return (
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(46)
    )


BOMBS = {
    "nothing": b"",
    "one byte": b"\xff",
    "huge png": png(60_000, 60_000),
    "wide png": png(2**31 - 1, 1),
    "no png": png(0, 0),
    "unfolding text": png(8, 8, text_chunk(300 << 20)),
    "huge bmp": bmp(2**31 - 1, 2**31 - 1),
    "upside down bmp": bmp(100, -(2**31)),
    "many frames": frames(400),
    "page and picture": GOOD + b"<script>alert(1)</script>",
    "script first": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>" + GOOD,
    "archive": b"PK\x03\x04" + GOOD,
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(/etc/passwd) (r) file\n",
    "svg": b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
    "ppm": b"P6 100000 100000 255\n" + bytes(1000),
    "xbm": b"#define im_width 60000\n#define im_height 60000\nstatic char im_bits[] = {\n",
    "tiff to itself": b"II*\0\x08\0\0\0\0\0\x08\0\0\0" + bytes(50),
    "pickle": pickle.dumps(os.getcwd),
    "numpy": b"\x93NUMPY\x01\0v\0{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
}


def test_bombs_are_put_out(api, served):
    before = memory(api)
    sent = [base64_of(file) for file in [*BOMBS.values(), GOOD]]
    for _ in range(3):
        results = each_by_itself(api.post("/v1/embed", json={"pictures": sent}), len(sent))
    good = {"page and picture", "many frames", "unfolding text"}  # the first frame; what stands behind is not read
    for name, one in zip(BOMBS, results, strict=False):
        assert one.get("error") is not None or name in good, name
    assert memory(api) - before < 100
    assert served.service.decoders.lost <= 3 * len(BOMBS)


def test_what_is_shown_of_a_file_that_is_two_things_is_never_a_page(api):
    named = [{"id": name, "picture": base64_of(file)} for name, file in BOMBS.items()]
    api.put("/v1/collections/c/pictures", json={"pictures": named})
    for one in api.get("/v1/collections/c/pictures").json()["pictures"]:
        answer = api.get("/v1/collections/c/file", params={"id": one["id"]})
        kind = answer.headers["content-type"]
        assert kind == "application/octet-stream" or kind.startswith("image/")
        assert "svg" not in kind and answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    api.post("/v1/collections/c/pictures/delete", json={"ids": list(BOMBS)})


def memory(api):
    return api.get("/v1/status").json()["memory_mb"]


# --- bodies


def test_too_many_parts_too_many_files_and_too_long_fields_are_refused(api):
    many = [("pictures", (f"{i}.png", b"x")) for i in range(33)]
    assert api.post("/v1/embed", files=many).status_code in (400, 413)
    fields = b"".join(b'--b\r\nContent-Disposition: form-data; name="texts"\r\n\r\na\r\n' for _ in range(10_000))
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    assert api.post("/v1/embed", content=fields + b"--b--\r\n", headers=form).status_code == 400
    long = b'--b\r\nContent-Disposition: form-data; name="texts"\r\n\r\n' + b"a" * (3 << 20) + b"\r\n--b--\r\n"
    assert api.post("/v1/embed", content=long, headers=form).status_code in (400, 413)
    names = b'--b\r\nContent-Disposition: form-data; name="' + b"n" * 100_000 + b'"\r\n\r\na\r\n--b--\r\n'
    assert api.post("/v1/embed", content=names, headers=form).status_code in (400, 422)
    body = {"pictures": [base64_of(b"x")] * 33}
    assert api.post("/v1/embed", json=body).status_code == 413
    large = api.post("/v1/embed", json={"pictures": [base64_of(bytes((2 << 20) + 1)), base64_of(GOOD)]}).json()[
        "results"
    ]
    assert large[0]["error"]["code"] == "too_large" and large[1]["embedding"]


@pytest.mark.parametrize("boundary", ["b; charset=undefined", "b; charset=hex", "", "b" * 200, '"b', "--"])
def test_forms_that_are_none_are_refused(api, boundary):
    body = b'--b\r\nContent-Disposition: form-data; name="texts"\r\n\r\n\xff\xfe\r\n--b--\r\n'
    kind = f"multipart/form-data; boundary={boundary}"
    assert api.post("/v1/embed", content=body, headers={"Content-Type": kind}).status_code in (200, 400, 422)


NAMES = [b"../../../x.png", b"C:\\x\\y.png", b"a\x00b", b"..", b"\xff.png", b"", b"a/b.png", b"x" * 5000]
PARTS = [b'; name="pictures"; filename="%s"\r\n\r\n%s\r\n--b--\r\n' % (name, GOOD) for name in NAMES]
PARTS += [b"\r\n\r\nx\r\n--b--\r\n", b"", b'; name="pictures"; filename="a']


@pytest.mark.parametrize("part", PARTS, ids=range(len(PARTS)))
def test_names_of_uploaded_files_lead_nowhere(api, served, part):
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    body = b"--b\r\nContent-Disposition: form-data" + part
    answer = api.put("/v1/collections/c/pictures", content=body, headers=form)
    assert answer.status_code in (200, 400, 422), answer.text
    inside = served.settings.home / "uploads" / "c"
    for one in answer.json().get("results", []):
        assert one["error"] is not None or "/" not in one["id"]
    assert all(file.is_relative_to(inside) for file in served.settings.home.rglob("*.png"))


BODIES = [
    b"[" * 200_000,
    b'{"texts": ' * 3000,
    b'{"texts": ["\xff\xfe"]}',
    b"\xff\xfe" + '{"texts": ["a"]}'.encode("utf-16-le"),
    b'{"texts": ["a"], "texts": [1]}',
    b'{"texts": ["' + b"a" * 5000 + b'"]}',
    b'{"pictures": ["' + b"A" * 3_000_000 + b'"]}',
    b'{"pictures": ["data:image/png;base64,' + b"=" * 100_000 + b'"]}',
    b'{"pictures": ["data:' + b"," * 100_000 + b'"]}',
    b'{"pictures": ["upload:0", "upload:-1", "upload:\xd9\xa3", "upload:' + b"9" * 5000 + b'"]}',
    b'{"pictures": ["file:///etc/passwd", "/etc/passwd", "ftp://x/y", "http://169.254.169.254/"]}',
    b'{"pictures": [{"collection": "../c", "id": "a"}, {"collection": "c", "id": "../../keys.json"}]}',
    b'{"texts": ["a"], "encoding": "' + b"x" * 100_000 + b'"}',
    b"9" * 5000,
    b"NaN",
    b"",
    b"null",
    b'{"texts": [null]}',
    b"\xef\xbb\xbf{}",
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_bodies_made_to_break_the_reader_are_answered(api, body):
    for path in ("/v1/embed", "/v1/classify", "/v1/search", "/v1/labels", "/v1/embeddings", "/knn-service"):
        answer = api.post(path, content=body, headers=JSON)
        assert answer.status_code in (200, 400, 404, 413, 422), (path, answer.text)
        assert "passwd" not in answer.text or "root:" not in answer.text
        assert len(answer.content) < 20_000


@pytest.mark.parametrize("weight", ["NaN", "Infinity", "-Infinity", "1e999", "1e7", '"x"', "true"])
def test_weights_that_are_no_numbers_are_refused(api, weight):
    body = f'{{"collection": "c", "terms": [{{"text": "a", "weight": {weight}}}, {{"text": "b"}}]}}'
    answer = api.post("/v1/search", content=body, headers=JSON)
    assert answer.status_code in ((200, 422) if weight == "true" else (422,))
    assert json.loads(answer.content)


def test_the_service_stands_after_all_of_it(api, served):
    assert api.get("/readyz").status_code == 200
    vector = api.post("/v1/embed", json={"pictures": [base64_of(GOOD)], "encoding": "base64"}).json()["results"][0]
    assert len(base64.b64decode(vector["embedding"])) == 4 * 24
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert Image.open(io.BytesIO(GOOD)).size == (24, 24)
