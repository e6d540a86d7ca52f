"""Addresses of pictures: what is read out of them, what is refused, and what messages show."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anmok.serve.picture_url import PictureUrl, Refused, parse, shown

ADDRESS_LIKE = st.text("htps:/@[]%.\\?#０1fFx-_~ é。\t\u200b\ud800", max_size=40).map(lambda text: "http://" + text)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a.test", PictureUrl("http", "a.test", 80, "/")),
        ("HTTPS://A.Test./b%20c.png?d=e#f", PictureUrl("https", "a.test", 443, "/b%20c.png?d=e")),
        ("http://a.test:8080/é.png?ü", PictureUrl("http", "a.test", 8080, "/%C3%A9.png?%C3%BC")),
        ("http://a.test:/", PictureUrl("http", "a.test", 80, "/")),
        ("http://my_bucket.a.test/", PictureUrl("http", "my_bucket.a.test", 80, "/")),
        ("http://안목.한국/", PictureUrl("http", "xn--w52b77q.xn--3e0b707e", 80, "/")),
        ("http://faß.test/", PictureUrl("http", "xn--fa-hia.test", 80, "/")),
        ("https://[2606:4700:0::1]:444/", PictureUrl("https", "2606:4700::1", 444, "/")),
    ],
)
def test_address_is_taken_apart(url, expected):
    assert parse(url) == expected


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("http://a.test:80", "a.test"),
        ("https://a.test:80", "a.test:80"),
        ("http://[2606:4700::1]", "[2606:4700::1]"),
        ("https://[2606:4700::1]:444", "[2606:4700::1]:444"),
    ],
)
def test_host_header(url, authority):
    assert parse(url).authority == authority


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "does not begin with http"),
        ("a.png", "does not begin with http"),
        ("//a.test/a.png", "does not begin with http"),
        ("file:///etc/passwd", "does not begin with http"),
        ("ftp://a.test/a.png", "does not begin with http"),
        ("gopher://a.test/_x", "does not begin with http"),
        ("javascript:alert(1)", "does not begin with http"),
        ("http:", "no valid host and port"),
        ("http:a.test", "no valid host and port"),
        ("http:/a.test", "no valid host and port"),
        ("http:///a.test", "no valid host and port"),
        ("http://.", "no valid host and port"),
        ("http://a..test", "no valid host and port"),
        ("http://.a.test", "no valid host and port"),
        ("http://a.test..", "no valid host and port"),
        ("http://a.test:x/", "no valid host and port"),
        ("http://a.test:-1/", "no valid host and port"),
        ("http://a.test:１/", "no valid host and port"),
        ("http://a.test:80:80/", "no valid host and port"),
        ("http://%31.test/", "no valid host and port"),
        ("http://a.test%00/", "no valid host and port"),
        ("http://a%2etest/", "no valid host and port"),
        ("http://[::1/", "no valid host and port"),
        ("http://::1/", "no valid host and port"),
        ("http://[::1]x/", "no valid host and port"),
        ("http://x[::1]/", "no valid host and port"),
        ("http://[a.test]/", "no valid host and port"),
        ("http://[v1.x]/", "no valid host and port"),
        ("http://[fe80::1%25eth0]/", "no valid host and port"),
        ("http://[fe80::1%eth0]/", "no valid host and port"),
        ("http://[1.2.3.4]/", "no valid host and port"),
        ("http://a,b.test/", "no valid host and port"),
        ("http://a℀b.test/", "no valid host and port"),  # which stands for a/c
        ("http://\u00ad.test/", "control character"),  # a hyphen that is not there
        (f"http://{'a' * 64}.test/", "no valid host and port"),
        (f"http://{'a.' * 130}test/", "no valid host and port"),
        (f"http://{'é' * 250}/", "no valid host and port"),
        ("http://me@a.test/", "has a user name"),
        ("http://me:secret@a.test/", "has a user name"),
        ("http://@a.test/", "has a user name"),
        ("http://a.test\\@b.test/", "a backslash"),
        ("http://a.test/a b", "has a space"),
        (" http://a.test/", "has a space"),
        ("http://a.test/\r\nX: y", "a control character"),
        ("ht\ntp://a.test/", "a control character"),
        ("http://a.test/\x00", "a control character"),
        ("http://a.test/\ud800", "a control character"),
        ("http://a.test/\u202egnp.a", "a control character"),
        (f"http://a.test/{'a' * 2048}", "longer than 2048 characters"),
    ],
)
def test_what_is_refused(url, reason):
    with pytest.raises(Refused, match=reason):
        parse(url)


@given(ADDRESS_LIKE | st.text(max_size=60))
@example("http://[::ffff:1.2.3.4]:")
@example("http://１２７。０。0.1")
def test_any_text_is_an_address_for_good_or_refused(url):
    try:
        place = parse(url)
    except Refused:
        return
    assert parse(str(place)) == place
    assert re.fullmatch(r"[a-z0-9_.:-]{1,253}", place.host)
    assert re.fullmatch(r"/[!-~]*", place.target)


@given(ADDRESS_LIKE)
def test_any_redirect_leads_somewhere_or_is_refused(location):
    try:
        place = parse(location.removeprefix("http://"), parse("https://a.test/b/c?d"))
    except Refused:
        return
    assert parse(str(place)) == place


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("d.png", "https://a.test/b/d.png"),
        ("/d.png", "https://a.test/d.png"),
        ("//b.test/d.png", "https://b.test/d.png"),
        ("http://b.test/d.png", "http://b.test/d.png"),
        ("?e", "https://a.test/b/c?e"),
        ("#e", "https://a.test/b/c?d"),
        ("../../..", "https://a.test/"),
    ],
)
def test_redirects_may_be_relative(location, expected):
    assert str(parse(location, parse("https://a.test/b/c?d"))) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a.test/b.png?signature=secret#c", "http://a.test/b.png"),
        ("http://me:secret@a.test/b.png", "http://a.test/b.png"),
        ("http://me:secret@x@a.test/b@c.png", "http://a.test/b@c.png"),
        ("http://a.test/" + "b" * 200, "http://a.test/" + "b" * 86 + "…"),
        ("http://a.test/\r\nb", r"'http://a.test/\r\nb'"),
        ("", "''"),
    ],
)
def test_what_messages_show(url, expected):
    assert shown(url) == expected
