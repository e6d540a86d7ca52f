"""Bytes to text: as they are said to be, and what they look like where they are not.

Tables from Korean Excel are CP949, old Western ones Latin-1, "Unicode text" from Excel is UTF-16. None of them is
guessed in silence: a wrong guess trains on rubbish. The error says what fits.
Web pages are the exception, as in browsers: they say their encoding, or it is tried out.
"""

from __future__ import annotations

import codecs
import re
from contextlib import suppress

__all__ = ["decode_page", "guess_encoding", "not_text"]

SAMPLE = 1 << 16  # bytes that are looked at for a guess

# The encodings that browsers read under these names (https://encoding.spec.whatwg.org/#names-and-labels).
AS_BROWSERS = {
    "euc-kr": "cp949",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601-1989": "cp949",
    "ksc5601": "cp949",
    "korean": "cp949",
    "windows-949": "cp949",
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
    "ascii": "cp1252",
    "us-ascii": "cp1252",
    "shift_jis": "cp932",
    "x-sjis": "cp932",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-user-defined": "cp1252",
}
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_META = re.compile(rb"""<meta[^>]{0,500}?charset\s*=\s*["']?\s*([a-zA-Z0-9_:.-]{2,40})""", re.IGNORECASE)
_HANGUL = re.compile(r"[\uac00-\ud7a3]")


def guess_encoding(data: bytes) -> str:
    """The encoding that bytes which are not UTF-8 look like: "utf-16", "cp949", or "latin-1", which fits anything."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    sample = data[:SAMPLE]
    if sample[1::2].count(0) > len(sample) / 8:
        return "utf-16-le"
    whole = sample[: sample.rfind(b"\n") + 1] or sample  # not cut in the middle of a letter
    try:
        text = whole.decode("cp949")
    except UnicodeDecodeError:
        return "latin-1"
    return "cp949" if _HANGUL.search(text) else "latin-1"


def not_text(data: bytes, error: UnicodeDecodeError, *, at: int = 0) -> str:
    """Why `data`, which begins at byte `at` of its file, is no text, and what fits."""
    fits = guess_encoding(data)
    looks = "as nothing else fits, perhaps" if fits == "latin-1" else "it looks like"
    said = error.encoding.upper().removesuffix("-SIG")
    return f"not {said} at byte {at + error.start} ({looks} {fits}): pass encoding={fits!r}, or save the file as UTF-8"


def decode_page(data: bytes, charset: str = "") -> str:
    """The text of a web page: by byte-order mark, HTTP charset, `<meta charset>`, else by what fits.

    What does not fit in the end becomes U+FFFD, as in browsers.
    """
    for mark, name in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    found = _META.search(data[:4096])
    declared = charset or (found[1].decode("ascii") if found else "")
    if declared:
        name = AS_BROWSERS.get(declared.strip().lower(), declared.strip().lower())
        if name.startswith("utf-16") and not charset:  # a page whose <meta> could be read as bytes is not UTF-16
            name = "utf-8"
        with suppress(LookupError):  # a charset that nobody knows
            return data.decode(name, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp949" if guess_encoding(data) == "cp949" else "cp1252", "replace")
