"""Label sets: made whole or not at all, and changed while others use them."""

import threading

import httpx2 as httpx
import pytest

from ..serving import pictures


def test_a_label_set_that_cannot_be_made_leaves_nothing(api, served):
    twice = {"name": "broken", "labels": ["cat", "cat"]}
    assert api.post("/v1/labels", json=twice).status_code == 422
    circle = {"name": "broken", "labels": [{"name": "a", "parent": "b"}, {"name": "b", "parent": "a"}]}
    assert api.post("/v1/labels", json=circle).status_code == 422
    assert api.get("/v1/labels/broken").status_code == 404
    assert not list((served.settings.home / "labels").glob(".*"))
    assert api.post("/v1/labels", json={"name": "broken", "labels": ["cat"]}).status_code == 201
    assert api.delete("/v1/labels/broken").status_code == 204


@pytest.mark.filterwarnings("ignore::anmok.texts.scripts.UnsupportedScriptWarning")  # of the tiny model's tokenizer
def test_labels_change_while_others_classify_by_them(api, served):
    made = api.post("/v1/labels", json={"name": "moving", "labels": ["base", "밑"]})
    assert made.status_code == 201, made.text
    wrong, stop = [], threading.Event()

    def classify():
        with httpx.Client(base_url=served.address, timeout=60) as client:
            while not stop.is_set():
                answer = client.post("/v1/classify", json={"pictures": pictures(0), "label_set": "moving"})
                seen = {one["label"] for one in answer.json().get("results", [{"predictions": []}])[0]["predictions"]}
                if answer.status_code != 200 or not {"base", "밑"} <= seen:
                    wrong.append(answer.text)

    threads = [threading.Thread(target=classify) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(12):
        assert api.post("/v1/labels/moving/labels", json={"labels": [f"l{number}"]}).status_code == 200
        assert api.post("/v1/labels/moving/labels/delete", json={"names": [f"l{number}"]}).status_code == 200
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:2]
    assert api.get("/v1/labels/moving").json()["total"] == 2
    api.delete("/v1/labels/moving")
