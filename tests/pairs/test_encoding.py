"""Encodings: what a wrong one looks like, and what browsers make of a page."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.pairs.encoding import decode_page, guess_encoding, not_text

KOREAN = "나무 탁자 위의 빨간 가방"


@pytest.mark.parametrize(
    ("text", "encoding", "guess"),
    [
        (f"filepath\ttitle\n1.jpg\t{KOREAN}\n", "cp949", "cp949"),
        (f"filepath\ttitle\n1.jpg\t{KOREAN}\n", "utf-16", "utf-16"),
        ("filepath\ttitle\n1.jpg\ta bag\n", "utf-16-le", "utf-16-le"),
        ("filepath\ttitle\n1.jpg\tcafé crème\n", "latin-1", "latin-1"),
    ],
)
def test_encodings_are_guessed(text, encoding, guess):
    assert guess_encoding(text.encode(encoding)) == guess


def test_a_guess_is_not_spoilt_by_a_letter_that_is_cut(monkeypatch):
    data = (KOREAN + "\n").encode("cp949") * 20
    for most in range(100, 104):
        monkeypatch.setattr("anmok.pairs.encoding.SAMPLE", most)
        assert guess_encoding(data) == "cp949"


def test_the_reason_says_where_and_what_fits():
    data = f"ab{KOREAN}".encode("cp949")
    with pytest.raises(UnicodeDecodeError) as caught:
        data.decode()
    reason = not_text(data, caught.value, at=10)
    assert reason == "not UTF-8 at byte 12 (it looks like cp949): pass encoding='cp949', or save the file as UTF-8"


@pytest.mark.parametrize(
    ("page", "charset", "text"),
    [
        (f"<meta charset=utf-8>{KOREAN}".encode(), "", KOREAN),
        (f'<meta charset="euc-kr">{KOREAN}똠'.encode("cp949"), "", KOREAN + "똠"),  # 똠 is not in EUC-KR proper
        (
            f'<meta http-equiv="Content-Type" content="text/html; charset=ks_c_5601-1987">{KOREAN}'.encode("cp949"),
            "",
            KOREAN,
        ),
        (f"<meta charset=utf-8>{KOREAN}".encode("cp949"), "EUC-KR", KOREAN),  # HTTP wins
        (KOREAN.encode("utf-8-sig"), "latin-1", KOREAN),  # a byte-order mark wins over all
        (KOREAN.encode("utf-16"), "", KOREAN),
        (KOREAN.encode("utf-16-le"), "utf-16", KOREAN),
        (f"<meta charset=utf-16>{KOREAN}".encode(), "", KOREAN),  # it cannot be: the tag was read as bytes
        (KOREAN.encode("cp949"), "", KOREAN),
        (KOREAN.encode(), "", KOREAN),
        ("“café”".encode("cp1252"), "", "“café”"),
        ("<meta charset=iso-8859-1>“café”".encode("cp1252"), "", "“café”"),
        (f"<meta charset=klingon>{KOREAN}".encode(), "", KOREAN),
        (f"<meta charset=hex>{KOREAN}".encode(), "", KOREAN),
        (b"<meta charset=utf-8>caf\xe9", "", "caf\ufffd"),
    ],
)
def test_pages_are_decoded_as_browsers_do(page, charset, text):
    assert decode_page(page, charset).endswith(text)


@given(st.binary(max_size=200), st.sampled_from(["", "utf-8", "euc-kr", "nonsense", "utf-16"]))
def test_any_bytes_become_text(data, charset):
    assert isinstance(decode_page(data, charset), str)
