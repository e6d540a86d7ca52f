"""Recognisers in the folder of a service."""

from ..serving import pictures


def test_recognisers_are_listed_by_their_whole_name(api, served):
    (served.settings.home / "recognisers" / "v1.2").mkdir()
    assert "v1.2" in api.get("/v1/recognisers").json()["errors"]
    answer = api.post("/v1/classify", json={"pictures": pictures(0), "recogniser": "v1.2"})
    assert answer.status_code == 422 and str(served.settings.home) not in answer.text
    (served.settings.home / "recognisers" / "v1.2").rmdir()
