"""Small archives, tables and pages for the tests of this room."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
from collections import Counter

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc0000003010100"
    "c9fe92ef0000000049454e44ae426082"
)  # one red pixel
JPEG = b"\xff\xd8\xff\xe0" + bytes(40)  # starts as one; nothing in this room decodes


def write_tar(path, members, *, format=tarfile.USTAR_FORMAT):
    """An archive of (name, bytes), or of whole TarInfos."""
    with tarfile.open(path, "w", format=format) as archive:
        for name, data in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def pair_files(count, *, suffix=".jpg", start=0, size=40):
    """Members of pairs with a text, and a picture that holds its number."""
    for number in range(start, start + count):
        yield f"k{number:03d}{suffix}", JPEG + str(number).encode().rjust(size)
        yield f"k{number:03d}.txt", f"text {number}".encode()


def write_table(path, rows, *, separator="\t", encoding="utf-8"):
    """A table of rows, the first of them the header."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator).writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def write_files(folder, names, data=PNG):
    """Files of those names, with folders as needed."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def write_lines(path, records):
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def warc_record(address, body, *, kind="response", content="text/html", status="200 OK", http=(), warc=()):
    """One WARC record, as a crawler writes it."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content}", *(f"{name}: {value}" for name, value in http)]
    block = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    head = [
        "WARC/1.0",
        f"WARC-Type: {kind}",
        f"WARC-Target-URI: {address}",
        "WARC-Date: 2026-01-01T00:00:00Z",
        "WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-000000000000>",
        "Content-Type: application/http; msgtype=response",
        *(f"{name}: {value}" for name, value in warc),
        f"Content-Length: {len(block)}",
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + block + b"\r\n\r\n"


def write_warc(path, records):
    """An archive of records, each packed on its own where the name ends in .gz."""
    pack = gzip.compress if path.name.endswith(".gz") else bytes
    path.write_bytes(b"".join(pack(record) for record in records))
    return path


def kinds(source):
    """How many problems there are of each kind."""
    counts = Counter()
    for problem in source.problems:
        counts[problem.kind] += problem.count
    return dict(counts)


SITE = "https://example.kr/shop/"
PAGE = """<meta charset=utf-8><title>Shop</title><img src="red bag.jpg" alt="빨간 가방">
<img src="//cdn.example.kr/blue.png#top" alt="a blue bag"><img src="gone.jpg" alt="gone">
<img src="/moved" alt="moved">"""
RECORDS = [
    warc_record("urn:info", b"", kind="warcinfo"),
    warc_record(SITE, PAGE.encode(), content="text/html; charset=utf-8"),
    warc_record(SITE + "red%20bag.jpg", JPEG, content="image/jpeg"),
    warc_record("http://cdn.example.kr:80/blue.png", PNG, content="image/png"),
    warc_record("https://example.kr/moved", b"", status="301 Moved", http=[("Location", "/shop/red%20bag.jpg")]),
    warc_record(SITE + "404.jpg", JPEG, content="image/jpeg", status="404 Not Found"),
]
