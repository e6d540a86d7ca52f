"""Web pages: which pictures, and what is said of them."""

import base64
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.errors import MissingExtra
from anmok.pairs.addresses import data_bytes
from anmok.pairs.html import PageError, read_page

from .making import PNG

DATA = "data:image/png;base64," + base64.b64encode(PNG * 4).decode()


def one(html):
    (found,) = read_page(html.encode()).found
    return found


def test_texts_in_order_with_what_each_is():
    html = """<!doctype html><html lang="ko"><title> The  page </title><h1>First</h1><p id=by>by <b>A</b>nn</p>
      <figure class=f><div><a href=x><img src="a.jpg" alt=" a red\n bag " title="Bag" aria-label="label"
      aria-labelledby="by nobody"></a></div><figcaption>A bag,<br>red</figcaption></figure>"""
    found = one(html)
    assert found.addresses == ("a.jpg",)
    assert found.texts == ("a red bag", "Bag", "A bag, red", "label", "by Ann")
    assert found.facts == {
        "page_title": "The page",
        "heading": "First",
        "lang": "ko",
        "texts_from": ["alt", "title", "figcaption", "aria-label", "aria-labelledby"],
    }


@pytest.mark.parametrize(
    "html",
    [
        '<div class="wp-caption"><img src=a.jpg><p class="wp-caption-text">A red bag</p></div>',
        '<div><a href=x><img src=a.jpg></a> <div class="thumbcaption"><style>x</style>A red bag</div>',
        "<figure><picture><source srcset=b.webp><img src=a.jpg></picture><figcaption>A red bag</figcaption></figure>",
    ],
)
def test_captions_beside_pictures(html):
    assert one(html).texts == ("A red bag",)


def test_heading_and_title_are_the_last_resort():
    page = "<title>Page</title><img src=1.jpg><h1>One</h1><h2>Two</h2><img src=2.jpg alt=''><img src=3.jpg alt=three>"
    first, second, third = read_page(page.encode()).found
    assert (first.texts, first.facts["texts_from"]) == (("Page",), ["page_title"])
    assert (second.texts, second.facts["texts_from"]) == (("Two",), ["heading"])
    assert (third.texts, third.facts["heading"]) == (("three",), "Two")
    page = read_page(b"<img src=1.jpg>")
    assert (page.found, page.left_out) == ([], {"no text": 1})


@pytest.mark.parametrize(
    ("tag", "kind"),
    [
        ("<img src=a.gif width=1 height=1 alt=x>", "tracking pixel"),
        ("<img src=a.gif alt=x style='border:0;width:1px;height:1px'>", "tracking pixel"),
        ("<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw=' alt=x>", "tracking pixel"),
        ("<img src=a.png width=32 height=32 alt=x>", "icon"),
        ("<img src=a.png height='16px' alt=x>", "icon"),
        ("<img src=a.svg?v=2 alt=x>", "svg"),
        ("<img src='data:image/svg+xml;utf8,<svg/>' alt=x>", "svg"),
        ("<img src=img/sprites.png alt=x>", "sprite"),
        ("<img src=a.png class='icon-sprite' alt=x>", "sprite"),
        ("<img alt=x>", "no address"),
        ("<img src='' alt=x>", "no address"),
    ],
)
def test_pictures_that_say_nothing_are_left_out_and_counted(tag, kind):
    page = read_page(f"{tag}<img src=good.jpg alt=good width=33 height='100%'>".encode())
    assert [found.texts for found in page.found] == [("good",)]
    assert page.left_out == {kind: 1}


@pytest.mark.parametrize(
    ("tag", "addresses"),
    [
        ("<img alt=x src=p.gif data-src=real.jpg>", ("real.jpg", "p.gif")),
        ("<img alt=x src='data:image/gif,A' data-original=real.jpg>", ("real.jpg", "data:image/gif,A")),
        ("<img alt=x src=s.jpg srcset='s.jpg 1x, l.jpg 3x,m.jpg 2x'>", ("l.jpg", "m.jpg", "s.jpg")),
        ("<img alt=x srcset='a.jpg 480w, b.jpg 1080w'>", ("b.jpg", "a.jpg")),
        ("<img alt=x srcset='a.jpg, b.jpg oddw'>", ("a.jpg", "b.jpg")),
        ("<picture><source srcset='w.webp'><img alt=x src=a.jpg></picture>", ("a.jpg", "w.webp")),
        ("<picture><source srcset='w.svg'><img alt=x src=a.jpg></picture>", ("a.jpg",)),
        ("<img alt=x src=' a\nb.jpg '>", ("ab.jpg",)),
        (f"<img alt=x src='{'a' * 5000}' data-src=b.jpg>", ("b.jpg",)),
    ],
)  # fmt: skip
def test_addresses_the_likeliest_first(tag, addresses):
    assert one(tag).addresses == addresses


def test_a_picture_shown_twice_is_one_with_both_texts():
    page = "<h1>H</h1><img src=a.jpg><img src=a.jpg alt=one><noscript><img src=a.jpg alt=two></noscript>"
    assert one(page).texts == ("one", "two")


def test_long_texts_are_no_captions():
    page = f"<title>t</title><img src=a.jpg alt='{'x' * 3000}'><figure><img src=b.jpg><figcaption>{'<b>x</b>' * 600}"
    assert [found.facts["texts_from"] for found in read_page(page.encode()).found] == [["page_title"]] * 2


@pytest.mark.parametrize(
    ("address", "data"),
    [
        (DATA, PNG * 4),
        ("data:image/png;base64, aGk= ", b"hi"),
        ("data:image/png,a%20b", b"a b"),
        ("data:image/png;base64,%%%", b""),
        ("data:image/png;base64,A", None),
        ("data:text/html,x", None),
        ("data:image/svg+xml,x", None),
        ("data:image/png;base64", None),
        ("a.png", None),
    ],
)
def test_embedded_pictures(address, data):
    assert data_bytes(address) == data


@pytest.mark.parametrize(
    "page",
    [
        "<div>" * 200_000,  # minutes in a parser that follows the standard
        "<br>" * 600_000,
        "<p " + " ".join(f"a{n}=1" for n in range(100_000)) + ">",  # hours
        '<p x="\'>" ' + "/".join(f"a{n}" for n in range(100_000)) + ">",
        "<p>" + "".join(f"<b id={n}>" for n in range(2000)) + "</p>" + "<p>x</p>" * 20_000,  # gigabytes
    ],
)
def test_pages_made_to_exhaust_a_parser_are_refused_at_once(page):
    start = time.process_time()
    with pytest.raises(PageError, match="no page is like this"):
        read_page((page + "<img src=a.jpg alt=x>").encode())
    assert time.process_time() - start < 2


def test_large_pages_are_read():
    text = "a word and " * 50_000
    page = f"<script>{text}</script><p class='x y'>{text}</p><!-- {text} --><img alt=x src={DATA}{'A/' * 100_000}>"
    assert one(page).texts == ("x",)


def test_pages_and_their_pictures_have_limits(monkeypatch):
    monkeypatch.setattr("anmok.pairs.html.MOST_PICTURES", 2)
    page = read_page(b"".join(b"<img src=%d.jpg alt=x>" % number for number in range(5)))
    assert (len(page.found), page.left_out) == (2, {"too many": 3})
    monkeypatch.setattr("anmok.pairs.html.MOST_PAGE_BYTES", 10)
    with pytest.raises(PageError, match="are more than a page can have"):
        read_page(bytes(11))


TAGS = [
    "<p>",
    "</p>",
    "<img src=a.jpg alt=x>",
    "<figure>",
    "<figcaption>",
    "<h1>",
    "<table>",
    "<svg>",
    "<a>",
    "&",
    "<!--",
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(TAGS) | st.text(max_size=4), max_size=12).map("".join) | st.binary(max_size=60))
def test_any_page_gives_texts_that_are_not_empty(page):
    data = page if isinstance(page, bytes) else page.encode("utf-8", "surrogatepass")
    for found in read_page(data).found:
        assert found.addresses
        assert found.texts
        assert all(text == " ".join(text.split()) and text for text in found.texts)


def test_without_selectolax_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "selectolax.lexbor", None)
    with pytest.raises(MissingExtra, match=r"reading web pages needs selectolax.*pip install 'anmok\[web\]'"):
        read_page(b"")
