"""Saved web pages."""

import base64
import pickle

import pytest

from anmok.pairs import Pair, PairError, SourceError, open_pairs

from .making import PNG, kinds, write_files

DATA = "data:image/png;base64," + base64.b64encode(PNG * 4).decode()
PAGE = """<!doctype html><meta charset=utf-8><title>Bags</title>
<img src="./Bags_files/red%20bag.jpg" alt="빨간 가방"><img src="Bags_files/blue.png?w=3#x" alt="a blue bag">
<img src="https://cdn.example/remote.jpg" alt="not saved"><img src="//cdn.example/remote.jpg" alt="nor this">
<img src="Bags_files/gone.jpg" alt="gone"><img src="{}" alt="embedded"><img src=x.svg alt=x>"""


@pytest.fixture
def folder(tmp_path):
    write_files(tmp_path / "saved", ["Bags_files/red bag.jpg", "Bags_files/blue.png"])
    (tmp_path / "saved/Bags.html").write_text(PAGE.format(DATA), encoding="utf-8")
    return tmp_path / "saved"


def test_a_page_as_a_browser_saves_it(folder):
    source = open_pairs(folder / "Bags.html")
    red, blue, embedded = source
    facts = {"page": "Bags.html", "page_title": "Bags", "texts_from": ["alt"]}
    picture = folder / "Bags_files/red bag.jpg"
    assert red == Pair("Bags.html:Bags.html#0", picture, ("빨간 가방",), source="Bags", facts=facts)
    assert (blue.picture, blue.texts) == (folder / "Bags_files/blue.png", ("a blue bag",))
    assert (embedded.picture, embedded.texts) == (PNG * 4, ("embedded",))
    assert kinds(source) == {"svg": 1, "picture not saved": 3}
    assert pickle.loads(pickle.dumps(source)).read(2) == embedded


def test_a_folder_of_pages_in_any_encoding(folder):
    write_files(folder / "sub", ["1.jpg", "2.jpg"])
    (folder / "sub/a.htm").write_bytes('<meta charset="euc-kr"><img src=1.jpg alt="가방">'.encode("cp949"))
    (folder / "sub/b.html").write_text("<img src=/sub/2.jpg alt='from the root'>", encoding="utf-16")
    (folder / "sub/notes.txt").write_text("no page", encoding="utf-8")
    source = open_pairs(folder)
    assert [(pair.name, pair.texts[0]) for pair in source][3:] == [
        ("saved:sub/a.htm#0", "가방"),
        ("saved:sub/b.html#0", "from the root"),
    ]
    assert source.read(4).picture == folder / "sub/2.jpg"


@pytest.mark.parametrize(
    "address",
    [
        "../secret.jpg",
        "Bags_files/../../secret.jpg",
        "..%2Fsecret.jpg",
        "%2e%2e/secret.jpg",
        "/../secret.jpg",
        "file:///etc/passwd",
        "////etc/passwd",
        "a%00.jpg",
        "http://[",
        "x" * 4000,
    ],
)
def test_no_address_leads_out_of_the_folder(folder, address):
    (folder.parent / "secret.jpg").write_bytes(PNG)
    page = f"<img src='{address}' alt=secret><img src='Bags_files/blue.png' alt=good>"
    (folder / "Bags.html").write_text(page, encoding="utf-8")
    source = open_pairs(folder / "Bags.html")
    assert [pair.texts[0] for pair in source] == ["good"]
    assert len(source.problems) == 1
    assert source.problems[0].kind in ("outside", "picture not saved")


def test_pages_that_cannot_be_read_are_told_and_the_rest_goes_on(folder):
    (folder / "a.html").write_text("<div>" * 200_000, encoding="utf-8")
    (folder / "b.html").symlink_to(folder / "nowhere.html")
    (folder / "c.html").write_bytes(b"")
    source = open_pairs(folder)
    assert len(source) == 3
    assert kinds(source)["too deep"] == 1


def test_pages_without_a_picture_are_refused_with_the_reasons(folder):
    (folder / "Bags.html").write_text("<img src=gone.jpg alt=gone>", encoding="utf-8")
    with pytest.raises(SourceError, match=r"no pair that can be used.*gone.jpg is not below"):
        open_pairs(folder / "Bags.html")
    (folder / "Bags.html").unlink()
    with pytest.raises(SourceError, match=r"no page \(.html, .htm, .xhtml\) in this folder"):
        open_pairs(folder, kind="pages")


def test_pictures_and_pages_that_change_are_errors(folder):
    source = open_pairs(folder)
    (folder / "Bags_files/red bag.jpg").unlink()
    with pytest.raises(PairError, match="there is no such file any more"):
        source.read(0)
    (folder / "Bags.html").write_text("<p>other", encoding="utf-8")
    with pytest.raises(PairError, match=r"Bags.html was changed since it was opened"):
        source.read(2)
