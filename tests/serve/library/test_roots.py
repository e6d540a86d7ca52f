"""Names of folders that lead out of the roots."""

from .keeping import ESCAPES


def test_no_name_of_a_folder_leads_out(api, shop):
    for name in ["photos/away", "photos/..", "photos/../outside", "/", "//", "photos/\x00", *ESCAPES]:
        if name in ("photos", ""):
            continue
        assert api.post(f"{shop}/folders", json={"folder": name}).status_code in (404, 422), name
        if name.strip("/"):
            assert api.get("/v1/folders", params={"path": name}).status_code == 404, name
    assert "away" not in api.get("/v1/folders?path=photos").text
