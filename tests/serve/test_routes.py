"""The native routes end to end, over sockets: what they answer is what the rooms behind them say, item by item."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import httpx2 as httpx
import numpy as np
import pytest
from PIL import Image

from anmok.collections import Collection
from anmok.loading import load

COLORS = ("red", "green", "blue", "yellow", "black", "white")


@pytest.fixture(scope="module")
def photos(tmp_path_factory, drawn):
    """A root with a folder of pictures, something unreadable, and a link that leads out of it."""
    root = tmp_path_factory.mktemp("roots") / "photos"
    (root / "bags").mkdir(parents=True)
    for color in COLORS[:3]:
        (root / "bags" / f"{color}.png").write_bytes(drawn(color))
    (root / "bags" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(drawn("white"))
    (root / "bags" / "link.png").symlink_to(outside / "secret.png")
    (root / "away").symlink_to(outside)
    return root


@pytest.fixture(scope="module")
def api(serve, photos, tiny_folder, wider_folder):
    served = serve(roots=(photos,), models=(f"tiny={tiny_folder}", f"wider={wider_folder}"), decoders=2, pictures=8)
    with httpx.Client(base_url=served.address, timeout=60) as client:
        client.served = served
        yield client


@pytest.fixture(scope="module")
def offline(tiny_folder):
    return load(tiny_folder, precision="fp32")


def vector(text):
    return np.frombuffer(base64.b64decode(text), "<f4")


def told(answer, status):
    assert answer.status_code == status, answer.text
    return answer.json()


# --- embed, classify


def test_embeddings_are_those_of_the_encoder_and_bad_pictures_fail_alone(api, offline, drawn, uri):
    pictures = [uri(drawn("red")), "not base64!", base64.b64encode(drawn("blue")).decode(), uri(b"no picture")]
    found = told(api.post("/v1/embed", json={"pictures": pictures, "encoding": "base64"}), 200)
    expected = offline.encode_image([drawn("red"), drawn("blue")]).vectors
    assert np.allclose([vector(found["results"][i]["embedding"]) for i in (0, 2)], expected, atol=1e-6)
    assert [found["results"][i]["error"]["code"] for i in (1, 3)] == ["picture", "picture"]
    assert found["fingerprint"] == offline.fingerprint and found["dimension"] == offline.dimension
    texts = told(api.post("/v1/embed", json={"texts": ["a cat", "a dog"]}), 200)["results"]
    assert np.allclose([one["embedding"] for one in texts], offline.encode_text(["a cat", "a dog"]).vectors, atol=1e-6)


def test_answers_are_right_when_many_ask_at_once(api, offline, drawn):
    files = {color: drawn(color) for color in COLORS}
    rows = dict(zip(COLORS, offline.encode_image(list(files.values())).vectors, strict=True))

    def ask(number):
        chosen = [COLORS[(number + i) % len(COLORS)] for i in range(1 + number % 7)]
        parts = [("pictures", (f"{color}.png", files[color], "image/png")) for color in chosen]
        answer = httpx.post(f"{api.base_url}/v1/embed", files=parts, data={"encoding": "base64"}, timeout=60).json()
        found = [vector(one["embedding"]) for one in answer["results"]]
        return np.abs(np.array(found) - [rows[color] for color in chosen]).max()

    with ThreadPoolExecutor(16) as pool:
        assert max(pool.map(ask, range(40))) < 1e-6


def test_labels_of_a_request_and_none_of_these(api, drawn, uri):
    body = {"pictures": [uri(drawn("red")), uri(b"")], "labels": ["red", "blue", "green"], "top": 2}
    results = told(api.post("/v1/classify", json=body), 200)["results"]
    assert len(results[0]["predictions"]) == 2 and isinstance(results[0]["found"], bool)
    assert results[1]["error"]["message"].startswith("is empty") and results[1]["predictions"] == []
    same = api.post("/v1/classify", files=[("pictures", ("a.png", drawn("red")))], data={**body, "pictures": []})
    assert told(same, 200)["results"][0] == results[0]


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/v1/classify", {"pictures": ["x"]}, 422, "exactly one of labels"),
        ("/v1/classify", {"pictures": [], "labels": ["a"]}, 422, "pictures"),
        ("/v1/classify", {"pictures": ["x"] * 9, "labels": ["a"]}, 413, "at most 8"),
        ("/v1/classify", {"pictures": ["x"], "labels": ["a"] * 1001}, 413, "make a label set"),
        ("/v1/classify", {"pictures": ["x"], "labels": ["a"], "error_rate": 0.1}, 422, "needs a recogniser"),
        ("/v1/classify", {"pictures": ["x"], "labels": ["a"], "colour": 1}, 422, "colour"),
        ("/v1/classify", {"pictures": ["x"], "label_set": "none"}, 404, "no label set"),
        ("/v1/classify", {"pictures": ["x"], "recogniser": "none"}, 404, "no recogniser"),
        ("/v1/embed", {"texts": ["a"], "model": "tinny"}, 404, "Did you mean 'tiny'"),
        ("/v1/embed", {"texts": ["a"], "pictures": ["x"]}, 422, "either pictures or texts"),
        ("/v1/search", {"collection": "nothing", "query": "a"}, 404, "no collection"),
        ("/v1/collections", {"name": "../up"}, 422, "1 to 64 letters"),
        ("/v1/collections", {"name": "."}, 422, "1 to 64 letters"),
    ],
)
def test_what_cannot_be_answered_says_why(api, path, body, status, says):
    error = told(api.post(path, json=body), status)["error"]
    assert says in error["message"] and error["type"] == "invalid_request_error"


def test_pictures_by_address_are_closed_unless_they_are_opened(api):
    results = told(api.post("/v1/embed", json={"pictures": ["http://127.0.0.1:1/x.png"]}), 200)["results"]
    assert results[0]["error"]["code"] == "urls_not_allowed"


# --- collections


@pytest.fixture
def shop(api):
    name = "가게-1"
    told(api.post("/v1/collections", json={"name": name}), 201)
    yield f"/v1/collections/{quote(name)}", name
    assert api.delete(f"/v1/collections/{quote(name)}").status_code == 204
    assert not (api.served.settings.home / "uploads" / name).exists()


def test_pictures_are_taken_in_found_shown_and_deleted(api, shop, drawn, uri, offline):
    path, name = shop
    new = [
        {"id": "bags/빨강.png", "picture": uri(drawn("red", (200, 100))), "metadata": {"price": 3}},
        {"id": "../../up.png", "picture": uri(drawn("green"))},
        uri(drawn("blue")),
        {"id": "bags/빨강.png", "picture": uri(drawn("black"))},
        {"id": "bad", "picture": uri(b"nothing")},
        {"id": "own", "picture": uri(drawn("white")), "metadata": {"width": 1}},
    ]
    done = told(api.post(f"{path}/pictures", json={"pictures": new}), 200)
    assert done["added"] == 3 and [bool(one["error"]) for one in done["results"]] == [False] * 3 + [True] * 3
    again = told(api.post(f"{path}/pictures", json={"pictures": new[:1]}), 200)["results"][0]["error"]
    assert again["code"] == "conflict" and "PUT" in again["message"]

    listed = told(api.get(f"{path}/pictures", params={"where": json.dumps({"price": {"ge": 3}})}), 200)
    assert [(one["id"], one["metadata"]["width"]) for one in listed["pictures"]] == [("bags/빨강.png", 200)]
    home = api.served.settings.home
    assert all(file.is_relative_to(home / "uploads" / name) for file in (home / "uploads" / name).rglob("*"))

    query = {"collection": name, "picture": uri(drawn("red", (200, 100)))}
    hits = told(api.post("/v1/search", json=query), 200)["hits"]
    assert hits[0]["id"] == "bags/빨강.png" and hits[0]["cosine"] > 0.999 and len(hits) == 3
    assert Image.open(_bytes(api.get(hits[0]["thumbnail"] + "&side=50"))).size == (50, 25)
    assert api.get(f"{path}/file", params={"id": "../../up.png"}).content == drawn("green")
    stored = {"collection": name, "id": "bags/빨강.png"}
    found = told(api.post("/v1/embed", json={"pictures": [stored]}), 200)["results"][0]["embedding"]
    assert np.allclose(found, offline.encode_image(drawn("red", (200, 100))).vectors[0], atol=1e-6)
    second = told(api.post("/v1/search", json={"collection": name, "picture": stored, "top": 1, "skip": 1}), 200)
    assert second["hits"][0]["id"] == hits[1]["id"]

    told(api.put(f"{path}/pictures", json={"pictures": [{"id": "bags/빨강.png", "picture": uri(drawn("black"))}]}), 200)
    kept = told(api.get(f"{path}/pictures", params={"where": '{"price": 3}'}), 200)["pictures"]
    assert kept[0]["metadata"]["width"] == 80 and api.get(f"{path}/file?id=bags/빨강.png").content == drawn("black")

    assert told(api.post(f"{path}/pictures/delete", json={"ids": ["bags/빨강.png", "nobody"]}), 200)["deleted"] == 1
    assert api.get(f"{path}/file", params={"id": "bags/빨강.png"}).status_code == 404
    assert told(api.post(f"{path}/pictures/delete", json={"where": {"folder": {"ne": "x"}}}), 200)["deleted"] == 2


def _bytes(answer):
    import io

    assert answer.status_code == 200 and answer.headers["content-type"] == "image/jpeg"
    return io.BytesIO(answer.content)


def test_arithmetic_of_words_and_pictures_is_that_of_the_collection(api, shop, drawn, uri, offline):
    path, name = shop
    told(api.post(f"{path}/pictures", files=[("pictures", (f"{c}.png", drawn(c))) for c in COLORS]), 200)
    with Collection(api.served.settings.home / "collections" / f"{name}.anmok", encoder=offline) as collection:
        expected = collection.search("2:red bag - leather")
    hits = told(api.post("/v1/search", json={"collection": name, "query": "2:red bag - leather"}), 200)["hits"]
    assert [hit["id"] for hit in hits] == [hit.path for hit in expected]
    assert np.allclose([hit["score"] for hit in hits], [hit.score for hit in expected], atol=1e-5)
    terms = [{"text": "red bag"}, {"picture": uri(drawn("red")), "weight": -0.5}]
    assert len(told(api.post("/v1/search", json={"collection": name, "terms": terms, "top": 3}), 200)["hits"]) == 3
    empty = [{"text": "red"}, {"text": "red", "weight": -1}]
    assert (
        "cancel out" in told(api.post("/v1/search", json={"collection": name, "terms": empty}), 422)["error"]["message"]
    )
    # what ends like a file is words here: no file of this machine is read
    assert told(api.post("/v1/search", json={"collection": name, "query": "/etc/passwd.png"}), 200)["hits"]


def test_a_folder_is_indexed_by_a_job_and_nothing_outside_is_shown(api, shop, photos):
    path, _ = shop
    assert told(api.get("/v1/folders"), 200)["folders"] == [{"name": "photos", "path": "photos"}]
    assert [one["name"] for one in told(api.get("/v1/folders?path=photos"), 200)["folders"]] == ["bags"]
    for wrong in ("photos/away", "photos/../outside", "/etc", "elsewhere", "photos/\x00", "photos/none"):
        told(api.post(f"{path}/folders", json={"folder": wrong}), 404)
    job = told(api.post(f"{path}/folders", json={"folder": "photos/bags"}), 202)
    with api.stream("GET", f"/v1/jobs/{job['id']}/events") as events:
        lines = [line for line in events.iter_lines() if line.startswith("data:")]
    last = json.loads(lines[-1].removeprefix("data:"))
    assert last["state"] == "done" and last["result"]["failed"][0]["picture"] == "broken.jpg"
    assert told(api.get(path), 200)["folders"] == ["photos/bags"]
    failed = told(api.get(f"{path}/failed"), 200)["failed"]
    assert [one["id"] for one in failed] == ["photos/bags/broken.jpg"]
    ids = {one["id"] for one in told(api.get(f"{path}/pictures"), 200)["pictures"]}
    assert {f"photos/bags/{color}.png" for color in COLORS[:3]} <= ids
    assert api.get(f"{path}/file", params={"id": "photos/bags/red.png"}).status_code == 200
    assert api.get(f"{path}/file", params={"id": "photos/bags/link.png"}).status_code == 404
    assert api.get(f"{path}/thumbnail", params={"id": str(photos / "bags" / "red.png")}).status_code == 404
    assert str(photos) not in api.get(f"{path}/pictures").text


def test_a_collection_moves_to_another_model(api, shop, photos):
    path, name = shop
    for job in ({"folder": "photos/bags"}, {"model": "wider"}):
        kind = "folders" if "folder" in job else "re-encode"
        number = told(api.post(f"{path}/{kind}", json=job), 202)["id"]
        with api.stream("GET", f"/v1/jobs/{number}/events") as events:
            assert '"state": "done"' in list(events.iter_lines())[-3] or events.status_code == 200
        done = told(api.get(f"/v1/jobs/{number}"), 200)
        assert done["state"] == "done", done
    assert done["result"]["switched"] and done["result"]["comparison"]["recall"] == 1
    assert told(api.get(path), 200)["model"] == "wider"
    assert told(api.post("/v1/search", json={"collection": name, "query": "red"}), 200)["hits"]
    assert told(api.get("/v1/jobs"), 200)["jobs"][0]["id"] == number
    told(api.get("/v1/jobs/none"), 404)
    told(api.post(f"{path}/re-encode", json={"model": "none"}), 404)


def test_duplicates_are_grouped(api, shop, drawn, uri):
    path, _ = shop
    pictures = [{"id": i, "picture": uri(drawn(c))} for i, c in (("a", "red"), ("b", "red"), ("c", "blue"))]
    told(api.post(f"{path}/pictures", json={"pictures": pictures}), 200)
    groups = told(api.get(f"{path}/duplicates", params={"threshold": 0.9999}), 200)["groups"]
    assert [[one["id"] for one in group] for group in groups] == [["a", "b"]]


# --- label sets


def test_a_label_set_is_made_changed_calibrated_and_deleted(api, drawn, uri):
    made = told(api.post("/v1/labels", json={"name": "색", "labels": ["red", {"name": "blue", "ko": "bleu"}]}), 201)
    assert made["labels"] == 2 and made["model"] == "tiny"
    told(api.post("/v1/labels", json={"name": "색", "labels": ["x"]}), 409)
    path = "/v1/labels/" + quote("색")
    told(api.post(f"{path}/labels", json={"labels": ["red"]}), 409)
    assert told(api.put(f"{path}/labels", json={"labels": ["red", "green"]}), 200)["added"] == ["green"]
    body = {"pictures": [uri(drawn("red"))], "label_set": "색", "top": 10}
    assert len(told(api.post("/v1/classify", json=body), 200)["results"][0]["predictions"]) == 3
    told(api.post(f"{path}/labels/delete", json={"names": ["green", "none"]}), 404)
    assert told(api.post(f"{path}/labels/delete", json={"names": ["green"]}), 200)["deleted"] == ["green"]
    assert len(told(api.post("/v1/classify", json=body), 200)["results"][0]["predictions"]) == 2
    members = told(api.get(path, params={"prefix": "b"}), 200)["members"]
    assert members == [{"name": "blue", "synonyms": [], "ko": "bleu", "parent": None}]
    examples = {"pictures": [uri(drawn("red")), uri(drawn("black"))], "labels": ["red", None]}
    threshold = told(api.post(f"{path}/calibrate", json=examples), 200)["threshold"]
    assert told(api.get("/v1/labels"), 200)["label_sets"][0]["threshold"] == pytest.approx(threshold)
    told(api.post(f"{path}/calibrate", json={**examples, "labels": ["no such", None]}), 422)
    assert api.delete(path).status_code == 204
    told(api.get(path), 404)


def test_a_recogniser_is_served_by_its_name(api, offline, drawn, uri):
    from anmok.adapt import adapt
    from anmok.adapt.examples import Examples
    from anmok.classify import Label, LabelSet

    files = tuple(drawn(color, (60 + i, 60)) for i in range(8) for color in ("red", "blue"))
    targets = np.tile([0, 1], 8)
    examples = Examples(files, tuple(map(str, range(16))), targets, LabelSet([Label("red"), Label("blue")]))
    adapt(offline, examples, methods=[]).classifier.save(api.served.settings.home / "recognisers" / "colors")
    listed = told(api.get("/v1/recognisers"), 200)
    assert [(one["name"], one["labels"]) for one in listed["recognisers"]] == [("colors", ["red", "blue"])]
    body = {"pictures": [uri(drawn("red"))], "recogniser": "colors", "error_rate": 0.2}
    predictions = told(api.post("/v1/classify", json=body), 200)["results"][0]["predictions"]
    assert {one["label"] for one in predictions} <= {"red", "blue"}


# --- the service itself


def test_status_models_and_metrics_tell_what_is_so(api):
    status = told(api.get("/v1/status"), 200)
    assert [model["name"] for model in status["models"]] == ["tiny", "wider"] and status["roots"] == ["photos"]
    assert status["models"][0]["image"] == {
        **{"runs": "onnxruntime fp32", "engine": "onnxruntime", "precision": "fp32"},
        **{"settled": True, "fidelity": None, "speedup": None},
    }
    assert status["keys_required"] is False
    assert [one["id"] for one in told(api.get("/v1/models"), 200)["data"]] == ["tiny", "wider"]
    text = api.get("/metrics").text
    assert 'anmok_requests_total{method="POST",route="/v1/embed",status="200"}' in text
    assert 'anmok_model_loaded{image="onnxruntime fp32",model="tiny"' in text


def test_every_operation_of_the_openapi_file_has_a_name_and_a_summary(api):
    operations = [op for path in api.get("/openapi.json").json()["paths"].values() for op in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names)) > 30 and all(operation.get("description") for operation in operations)
