"""Names of what is kept."""

import pytest


@pytest.mark.parametrize("name", ["\U00010437" * 64, "가" * 64, "e\u0301" * 30, "_", "1", "a..b"])
def test_a_name_is_one_or_is_refused(api, name):
    for path in ("/v1/collections", "/v1/labels"):
        body = {"name": name} if path.endswith("s/") or "coll" in path else {"name": name, "labels": ["a"]}
        answer = api.post(path, json=body)
        assert answer.status_code in (201, 422), answer.text
        if answer.status_code == 201:
            assert api.get(f"{path}/{name}").status_code == 200 and api.post(path, json=body).status_code == 409
        assert api.delete(f"{path}/{name}").status_code == (204 if answer.status_code == 201 else 422)
