"""Clients are told which of their words a model cannot read, and which of the served models could."""

import httpx2 as httpx
import pytest

from .serving import base64_of, picture

pytestmark = pytest.mark.filterwarnings("ignore::anmok.texts.UnsupportedScriptWarning")  # the service's log has it

HANGUL = {"code": "unsupported_script", "script": "Hangul"}


@pytest.fixture(scope="module")
def api(serve, tiny_folder, tmp_path_factory):
    """The usual model, "tiny", knows Latin letters alone; one cannot be opened."""
    broken = tmp_path_factory.mktemp("broken")
    served = serve(models=(f"tiny={tiny_folder}", "anmok-mini", f"broken={broken}"))
    with httpx.Client(base_url=served.address, timeout=60) as client:
        client.served = served
        yield client


def told(answer, status=200):
    assert answer.status_code == status, answer.text
    return answer.json()["warnings"]


def classified(api, labels, **more):
    return told(api.post("/v1/classify", json={"pictures": [base64_of(picture())], "labels": labels, **more}))


def test_labels_that_cannot_be_read_are_named_with_the_models_that_can(api):
    (one,) = classified(api, ["a cat", "고양이", "dog", "컵"])
    assert {**one, **HANGUL} == one
    assert (one["items"], one["models"]) == ([1, 3], ["anmok-mini"])
    assert "'tiny' cannot read Hangul text such as '고양이': it spends" in one["message"]
    assert "anmok-mini can read it" in one["message"]
    assert [model.name for model in api.served.service.models.loaded] == ["tiny"]  # none was loaded for that


def test_where_all_can_be_read_nothing_is_said(api):
    assert classified(api, ["a cat", "café"]) == []
    assert classified(api, ["고양이"], model="anmok-mini") == []


def test_the_way_out_is_never_the_model_that_cannot(api):
    (one,) = classified(api, ["고양이", "кошка на столе"], model="anmok-mini")
    assert (one["script"], one["items"], one["models"]) == ("Cyrillic", [1], [])
    assert "No model that is served here can read it" in one["message"]
    assert "serve a multilingual SigLIP 2 too" in one["message"]


def test_texts_to_embed(api):
    (one,) = told(api.post("/v1/embed", json={"texts": ["a cat", "빨간 가방"]}))
    assert one["items"] == [1]
    assert told(api.post("/v1/embed", json={"pictures": [base64_of(picture())]})) == []


def test_terms_of_a_search(api):
    assert api.post("/v1/collections", json={"name": "shop"}).status_code == 201
    (one,) = told(api.post("/v1/search", json={"collection": "shop", "query": "2:red bag - 가죽"}))
    assert one["items"] == [1]
    terms = [{"picture": base64_of(picture())}, {"text": "a bag"}, {"text": "가방", "weight": 2}]
    (one,) = told(api.post("/v1/search", json={"collection": "shop", "terms": terms}))
    assert one["items"] == [2]
    assert told(api.post("/v1/search", json={"collection": "shop", "query": "red bag"})) == []


def test_labels_that_are_kept(api):
    labels = ["cat", {"name": "dog", "ko": "개"}, {"name": "cup", "synonyms": ["머그잔"]}]
    (one,) = told(api.post("/v1/labels", json={"name": "pets", "labels": labels}), 201)
    assert one["items"] == [1, 2]
    assert told(api.post("/v1/labels/pets/labels", json={"labels": ["hamster"]})) == []
    (one,) = told(api.put("/v1/labels/pets/labels", json={"labels": ["토끼", "dog"]}))
    assert one["items"] == [0]
    assert told(api.post("/v1/labels", json={"name": "집", "labels": ["개"], "model": "anmok-mini"}), 201) == []
