"""The door: bodies, times, clients that leave, names and origins, and what every answer carries."""

import asyncio
import json
import socket
import struct
import time
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest

from anmok.serve.settings import MEGABYTE

from .serving import base64_of, picture, raw, status_of, until

LIMIT = 100_000
SAFETY = ("x-content-type-options", "content-security-policy", "x-frame-options", "referrer-policy", "x-request-id")
SAFETY += ("cross-origin-resource-policy",)
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def small(serve):
    """A service of small bodies and short patience."""
    return serve(request_bytes=LIMIT, request_s=1.5)


@pytest.fixture(scope="module")
def closed(serve):
    """A service that wants keys."""
    return serve(keys=True, request_bytes=LIMIT)


def port(served):
    return urlsplit(served.address).port


def head(*lines, path="/v1/embed", method="POST", host="localhost"):
    shown = [
        f"{method} {path} HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/json",
        "Connection: close",
        *lines,
    ]
    return ("\r\n".join(shown) + "\r\n\r\n").encode()


def body_of(size):
    start = b'{"texts": ["a"], "model": "'
    return start + b"x" * (size - len(start) - 2) + b'"}'


# --- size


@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize("way", ["length", "chunks", "chunk", "many chunks"])
def test_a_body_is_refused_from_one_byte_too_many_on(small, extra, way):
    body = body_of(LIMIT + extra)
    size = {"chunks": 30_000, "many chunks": 997}.get(way, len(body))
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    if way == "length":
        answer = raw(port(small), head(f"Content-Length: {len(body)}"), *parts)
    else:
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
        answer = raw(port(small), head("Transfer-Encoding: chunked"), chunks + b"0\r\n\r\n")
    assert status_of(answer) == (413 if extra else 404)  # there is no such model


def test_what_is_announced_as_too_much_is_refused_before_it_comes(small):
    start = time.monotonic()
    assert status_of(raw(port(small), head(f"Content-Length: {LIMIT + 1}", "Expect: 100-continue"))) == 413
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: -1"],
        ["Content-Length: +5"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 9" + "9" * 20],
        ["Content-Length: " + "9" * 5000],
        ["Content-Length: ٥"],
        ["Content-Length: 0x10"],
        ["Transfer-Encoding: gzip"],
        ["Transfer-Encoding: chunked, chunked"],
    ],
)
def test_lengths_that_are_none_are_refused(small, monkeypatch, lines):
    monkeypatch.setattr("anmok.serve.body.LINGER_S", 0.2)
    answer = raw(port(small), head(*lines), b'{"texts": ["a"]}')
    assert status_of(answer) in (400, 413, 501)
    assert httpx.get(f"{small.address}/healthz").status_code == 200


def test_a_length_and_chunks_together_are_read_as_one_request_or_refused(small):
    smuggled = b"0\r\n\r\nGET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = raw(port(small), head(f"Content-Length: {len(smuggled)}", "Transfer-Encoding: chunked"), smuggled)
    assert answer.count(b"HTTP/1.1 ") == 1 and status_of(answer) in (400, 413, 422)


def test_a_body_that_stops_short_is_given_up_in_time(small):
    start = time.monotonic()
    answer = raw(port(small), head("Content-Length: 5000"), b'{"texts": [')
    assert status_of(answer) == 504 and 1 < time.monotonic() - start < 6


def test_a_stream_without_end_is_cut_off(small, monkeypatch):
    monkeypatch.setattr("anmok.serve.body.LINGER_S", 0.2)
    chunk = b"2710\r\n" + b" " * 10_000 + b"\r\n"
    until_s = time.monotonic() + 10
    with socket.create_connection(("127.0.0.1", port(small)), timeout=20) as channel:
        channel.sendall(head("Transfer-Encoding: chunked"))
        with pytest.raises(ConnectionError):
            while time.monotonic() < until_s:
                channel.sendall(chunk)
    assert time.monotonic() < until_s


def test_json_of_very_many_small_values_is_refused_before_it_is_read(serve):
    large = serve(request_bytes=8 * MEGABYTE)
    for body in (b'{"texts": [' + b"[]," * 1_100_000 + b"[]]}", b"[" * 1_100_000, b'{"":' * 1_100_000):
        answer = httpx.post(f"{large.address}/v1/embed", content=body, headers=JSON)
        assert answer.status_code == 413 and "values" in answer.json()["error"]["message"]
    before = memory(large)
    wrong = b'{"texts": [' + b"1," * 900_000 + b"1]}"  # an error for each would take half a gigabyte
    answer = httpx.post(f"{large.address}/v1/embed", content=wrong, headers=JSON, timeout=30)
    assert answer.status_code == 422 and len(answer.text) < 2000
    assert memory(large) - before < 150


def memory(served):
    return httpx.get(f"{served.address}/v1/status").json()["memory_mb"]


def test_nothing_is_read_of_a_body_whose_sender_has_no_key(closed, monkeypatch):
    read = []
    loads = json.loads

    def spied(text, *args, **how):
        read.append(len(text))
        return loads(text, *args, **how)

    monkeypatch.setattr(json, "loads", spied)
    files = {"pictures": ("a.png", picture())}
    for key in (None, "anmok_x_y", "키".encode()):
        given = {} if key is None else {"X-API-Key": key}
        for how in ({"json": {"texts": ["a" * 50_000]}}, {"files": files}, {"content": b"not JSON"}):
            answer = httpx.post(f"{closed.address}/v1/embed", headers=given, **how)
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert not [size for size in read if size > 10_000]
    assert status_of(raw(port(closed), head("Content-Length: 50000", "Expect: 100-continue"))) == 401


# --- time, and clients that leave


def test_a_client_that_leaves_takes_its_work_along(small, monkeypatch):
    ended = []

    async def wait(*_, **__):
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            ended.append(time.monotonic())
            raise

    monkeypatch.setattr(small.service.library.collections, "found", wait)
    monkeypatch.setattr(small.service.library.ad_hoc, "classifier", wait)
    body = json.dumps({"pictures": [base64_of(picture())], "labels": ["a"]}).encode()
    for sent in (
        head(method="GET", path="/v1/collections/x"),  # there is no body, and nobody reads it
        head(f"Content-Length: {len(body)}", path="/v1/classify") + body,
    ):
        ended.clear()
        with socket.create_connection(("127.0.0.1", port(small))) as channel:
            channel.sendall(sent)
            time.sleep(0.2)
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            left = time.monotonic()
        until(lambda: ended, 1.2)
        assert ended[0] - left < 0.8
    monkeypatch.undo()
    assert 'status="499"' in httpx.get(f"{small.address}/metrics").text


def test_an_error_of_time_inside_is_no_timeout_of_the_request(small, monkeypatch):
    def late(*_):
        raise TimeoutError("of something inside")

    monkeypatch.setattr(small.service.library.collections, "names", late)
    assert httpx.get(f"{small.address}/v1/collections").status_code == 500


# --- from where


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "[", "[::2]", "10.0.0.1", "testserver"],
)
def test_a_name_that_is_not_its_own_is_not_answered_to(small, host):
    assert status_of(raw(port(small), head(method="GET", path="/v1/models", host=host))) == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "[::1]:80"])
def test_its_own_names_are_answered_to(small, host):
    assert status_of(raw(port(small), head(method="GET", path="/v1/models", host=host))) == 200


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "", "http://[", "http://localhost.evil.example", "file://", "http://localhost:1"],
)
def test_pages_of_other_sites_can_send_nothing(small, origin):
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json",
        "multipart/form-data; boundary=x",
    ):
        sent = {"Origin": origin, "Content-Type": kind, "Host": "localhost"}
        answer = httpx.post(f"{small.address}/v1/collections", content='{"name": "planted"}', headers=sent)
        assert answer.status_code == 403, kind
    assert httpx.get(f"{small.address}/v1/collections").json()["collections"] == []


def test_without_an_origin_a_simple_form_still_changes_nothing(small):
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = httpx.post(
            f"{small.address}/v1/collections", content='{"name": "planted"}', headers={"Content-Type": kind}
        )
        assert answer.status_code == 422, kind
    assert httpx.get(f"{small.address}/v1/collections").json()["collections"] == []


def test_cors_is_closed_unless_a_site_is_named(small, serve):
    shop = "https://shop.example"
    asked = {"Origin": shop, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-api-key"}
    for method in ("GET", "OPTIONS"):
        answer = httpx.request(method, f"{small.address}/v1/models", headers=asked)
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]
    opened = serve(origins=(shop,), keys=True)
    preflight = httpx.options(f"{opened.address}/v1/models", headers=asked)
    assert preflight.status_code == 200 and preflight.headers["access-control-allow-origin"] == shop
    assert "PUT" in preflight.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in preflight.headers
    assert all(name in preflight.headers for name in SAFETY)
    refused = httpx.get(f"{opened.address}/v1/models", headers={"Origin": shop})
    assert refused.status_code == 401 and refused.headers["access-control-allow-origin"] == shop
    other = httpx.options(f"{opened.address}/v1/models", headers={**asked, "Origin": "https://evil.example"})
    assert other.status_code == 400 and "access-control-allow-origin" not in other.headers


def test_a_page_of_a_named_site_can_read_the_door_s_own_errors(serve, monkeypatch):
    shop = "https://shop.example"
    opened = serve(origins=(shop,), request_bytes=LIMIT, request_s=0.3)

    async def wait(*_):
        await asyncio.sleep(5)

    def broken(*_):
        raise RuntimeError

    monkeypatch.setattr(opened.service.library.collections, "names", broken)
    monkeypatch.setattr(opened.service.library.collections, "found", wait)

    def ask(method, path, origin, **how):
        headers = {"Origin": origin, **how.pop("headers", {})}
        return httpx.request(method, opened.address + path, headers=headers, **how)

    for status, how in {
        403: ("GET", "/v1/models", {"headers": {"Host": "evil.example"}}),
        413: ("POST", "/v1/embed", {"content": b" " * (LIMIT + 1)}),
        500: ("GET", "/v1/collections", {}),
        504: ("GET", "/v1/collections/x", {}),
    }.items():
        answer = ask(how[0], how[1], shop, **how[2])
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == shop and answer.headers["vary"] == "Origin"
    other = ask("GET", "/v1/collections", "https://evil.example")
    assert other.status_code == 403 and "access-control-allow-origin" not in other.headers


def test_paths_are_not_redirected_to_the_name_that_was_asked(closed):
    for method, path in (("GET", "/v1/labels/"), ("POST", "/v1/embed/"), ("GET", "/v1/models/")):
        answer = httpx.request(method, closed.address + path, headers={"Host": "evil.example"}, follow_redirects=False)
        assert answer.status_code in (401, 404) and "location" not in answer.headers


# --- what every answer carries


def test_every_answer_has_its_number_and_its_headers(small, monkeypatch):
    def broken(*_):
        raise RuntimeError(f"secret of {small.settings.home}")

    monkeypatch.setattr(small.service.library.collections, "names", broken)
    where = small.address
    answers = {
        200: httpx.get(f"{where}/v1/models"),
        404: httpx.get(f"{where}/nothing"),
        405: httpx.request("FOO", f"{where}/v1/models"),
        422: httpx.post(f"{where}/v1/embed", json={}),
        413: httpx.post(f"{where}/v1/embed", content=b" " * (LIMIT + 1)),
        403: httpx.get(f"{where}/v1/models", headers={"Host": "evil.example"}),
        500: httpx.get(f"{where}/v1/collections"),
        400: httpx.post(f"{where}/v1/embed", content=b"[" * 50_000, headers=JSON),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert all(name in answer.headers for name in SAFETY), status
        if status != 200:
            assert set(answer.json()["error"]) == {"code", "message", "type", "param"}
        assert "secret" not in answer.text and "Traceback" not in answer.text and ".py" not in answer.text
        assert str(small.settings.home) not in answer.text
    assert len({answer.headers["x-request-id"] for answer in answers.values()}) == len(answers)
    assert answers[500].headers["x-request-id"] in answers[500].json()["error"]["message"]


@pytest.mark.parametrize("given", ["a" * 65, "a b", "a/b", "<script>", "", "가"])
def test_a_number_that_could_do_harm_in_a_log_is_not_taken_over(small, given):
    answer = httpx.get(f"{small.address}/healthz", headers={"X-Request-ID": given.encode()})
    numbers = answer.headers.get_list("x-request-id")
    assert len(numbers) == 1 and numbers != [given]
    kept = httpx.get(f"{small.address}/healthz", headers={"X-Request-ID": "job-1.2_3"})
    assert kept.headers["x-request-id"] == "job-1.2_3"


def test_methods_that_strangers_make_up_are_counted_as_one(small):
    for number in range(20):
        raw(port(small), head(method=f"MADE{number}", path="/v1/models"))
    counted = httpx.get(f"{small.address}/metrics").text
    assert "MADE" not in counted and 'method="other"' in counted


def test_half_characters_come_back_as_an_error_that_can_be_sent(small):
    for body in (rb'{"texts": ["a"], "model": "\ud800"}', rb'{"\ud800": 1}', rb'{"texts": ["\ud800"]}'):
        answer = httpx.post(f"{small.address}/v1/embed", content=body, headers=JSON)
        assert answer.status_code in (404, 422) and answer.json()["error"]["message"]
