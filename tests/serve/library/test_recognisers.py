"""Recognisers in the folder of a service: named, read once, and within the memory of the models."""

import gc
import json
import weakref

import httpx2 as httpx
import numpy as np
import pytest

from anmok.adapt import AdaptedClassifier, adapt
from anmok.adapt.examples import Examples
from anmok.classify import Label, LabelSet
from anmok.loading import load

from ..serving import picture, pictures, until


@pytest.fixture(scope="module")
def recogniser(tiny_folder):
    """One that was adapted to two labels."""
    files = tuple(picture(seed, side=20 + seed) for seed in range(16))
    targets, labels = np.tile([0, 1], 8), LabelSet([Label("red"), Label("blue")])
    examples = Examples(files, tuple(map(str, range(16))), targets, labels)
    return adapt(load(tiny_folder, precision="fp32"), examples, methods=[]).classifier


def classify(api, name):
    answer = api.post("/v1/classify", json={"pictures": pictures(0), "recogniser": name})
    assert answer.status_code == 200, answer.text
    return {one["label"] for one in answer.json()["results"][0]["predictions"]}


def test_recognisers_are_listed_by_their_whole_name(api, served):
    (served.settings.home / "recognisers" / "v1.2").mkdir()
    assert "v1.2" in api.get("/v1/recognisers").json()["errors"]
    answer = api.post("/v1/classify", json={"pictures": pictures(0), "recogniser": "v1.2"})
    assert answer.status_code == 422 and str(served.settings.home) not in answer.text
    (served.settings.home / "recognisers" / "v1.2").rmdir()


def test_a_recogniser_is_read_once_and_anew_when_its_files_have_changed(api, served, recogniser, monkeypatch):
    folder = served.settings.home / "recognisers" / "colors"
    recogniser.save(folder)
    read, describe = [], AdaptedClassifier.describe
    monkeypatch.setattr(AdaptedClassifier, "describe", lambda path: read.append(path) or describe(path))
    for _ in range(3):
        assert classify(api, "colors") == {"red", "blue"}
        assert api.get("/v1/recognisers").json()["recognisers"][0]["labels"] == ["red", "blue"]
    assert read == [folder]
    facts = folder / "recogniser.json"
    told = json.loads(facts.read_text())
    told["labels"][0]["name"] = "rot"
    facts.write_text(json.dumps(told))
    assert classify(api, "colors") == {"rot", "blue"} and read == [folder] * 2
    assert api.get("/v1/recognisers").json()["recognisers"][0]["labels"] == ["rot", "blue"]


def test_an_encoder_of_a_recogniser_takes_its_share_of_the_memory_and_goes_when_another_needs_it(serve, recogniser):
    served = serve(model_mb=6)  # room for one of them
    recogniser.owns_encoder = True
    recogniser.save(served.settings.home / "recognisers" / "own")
    recogniser.owns_encoder = False
    models = served.service.models
    with httpx.Client(base_url=served.address, timeout=60) as api:
        assert [model.name for model in models.loaded] == ["tiny"]
        assert classify(api, "own") == {"red", "blue"}
        assert models.loaded == []  # it made room
        (own,) = models._added
        assert own.name == "recogniser own" and own.users == 0 and 3 < own.megabytes < 6
        gone = weakref.ref(own.encoder)
        del own
        assert api.post("/v1/embed", json={"texts": ["a"]}).status_code == 200
        assert [model.name for model in models.loaded] == ["tiny"] and models._added == []
        until(lambda: gc.collect() >= 0 and gone() is None, 10)
        assert classify(api, "own") == {"red", "blue"} and len(models._added) == 1  # and it comes back
