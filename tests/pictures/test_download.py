"""Addresses: refused by default, bounded where allowed. The server is this machine's own."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from anmok.errors import PictureError
from anmok.pictures import download as download_module
from anmok.pictures import read

from .making import encode, quarters

PICTURE = encode(quarters(), "PNG")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        answers = {"/a.png": PICTURE, "/page": b"<html>no picture</html>", "/empty": b"", "/long": bytes(300_000)}
        redirects = {"/moved": "/a.png", "/to-file": "file:///etc/passwd", "/to-ftp": "ftp://x/a.png", "/loop": "/loop"}
        if self.path in redirects:
            self.send_response(302)
            self.send_header("Location", redirects[self.path])
        elif self.path in answers:
            self.send_response(200)
        elif self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "5000")
        else:
            self.send_response(404)
        self.end_headers()
        self.wfile.write(answers.get(self.path, b""))

    def log_message(self, *_args):
        pass


@pytest.fixture(scope="module")
def server():
    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_nothing_is_fetched_unasked():
    for url in ("http://127.0.0.1:9/a.png", "HTTPS://example.invalid/a.png"):
        with pytest.raises(PictureError, match="nothing is fetched unasked: pass allow_url=True") as caught:
            read(url)
        assert caught.value.picture == url


def test_picture_behind_an_address(server):
    assert read(f"{server}/a.png", allow_url=True).size == (48, 32)
    assert read(f"{server}/moved", allow_url=True).size == (48, 32)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/none", "the server answers 404"),
        ("/page", "is not a picture but an HTML page"),
        ("/empty", r"is empty \(0 bytes\)"),
        ("/to-file", "the server answers 302 .*'file:///etc/passwd' is not allowed"),
        ("/to-ftp", "redirects to 'ftp://x/a.png', expected http or https"),
        ("/loop", "the server answers 302"),
        ("/short", "is empty|cannot be fetched"),
    ],
)
def test_address_without_a_picture_is_refused(server, path, reason):
    with pytest.raises(PictureError, match=reason) as caught:
        read(server + path, allow_url=True)
    assert caught.value.picture == server + path


def test_answer_over_the_limit_is_given_up(server):
    with pytest.raises(PictureError, match="is longer than the limit of 100,000 bytes"):
        download_module.download(f"{server}/long", max_bytes=100_000)


def test_slow_answer_is_given_up(server, monkeypatch):
    clock = iter([0.0, 100.0, 200.0])
    monkeypatch.setattr(download_module.time, "monotonic", lambda: next(clock))
    with pytest.raises(PictureError, match="no answer within 20 seconds"):
        download_module.download(f"{server}/a.png")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a.png", "http://", "http://[::1/a.png", "http://exa mple/a.png"])
def test_address_that_does_not_answer(url):
    with pytest.raises(PictureError, match="cannot be fetched"):
        read(url, allow_url=True)


@pytest.mark.parametrize("path", ["file:///etc/hostname", "ftp://127.0.0.1/a.png"])
def test_other_schemes_are_only_ever_paths(path):
    with pytest.raises(PictureError):
        read(path, allow_url=True)
