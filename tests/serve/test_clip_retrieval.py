"""What ClipClient and the clip front send, byte for byte, to a real service."""

from __future__ import annotations

import base64
import http.client
import io
import json
from urllib.parse import urlsplit

import httpx2
import numpy as np
import pytest
from PIL import Image

from anmok.embeddings import unit

CLIENT = {  # all that ClipClient sends, always
    "text": None, "image": None, "image_url": None, "embedding_input": None, "deduplicate": True,
    "use_safety_model": True, "use_violence_detector": True, "indice_name": "shop", "use_mclip": False,
    "aesthetic_score": 9, "aesthetic_weight": 0.5, "modality": "image", "num_images": 40, "num_result_ids": 40,
}  # fmt: skip
FRONT = {
    **CLIENT, "text": "", "num_result_ids": 3000, "aesthetic_score": "", "aesthetic_weight": "0.5", "use_mclip": False
}  # fmt: skip
COLORS = ("red", "green", "blue", "black", "gray")


@pytest.fixture(scope="module")
def shop(serve, drawn, uri):
    """A service with two collections; of the larger one's pictures the last is a copy of the first."""
    served = serve(origins=("http://front.example",))
    with httpx2.Client(base_url=served.address) as http:
        for name in ("shop", "empty"):
            assert http.post("/v1/collections", json={"name": name}).status_code == 201
        pictures = [
            {"id": f"{color} 가방.png", "picture": uri(drawn(color)), "metadata": {"caption": f"a {color} bag"}}
            for color in COLORS
        ]
        pictures += [{"id": "copy", "picture": uri(drawn("red")), "metadata": {"url": "https://shop.example/1.png"}}]
        added = http.post("/v1/collections/shop/pictures", json={"pictures": pictures}).json()
        assert added["added"] == len(pictures)
    return served


@pytest.fixture(scope="module")
def ask(shop):
    """`ask("/knn-service", body)` → status, headers, JSON; no Content-Type unless one is given."""
    address = urlsplit(shop.address)

    def post(path, body, content_type=None, **headers):
        connection = http.client.HTTPConnection(address.hostname, address.port)
        headers |= {"Content-Type": content_type} if content_type else {}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST" if body is not None else "GET", path, data if body is not None else None, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        return response.status, response.headers, answer

    return post


def test_a_text_as_clip_client_asks(ask, tiny_encoder, drawn):
    status, headers, hits = ask("/knn-service", {**CLIENT, "text": "a red bag", "deduplicate": False})
    assert status == 200
    assert headers["X-Anmok-Ignored"] == "use_safety_model, use_violence_detector, aesthetic_score"
    truth = tiny_encoder.encode_image([drawn(color) for color in COLORS]) @ tiny_encoder.encode_text(["a red bag"])
    cosines = {hit["caption"].split()[1]: hit["similarity"] for hit in hits if "caption" in hit}
    assert [cosines[color] for color in COLORS] == pytest.approx(truth[:, 0].tolist(), abs=2e-3)  # half precision
    assert [hit["similarity"] for hit in hits] == sorted((hit["similarity"] for hit in hits), reverse=True)
    assert all(isinstance(hit["id"], int) and 0 < hit["id"] < 10**15 for hit in hits)
    assert len({hit["id"] for hit in hits}) == len(hits) == 6


def test_hits_carry_an_address_and_a_small_copy(ask, drawn):
    _, _, hits = ask("/knn-service", {**CLIENT, "text": "a red bag", "deduplicate": False})
    by_caption = {hit.get("caption"): hit for hit in hits}
    assert by_caption[None]["url"] == "https://shop.example/1.png"  # its own
    blue = by_caption["a blue bag"]
    assert httpx2.get(blue["url"]).content == drawn("blue")
    picture = Image.open(io.BytesIO(base64.b64decode(blue["image"])))
    assert (picture.format, picture.size) == ("JPEG", (80, 60))
    assert not any("root" in hit for hit in hits)


def test_pictures_and_vectors_as_queries(ask, drawn, uri, tiny_encoder):
    blue = drawn("blue")
    vector = (1e200 * tiny_encoder.encode_image([blue]).vectors[0].astype(float)).tolist()
    for query in (
        {"image": base64.b64encode(blue).decode()},
        {"image_url": uri(blue)},
        {"embedding_input": vector},
        {"text": "", "image": "", "image_url": "", "embedding_input": vector},
    ):
        status, _, hits = ask("/knn-service", {**CLIENT, **query})
        assert (status, hits[0]["caption"]) == (200, "a blue bag")
        assert hits[0]["similarity"] == pytest.approx(1, abs=1e-3)


def test_the_front_s_bodies(ask):
    front = {**FRONT, "text": "a red bag", "num_images": 2, "deduplicate": False}
    status, headers, hits = ask("/knn-service", front, "text/plain;charset=UTF-8", Origin="http://front.example")
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, "http://front.example")
    assert [len(hit) > 2 for hit in hits] == [True, True, False, False, False, False]
    assert all(set(hit) == {"id", "similarity"} for hit in hits[2:])
    again = ask("//knn-service", front, "text/plain;charset=UTF-8")[2]  # as its usual address has it
    assert again == hits
    shown = {hit["id"]: hit for hit in ask("/knn-service", {**front, "num_images": 40})[2]}
    wanted = [hits[3]["id"], str(hits[5]["id"]), 10**14, hits[3]["id"], -1, 10**30]
    for path in ("/metadata", "//metadata"):
        status, _, rows = ask(path, {"ids": wanted, "indice_name": "shop"}, "text/plain;charset=UTF-8")
        assert [row["id"] for row in rows] == [hits[3]["id"], hits[5]["id"]]
        for row in rows:
            hit = shown[row["id"]]
            assert {**row["metadata"], "id": row["id"], "similarity": hit["similarity"]} == hit
    assert ask("/metadata", {"ids": [], "indice_name": "shop"})[2] == []


def test_copies_are_left_out_when_asked(ask, tiny_encoder, drawn):
    query = {**CLIENT, "image": base64.b64encode(drawn("red")).decode()}
    all_of_them = ask("/knn-service", {**query, "deduplicate": False})[2]
    assert [round(hit["similarity"], 2) for hit in all_of_them[:2]] == [1, 1]
    kept = ask("/knn-service", query)[2]
    assert len([hit for hit in kept if hit["similarity"] > 0.99]) == 1
    assert kept[0] == all_of_them[0]


def test_indices_are_the_collections(ask):
    for path in ("/indices-list", "//indices-list"):
        assert ask(path, None)[2] == ["empty", "shop"]
    nothing = {**CLIENT, "text": "x"}
    assert ask("/knn-service", {**nothing, "indice_name": "empty"})[2] == []
    assert ask("/knn-service", {**nothing, "indice_name": None})[2] == []  # the first
    assert ask("/knn-service", {**nothing, "num_images": 0, "num_result_ids": None})[2] == []


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 422),
        ({"text": "x", "modality": "text"}, 422),
        ({"text": "x", "indice_name": "nothing"}, 404),
        ({"text": "x", "indice_name": "../shop"}, 422),
        ({"text": "x", "num_result_ids": 3001}, 422),
        ({"text": "x", "num_images": -1}, 422),
        ({"image": "not base64"}, 422),
        ({"image_url": "http://127.0.0.1/a.jpg"}, 422),
        ({"embedding_input": [1.0]}, 422),
        ({"embedding_input": [0.0] * 24}, 422),
        ({"embedding_input": [float("nan")] * 24}, 422),
        ({"text": ["x"]}, 422),
    ],
)
def test_errors_are_json_because_clip_client_reads_any_answer(ask, change, status):
    told, _, answer = ask("/knn-service", {**CLIENT, **change})
    assert (told, answer["error"]["message"] != "") == (status, True)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_hostile_bodies(ask, body):
    for path in ("/knn-service", "/metadata"):
        assert ask(path, body)[0] == 422


def test_equal_vectors_have_their_own_ids(ask, drawn):
    hits = ask("/knn-service", {**CLIENT, "image": base64.b64encode(drawn("red")).decode(), "deduplicate": False})[2]
    first, second = (hit["id"] for hit in hits[:2])
    rows = ask("/metadata", {"ids": [second, first], "indice_name": "shop"})[2]
    assert rows[0]["metadata"] != rows[1]["metadata"]


def test_the_key_may_be_a_password_in_the_address(serve):
    locked = serve(keys=True)
    key = locked.key("clip client")
    host = locked.address.removeprefix("http://")
    path = f"{host}/indices-list"
    assert httpx2.get(f"http://any:{key}@{path}").json() == []
    assert httpx2.get(f"http://:{key}@{path}").json() == []
    for wrong in (f"http://any:{key}x@{path}", f"http://{key}@{path}", f"http://any@{path}", f"http://{path}"):
        assert httpx2.get(wrong).status_code == 401
    for header in ("Basic", "Basic ä", "Basic %%%", "Basic " + base64.b64encode(b"\xff:\xff").decode()):
        assert httpx2.get(f"http://{path}", headers={"Authorization": header.encode()}).status_code == 401
    page = {"Origin": "http://other.example"}  # of a browser that remembers the password
    assert httpx2.get(f"http://any:{key}@{path}", headers=page).status_code == 401
    bearer = {"Authorization": f"Bearer {key}", **page}
    assert httpx2.get(f"http://{path}", headers=bearer).status_code == 200


def test_a_query_is_of_any_length(ask, tiny_encoder):
    rng = np.random.default_rng(0)
    vector = unit(rng.normal(size=(1, 24)))[0]
    lists = [ask("/knn-service", {**CLIENT, "embedding_input": (s * vector).tolist()})[2] for s in (1e-30, 1.0, 1e30)]
    ids = [[hit["id"] for hit in hits] for hits in lists]
    assert ids[0] == ids[1] == ids[2]
