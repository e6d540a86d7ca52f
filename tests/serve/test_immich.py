"""What Immich's server sends, byte for byte, to a real service."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import numpy as np
import pytest

NAME = "ViT-B-32__openai"
BOUNDARY = "----formdata-undici-055015475517"


def part(name: str, content: bytes, more: str = "") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def body(entries, *, text: str | None = None, image: bytes | None = None) -> bytes:
    """As Node's fetch writes a FormData."""
    parts = part("entries", entries if isinstance(entries, bytes) else json.dumps(entries).encode())
    if text is not None:
        parts += part("text", text.encode())
    if image is not None:
        parts += part("image", image, '; filename="blob"\r\nContent-Type: application/octet-stream')
    return parts + f"--{BOUNDARY}--\r\n".encode()


def textual(name: str = NAME, **options) -> dict:
    return {"clip": {"textual": {"modelName": name, "options": options}}}


def visual(name: str = NAME) -> dict:
    return {"clip": {"visual": {"modelName": name}}}


def call(served, method: str, path: str, content: bytes | None = None, **headers):
    """Status, and the answer as it came."""
    address = urlsplit(served.address)
    connection = http.client.HTTPConnection(address.hostname, address.port)
    usual = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "User-Agent": "node"} if content else {}
    connection.request(method, path, content, {**usual, **headers})
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    return response.status, answer


@pytest.fixture(scope="module")
def immich(serve, tiny_folder):
    """A service that needs keys, except of Immich."""
    return serve(immich=True, keys=True, models=(f"{NAME}={tiny_folder}", f"other={tiny_folder}"))


@pytest.fixture
def predict(immich):
    def ask(content: bytes):
        status, answer = call(immich, "POST", "/predict", content)
        return status, json.loads(answer)

    return ask


def test_a_text(predict, tiny_encoder):
    for options in ({}, {"language": "en-US"}, {"language": "en-null"}, {"language": None}, {"new": [1]}):
        status, answer = predict(body(textual(**options), text="a red bag"))
        assert (status, set(answer)) == (200, {"clip"})
        vector = json.loads(answer["clip"])  # a text that holds a list
        np.testing.assert_allclose(vector, tiny_encoder.encode_text(["a red bag"]).vectors[0], atol=1e-6)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture(predict, tiny_encoder, drawn, kind):
    picture = drawn("blue", (90, 60), kind)
    status, answer = predict(body(visual(), image=picture))
    assert (status, answer["imageWidth"], answer["imageHeight"]) == (200, 90, 60)
    vector = np.array(json.loads(answer["clip"]), np.float32)
    np.testing.assert_allclose(vector, tiny_encoder.encode_image([picture]).vectors[0], atol=1e-6)
    assert " " not in answer["clip"]


@pytest.mark.parametrize("name", [NAME, "immich-app/ViT-B-32__openai", "ViT-B-32::openai"])
def test_names_as_immich_lets_them_be_written(predict, name):
    assert predict(body(textual(name), text="x"))[0] == 200


def test_a_model_that_is_not_served_is_never_replaced_by_another(predict):
    status, answer = predict(body(textual("ViT-L-14__openai"), text="x"))
    assert (status, answer["error"]["code"]) == (404, "model_not_found")
    assert NAME in answer["error"]["message"]


FACES = {
    "facial-recognition": {
        "detection": {"modelName": "buffalo_l", "options": {"minScore": 0.7}},
        "recognition": {"modelName": "buffalo_l"},
    }
}
OCR = {"ocr": {"detection": {"modelName": "PP-OCRv5_mobile"}, "recognition": {"modelName": "PP-OCRv5_mobile"}}}


@pytest.mark.parametrize("entries", [FACES, OCR, {**visual(), **FACES}])
def test_faces_and_texts_are_refused_and_never_found_to_be_none(predict, drawn, entries):
    status, answer = predict(body(entries, image=drawn("red")))
    assert (status, answer["error"]["code"]) == (422, "unknown_task")
    assert "turn the others off" in answer["error"]["message"]


@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"clip": {}},
        {"clip": None},
        {"clip": {**textual()["clip"], **visual()["clip"]}},
        {"clip": {"audio": {"modelName": NAME}}},
        {"clip": {"textual": {"modelName": None}}},
        {"clip": {"textual": {"modelName": NAME, "unknown": 1}}},
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"clip":' * 5000,
    ],
)
def test_entries_that_cannot_be_used(predict, drawn, entries):
    assert predict(body(entries, text="x", image=drawn("red")))[0] == 422


def test_parts_that_are_missing_or_bad(predict, immich, drawn):
    picture = drawn("red", kind="JPEG")
    assert predict(body(visual(), text="x"))[0] == 400
    assert predict(body(visual(), image=b""))[0] == 400
    assert predict(body(textual(), image=picture))[0] == 400
    assert predict(body(textual(), text=""))[0] == 400
    assert predict(body(textual(), text="x" * 4097))[0] == 422
    for bad in (b"no picture", picture[:40]):
        status, answer = predict(body(visual(), image=bad))
        assert (status, answer["error"]["code"]) == (422, "picture")
    assert predict(part("modelName", NAME.encode()) + f"--{BOUNDARY}--\r\n".encode())[0] == 422  # of old, no entries
    assert call(immich, "POST", "/predict", b"{}", **{"Content-Type": "application/json"})[0] == 422


def test_a_picture_may_not_be_larger_than_others(serve, tiny_folder, drawn):
    small = serve(immich=True, picture_bytes=100, models=(f"{NAME}={tiny_folder}",))
    assert call(small, "POST", "/predict", body(visual(), image=drawn("red")))[0] == 413


def test_only_these_routes_are_open(immich, served):
    assert call(immich, "GET", "/ping") == (200, b"pong")
    assert call(immich, "GET", "/ping", Host="host.docker.internal:8000") == (200, b"pong")
    assert call(immich, "GET", "/v1/models")[0] == 401
    assert call(immich, "POST", "/v1/embeddings", b"{}")[0] == 401
    assert call(served, "GET", "/ping")[0] == 404  # a service that was not started for Immich
    assert call(served, "POST", "/predict", body(textual(), text="x"))[0] == 404


def test_a_busy_model_is_waited_for(predict, immich, monkeypatch, busy_once):
    calls = busy_once(immich.service.models.loaded[0])
    monkeypatch.setattr("anmok.serve.routes.immich.WAIT_S", 0.01)
    assert predict(body(textual(), text="x"))[0] == 200
    assert len(calls) == 2
