"""Pictures from strangers' addresses: nothing but the open internet is ever connected to, and every answer is bounded.

Servers and sockets are real. Names and the public internet are those of `wire`.
"""

import asyncio
import itertools
import socket
import ssl
import struct
import subprocess
import time
from ipaddress import IPv4Network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anmok.errors import PictureError
from anmok.serve import fetch as fetch_module
from anmok.serve.fetch import Fetcher

from .wire import PUBLIC, PUBLIC_V6, Wire, ok, redirect, serving

PICTURE = bytes(range(256)) * 40
NOT_PUBLIC = "its host is unknown or not public"

# Every one of these means this machine, or a place that only it can reach.
INSIDE = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.255.255.254",
    "127.1",
    "127.0.1",
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0X7F000001",
    "0x7f.0x0.0x0.0x1",
    "0177.0.0.1",
    "0177.0.0.01",
    "0x7f.1",
    "0177.0x0.1",
    "00000177.0.0.1",
    "0",
    "0.0.0.0",
    "0x0",
    "１２７.0.0.1",
    "127。0。0。1",
    "127．0．0．1",
    "①②⑦.⓪.⓪.①",
    "１２７｡１",
    "%31%32%37.0.0.1",
    "127%2e0.0.1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::FFFF:7F00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::127.0.0.1]",
    "[2002:7f00:1::]",
    "[2002:7f00:1::1]",
    "[2001:0:7f00:1::1]",
    "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    "[::1%25lo]",
    "[fe80::1%25lo]",
    "[fe80::1]",
    "[fec0::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "168.63.129.16",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "inside.test",
    "inside-v6.test",
    "mapped.test",
    "nat64.test",
    "six-to-four.test",
    "half.test",
    "half-v6.test",
    "unspecified.test",
]
NAMES = {
    "localhost": ["127.0.0.1"],
    "inside.test": ["127.0.0.1"],
    "inside-v6.test": ["::1"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "nat64.test": ["64:ff9b::7f00:1"],
    "six-to-four.test": ["2002:7f00:1::"],
    "half.test": [PUBLIC, "127.0.0.1"],
    "half-v6.test": [PUBLIC, PUBLIC_V6, "::1"],
    "unspecified.test": ["0.0.0.0"],
    "public.test": [PUBLIC],
    "other.test": [PUBLIC],
}


@pytest.fixture(scope="module")
def public_server():
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def inside_server():
    with serving() as server:
        server.answers["/"] = ok(b"a secret")
        yield server


@pytest.fixture
def public(public_server):
    public_server.answers.clear()
    public_server.requests.clear()
    public_server.connections = 0
    return public_server


@pytest.fixture
def inside(inside_server):
    inside_server.connections = 0
    return inside_server


@pytest.fixture
def wire(monkeypatch, public):
    wire = Wire(monkeypatch)
    wire.names = dict(NAMES)
    wire.places = {(PUBLIC, 80): public.port}
    return wire


def fetch(url, max_bytes=100_000, timeout_s=5.0, **options):
    return asyncio.run(Fetcher(max_bytes, timeout_s, **options).fetch(url))


def refusal(url, **options):
    with pytest.raises(PictureError) as caught:
        fetch(url, **options)
    return caught.value.reason


ANY_PORT = {"ports": range(1, 65536)}


@pytest.mark.parametrize("host", INSIDE)
def test_nothing_inside_is_connected_to(host, wire, inside):
    refusal(f"http://{host}:{inside.port}/", **ANY_PORT)
    refusal(f"https://{host}:{inside.port}/", **ANY_PORT)
    refusal(f"http://{host}/")
    assert (wire.connected, inside.connections) == ([], 0)


@pytest.mark.parametrize("host", INSIDE)
def test_no_redirect_leads_inside(host, wire, public, inside):
    public.answers["/"] = redirect(f"http://{host}:{inside.port}/")
    refusal("http://public.test/", **ANY_PORT)
    assert (wire.connected, public.connections, inside.connections) == ([PUBLIC], 1, 0)


@pytest.mark.parametrize(
    "form",
    [
        "http://public.test@{inside}/",
        "http://public.test:80@{inside}/",
        "http://{inside}#@public.test/",
        "http://{inside}?@public.test/",
        "http://{inside}\\@public.test/",
        "http://public.test\\@{inside}/",
        "http://public.test#@{inside}/",
        "http://public.test;@{inside}/",
        "http:\\\\{inside}/",
        "http:/{inside}/",
        "http:{inside}/",
        "http:///{inside}/",
        "//{inside}/",
        "\thttp://{inside}/",
        "ht\ntp://{inside}/",
        "http://127.0.0\t.1/",
        "ftp://{inside}/",
        "file://{inside}/etc/passwd",
        "file:///etc/passwd",
        "gopher://{inside}/_GET%20/",
        "ws://{inside}/",
        "dict://{inside}/",
        "jar:http://{inside}/!/",
        "url:http://{inside}/",
        "data:image/png;base64,AAAA",
    ],
)
def test_no_form_of_address_leads_inside(form, wire, public, inside):
    public.answers["/"] = ok(PICTURE)
    url = form.format(inside=f"127.0.0.1:{inside.port}")
    for address in (url, f"http://public.test/to?{url}"):
        public.answers[f"/to?{url}"] = redirect(url)
        try:
            fetch(address, **ANY_PORT)
        except PictureError:
            continue
        assert url == f"http://public.test#@127.0.0.1:{inside.port}/"  # which means public.test to everyone
    assert inside.connections == 0
    assert set(wire.connected) <= {PUBLIC}


def test_a_number_that_is_public_is_fetched_in_every_spelling(wire, public):
    public.answers["/"] = ok(PICTURE)
    for host in (PUBLIC, "1572395042", "0x5db8d822", "93.12113954", "0135.0270.0330.042", "９３.184.216.34"):
        assert fetch(f"http://{host}/") == PICTURE
    assert set(wire.connected) == {PUBLIC}


def test_a_name_that_changes_its_mind_changes_nothing(wire, public, inside):
    """It is looked up once, and what was checked is connected to."""
    wire.places[PUBLIC, inside.port] = public.port
    answers = itertools.chain([[PUBLIC]], itertools.repeat(["127.0.0.1"]))
    wire.names["rebinding.test"] = lambda: next(answers)
    public.answers["/"] = ok(PICTURE)
    assert fetch(f"http://rebinding.test:{inside.port}/", **ANY_PORT) == PICTURE
    assert (wire.asked, wire.connected, inside.connections) == (["rebinding.test"], [PUBLIC], 0)


def test_a_name_that_changes_its_mind_between_redirects_is_refused(wire, public, inside):
    answers = itertools.chain([[PUBLIC]], itertools.repeat(["127.0.0.1"]))
    wire.names["rebinding.test"] = lambda: next(answers)
    wire.places[PUBLIC, inside.port] = public.port
    public.answers["/"] = redirect("/again")
    reason = refusal(f"http://rebinding.test:{inside.port}/", **ANY_PORT)
    assert reason.startswith(f"after a redirect, {NOT_PUBLIC}")
    assert (wire.connected, inside.connections) == ([PUBLIC], 0)


def test_a_refusal_tells_nothing_of_what_is_inside(wire, inside):
    """Known and unknown hosts, open and closed ports, and whatever would be answered: all one."""
    with serving() as closed:
        pass
    hosts = ("127.0.0.1", "inside.test", "half.test", "unknown.test", "[::1]", "10.0.0.1")
    urls = [f"{scheme}://{host}:{port}/" for scheme in ("http", "https") for host in hosts
            for port in (inside.port, closed.port)]  # fmt: skip
    reasons = {refusal(url, **ANY_PORT) for url in urls}
    assert len(reasons) == 1
    assert wire.connected == []


def test_closed_networks_are_not_connected_to(wire, public):
    closed = (IPv4Network(f"{PUBLIC}/32"),)
    assert refusal("http://public.test/", closed=closed).startswith(NOT_PUBLIC)
    assert wire.connected == []


def test_the_environment_has_no_say(wire, public, inside, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{inside.port}")
        monkeypatch.setenv(name.upper(), f"http://127.0.0.1:{inside.port}")
    public.answers["/"] = ok(PICTURE)
    assert fetch("http://public.test/") == PICTURE
    assert inside.connections == 0


def test_ports_are_those_of_the_web_unless_said_otherwise(wire, public):
    public.answers["/"] = redirect("http://public.test:22/")
    for url in ("http://public.test:22/", "http://public.test:0/", "http://public.test:6379/"):
        assert "is not allowed" in refusal(url)
    assert "port 99999 is not allowed" in refusal("http://public.test:99999/", **ANY_PORT)
    assert refusal("http://public.test/") == "after a redirect, port 22 is not allowed"
    assert wire.connected == [PUBLIC]


def test_what_is_asked(wire, public):
    """Nothing of the caller's, nothing that lasts, and no other encoding than the bytes as they are."""
    public.answers["/a?b=c"] = redirect("/d", 307).replace(b"\r\n\r\n", b"\r\nSet-Cookie: e=f\r\n\r\n")
    public.answers["/d"] = ok(PICTURE)
    assert fetch("http://public.test/a?b=c#g") == PICTURE
    headers = "Host: public.test\r\nUser-Agent: anmok\r\nAccept: image/*\r\nAccept-Encoding: identity\r\n"
    lines = [f"GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n" for path in ("/a?b=c", "/d")]
    assert public.requests == lines


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(status, wire, public):
    public.answers["/a"] = redirect("//other.test/b/c", status)
    public.answers["/b/c"] = redirect("../d", status)
    public.answers["/d"] = ok(PICTURE)
    assert fetch("http://public.test/a") == PICTURE
    assert [request.split("\r\n")[1] for request in public.requests] == ["Host: public.test"] + ["Host: other.test"] * 2


def test_redirects_end(wire, public):
    public.answers["/"] = redirect("/")
    assert refusal("http://public.test/") == "it is redirected more than 3 times"
    assert public.connections == 4
    assert refusal("http://public.test/", redirects=0) == "it is redirected more than 0 times"


@pytest.mark.parametrize("location", ["http://[::1", "http://a b/", "http://é\udcff/", "javascript:x", "http://", "%"])
def test_redirects_to_nowhere(location, wire, public):
    answer = redirect("LOCATION").replace(b"LOCATION", location.encode("utf-8", "surrogateescape"))
    public.answers["/"] = answer
    assert refusal("http://public.test/")
    assert wire.connected == [PUBLIC] * public.connections


@pytest.mark.parametrize(
    "answer",
    [
        ok(PICTURE),
        b"HTTP/1.0 200 OK\r\n\r\n" + PICTURE,
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok(PICTURE),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2800\r\n" + PICTURE + b"\r\n0\r\n\r\n",
        ok(PICTURE, b"Content-Encoding: Identity"),
        ok(PICTURE) + b"more than was announced is left unread",
    ],
)
def test_picture(answer, wire, public):
    public.answers["/"] = answer
    assert fetch("http://public.test/") == PICTURE


def test_long_picture(wire, public):
    public.answers["/"] = ok(bytes(1_000_000))
    assert fetch("http://public.test/", max_bytes=1_000_000) == bytes(1_000_000)
    assert refusal("http://public.test/", max_bytes=999_999) == "it is longer than the limit of 999,999 bytes"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PROPER = "the server breaks off, or does not answer in proper HTTP"
TOO_LONG = "it is longer than the limit of 100,000 bytes"
COMPRESSED = "it is sent compressed, which was not asked for"
MANY_BYTES = "the server sends many bytes and little picture"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", PROPER),
        (b"SSH-2.0-OpenSSH_9.6\r\n", PROPER),
        (b"HTTP/1.1 200 OK\r\nContent-Le", PROPER),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", PROPER),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + PICTURE, PROPER),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n" + PICTURE, PROPER),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", PROPER),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", PROPER),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", TOO_LONG),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n", TOO_LONG),
        (b"HTTP/1.1 200 OK\r\n\r\n" + bytes(100_001), TOO_LONG),
        (CHUNKED + b"186a1\r\n" + bytes(100_001) + b"\r\n0\r\n\r\n", TOO_LONG),
        (CHUNKED + b"ffffffffffffffff\r\n" + bytes(200_000), TOO_LONG),
        (CHUNKED + b"-1\r\n", PROPER),
        (CHUNKED + b"2800\r\n" + PICTURE, PROPER),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", PROPER),
        (ok(PICTURE, b"Content-Encoding: gzip"), COMPRESSED),
        (ok(PICTURE, b"content-encoding: BR"), COMPRESSED),
        (ok(PICTURE, b"Content-Encoding: identity, deflate"), COMPRESSED),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "the server answers 204"),
        (b"HTTP/1.1 206 Partial Content\r\nContent-Length: 0\r\n\r\n", "the server answers 206"),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "the server answers 302"),
        (b"HTTP/1.1 404 \x1b[31mA secret\r\nContent-Length: 8\r\n\r\na secret", "the server answers 404"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", PROPER),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000 + b"\r\n", PROPER),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000, MANY_BYTES),
        (CHUNKED + b"1\r\nx\r\n" * 90_000, MANY_BYTES),
        (CHUNKED + b"1;" + b"x" * 10_000 + b"\r\nx\r\n" * 90, PROPER),
        (CHUNKED + b"0\r\n" + b"X: y\r\n" * 50_000 + b"\r\n", PROPER),
    ],
    ids=itertools.count(),
)
def test_answer_that_is_refused(answer, reason, wire, public):
    public.answers["/"] = answer
    assert refusal("http://public.test/") == reason


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.sampled_from([
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 302 Found\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"Location: /\r\n",
    b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: upgrade\r\n", b"\r\n", b"\n",
    b"3\r\nabc\r\n", b"0\r\n", b"abc", b" x", b": ", b"\x00", b"\xff", b";", b"HTTP/1.1 101 X\r\n", b"1" * 30,
]), max_size=12).map(b"".join))  # fmt: skip
def test_any_answer_is_bytes_or_a_picture_error(wire, public, answer):
    public.answers["/"] = answer
    try:
        assert isinstance(fetch("http://public.test/"), bytes)
    except PictureError as error:
        assert error.reason.isprintable()


def endless(start, part, pause_s=0.0):
    """Sends the start, and then the part again and again."""

    def answer(channel, closing):
        channel.sendall(start)
        while not closing.wait(pause_s):
            channel.sendall(part)

    return answer


HEAD = b"HTTP/1.1 200 OK\r\n"


def silent(channel, _closing):
    channel.recv(1)


def test_endless_answer_is_given_up(wire, public):
    public.answers["/"] = endless(HEAD + b"\r\n", bytes(50_000))
    assert refusal("http://public.test/") == TOO_LONG


@pytest.mark.parametrize(
    "answer",
    [
        endless(HEAD + b"\r\n", b"x", 0.02),
        endless(HEAD + b"X: ", b"x", 0.02),
        endless(HEAD, b"X: y\r\n", 0.02),
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
        silent,
    ],
    ids=["body", "header", "headers", "hints", "nothing"],
)
def test_slow_answer_is_given_up(answer, wire, public):
    public.answers["/"] = answer
    start = time.monotonic()
    assert refusal("http://public.test/", timeout_s=0.3) == "was not there within 0.3 seconds"
    assert time.monotonic() - start < 1


def test_time_is_of_all_redirects_together(wire, public):
    def slow_redirect(channel, closing):
        closing.wait(0.15)
        channel.sendall(redirect("/"))

    public.answers["/"] = slow_redirect
    assert refusal("http://public.test/", timeout_s=0.4, redirects=50) == "was not there within 0.4 seconds"
    assert public.connections <= 3


def test_slow_name_is_given_up(wire):
    wire.names["slow.test"] = lambda: time.sleep(0.5) or [PUBLIC]
    start = time.monotonic()

    async def slow():
        with pytest.raises(PictureError, match="was not there within"):
            await Fetcher(1, 0.1).fetch("http://slow.test/")
        assert time.monotonic() - start < 0.4

    asyncio.run(slow())


def test_connection_that_is_reset(wire, public):
    def reset(channel, _closing):
        channel.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        channel.close()

    public.answers["/"] = reset
    assert refusal("http://public.test/") == PROPER


def test_server_that_is_not_there(wire):
    with serving() as closed:
        pass
    wire.places[PUBLIC, 80] = closed.port
    assert refusal("http://public.test/") == "the server cannot be reached"


def test_next_address_is_tried_where_one_keeps_silent(wire, public):
    wire.names["two.test"] = [PUBLIC_V6, PUBLIC]
    wire.places[PUBLIC_V6, 80] = "silence"
    public.answers["/"] = ok(PICTURE)
    assert fetch("http://two.test/", timeout_s=0.9) == PICTURE
    assert wire.connected == [PUBLIC_V6, PUBLIC]


def test_a_name_with_very_many_addresses(wire):
    wire.names["many.test"] = [f"93.184.216.{i}" for i in range(100)]
    for address in wire.names["many.test"]:
        wire.places[address, 80] = "silence"
    refusal("http://many.test/", timeout_s=0.2)
    assert len(wire.connected) == 3


def test_message_names_the_address_without_its_query(wire):
    with pytest.raises(PictureError, match=r"^http://inside\.test/a\.png: its host is unknown or not public") as caught:
        fetch("http://inside.test/a.png?signature=secret")
    assert caught.value.picture == "http://inside.test/a.png"
    assert caught.value.__cause__ is None


def test_connections_are_closed(wire, public):
    gone = []

    def until_gone(channel, _closing):
        channel.sendall(ok(PICTURE, b"Connection: keep-alive"))
        gone.append(channel.recv(1))

    public.answers["/"] = until_gone

    async def both():
        for _ in range(2):
            await Fetcher(100_000, 5).fetch("http://public.test/")
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(both())
    deadline = time.monotonic() + 2
    while len(gone) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert gone == [b"", b""]


def test_many_at_once(wire, public):
    public.answers["/"] = ok(PICTURE)

    async def many():
        fetcher = Fetcher(100_000, 5)
        return await asyncio.gather(*(fetcher.fetch("http://public.test/") for _ in range(20)))

    assert asyncio.run(many()) == [PICTURE] * 20


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=public.test"
    names = f"subjectAltName=DNS:public.test,IP:{PUBLIC}"
    files = ["-keyout", folder / "key.pem", "-out", folder / "certificate.pem", "-addext", names]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return folder


@pytest.fixture
def secure(wire, certificate, monkeypatch):
    """A TLS server for public.test, whose certificate is trusted. It notes the names that it is greeted by."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
    trusting = ssl.create_default_context(cafile=certificate / "certificate.pem")
    monkeypatch.setattr(fetch_module, "_tls", lambda: trusting)
    with serving(context) as server:
        server.greeted = []
        context.sni_callback = lambda _socket, name, _context: server.greeted.append(name)
        wire.places[PUBLIC, 443] = server.port
        yield server


def test_picture_over_tls(secure, wire):
    secure.answers["/"] = ok(PICTURE)
    assert fetch("https://public.test/") == PICTURE
    assert fetch("https://PUBLIC.test./") == PICTURE
    assert fetch(f"https://{PUBLIC}/") == PICTURE
    assert secure.greeted == ["public.test", "public.test", None]
    assert set(wire.connected) == {PUBLIC}


def test_certificate_for_another_name(secure):
    assert refusal("https://other.test/") == "the server has no valid certificate for its name"
    assert secure.requests == []


def test_certificate_that_nobody_vouches_for(secure, monkeypatch):
    monkeypatch.setattr(fetch_module, "_tls", ssl.create_default_context)
    assert refusal("https://public.test/") == "the server has no valid certificate for its name"
    assert secure.requests == []


def test_certificate_is_of_the_name_that_a_redirect_gives(secure, public):
    public.answers["/"] = redirect("https://public.test/")
    secure.answers["/"] = redirect("https://other.test/")
    reason = refusal("http://public.test/")
    assert reason == "after a redirect, the server has no valid certificate for its name"
    assert len(secure.requests) == 1


def test_no_redirect_leads_out_of_tls(secure, public):
    secure.answers["/"] = redirect("http://public.test/")
    assert refusal("https://public.test/") == "after a redirect, it leads from https to http"
    assert public.connections == 0


def test_server_that_does_not_speak_tls(secure, wire, public):
    wire.places[PUBLIC, 443] = public.port
    public.answers["/"] = ok(PICTURE)
    assert refusal("https://public.test/", timeout_s=0.5) == "the server cannot be reached"


def test_server_that_is_silent_where_tls_is_spoken(secure, wire):
    wire.places[PUBLIC, 443] = secure.port
    secure.tls = None  # and waits for a request that is not encrypted
    start = time.monotonic()
    assert refusal("https://public.test/", timeout_s=0.4) == "the server cannot be reached"
    assert time.monotonic() - start < 1
