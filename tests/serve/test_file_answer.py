"""Files as answers: whole, by their kind, and not in memory for clients that take nothing of them."""

import socket
import time
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest

from anmok.serve import connections as room
from anmok.serve.connections import Connection

from .serving import base64_of, picture, until


@pytest.fixture(scope="module")
def shop(serve):
    served = serve()
    with httpx.Client(base_url=served.address, timeout=60) as api:
        api.post("/v1/collections", json={"name": "c"})
        kinds = {"a.png": picture(), "a.jpg": picture(1, "JPEG"), "a.tif": picture(2, "TIFF")}
        kinds |= {"big.bmp": picture(3, "BMP", side=1500)}
        rows = [{"id": number, "picture": base64_of(content)} for number, content in kinds.items()]
        assert api.post("/v1/collections/c/pictures", json={"pictures": rows}).json()["added"] == 4
        yield served, api, kinds


def ask(api, number):
    return api.get("/v1/collections/c/file", params={"id": number})


def test_files_come_whole_and_are_named_by_what_is_in_them(shop):
    _, api, kinds = shop
    for number, kind in (("a.png", "png"), ("a.jpg", "jpeg"), ("big.bmp", "bmp")):
        answer = ask(api, number)
        assert answer.content == kinds[number] and answer.headers["content-type"] == f"image/{kind}"
        assert (
            answer.headers["content-length"] == str(len(kinds[number])) and "private" in answer.headers["cache-control"]
        )
    assert ask(api, "a.tif").headers["content-type"] == "application/octet-stream"


def test_a_file_of_a_piece_and_an_empty_one_come_whole(shop):
    served, api, _ = shop
    for content in (b"BM" + b"x" * 65534, b"BM" + b"x" * 65535, b""):
        (served.settings.home / "uploads" / "c" / "a.png").write_bytes(content)
        assert ask(api, "a.png").content == content


def test_what_a_client_does_not_take_stays_on_the_disk(shop, monkeypatch):
    served, _, kinds = shop
    waiting = []
    look = Connection._look

    def spied(connection):
        look(connection)
        waiting.append(connection._untaken)

    monkeypatch.setattr(room, "LOOK_S", 0.02)
    monkeypatch.setattr(Connection, "_look", spied)
    with socket.socket() as channel:
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        channel.connect(("127.0.0.1", urlsplit(served.address).port))
        channel.sendall(
            b"GET /v1/collections/c/file?id=big.bmp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        until(lambda: any(waiting), 10)  # the system takes no more
        time.sleep(0.2)
        assert 0 < max(waiting) < 1 << 18 < len(kinds["big.bmp"])
        answer = b""
        while part := channel.recv(1 << 20):
            answer += part
    assert answer.endswith(kinds["big.bmp"])
