"""Where the picture of an `<img>` may be: scripts, sets of sizes, and pages that hold it themselves."""

from __future__ import annotations

import binascii
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

__all__ = ["attribute", "data_bytes", "is_embedded", "is_svg", "picture_addresses"]

LAZY = ("data-src", "data-original", "data-lazy-src", "data-lazy")  # where scripts keep the address
MOST_SOURCES = 20  # of a <picture>
MOST_ADDRESS = 4096  # characters, unless it is the picture itself


def picture_addresses(node: LexborNode) -> list[str]:
    """Where the picture may be: what scripts would load, the largest of a set, then `src`; embedded bytes last."""
    given = [attribute(node, name) for name in LAZY]
    given += _srcset(attribute(node, "data-srcset")) + _srcset(attribute(node, "srcset"))
    given.append(attribute(node, "src"))
    if node.parent is not None and node.parent.tag == "picture":
        for source in islice(node.parent.iter(), MOST_SOURCES):
            if source.tag == "source":
                given += _srcset(attribute(source, "data-srcset") or attribute(source, "srcset"))
    plain = dict.fromkeys("".join(address.split("\n")).strip() for address in given)
    outside = [address for address in plain if address and not is_embedded(address) and len(address) <= MOST_ADDRESS]
    return outside + [address for address in plain if is_embedded(address)]


def is_embedded(address: str) -> bool:
    """Whether an address is the picture itself (`data:`)."""
    return address[:5].lower() == "data:"


def is_svg(address: str) -> bool:
    """Whether an address is that of a drawing in SVG."""
    if is_embedded(address):
        return address[:18].lower().startswith("data:image/svg")
    return address.partition("#")[0].partition("?")[0].lower().endswith((".svg", ".svgz"))


def data_bytes(address: str) -> bytes | None:
    """The bytes of a `data:` address of a picture; None where it is none, or SVG."""
    head, comma, body = address.partition(",")
    if not comma or not head.lower().startswith("data:image/") or "svg" in head.lower():
        return None
    raw = unquote_to_bytes(body)
    if not head.lower().rstrip().endswith(";base64"):
        return raw
    try:
        return binascii.a2b_base64(raw.translate(None, b" \t\r\n\f"))
    except binascii.Error:
        return None


def attribute(node: LexborNode, name: str) -> str:
    """An attribute of an element, "" where it has none."""
    return node.attributes.get(name) or ""


def _srcset(text: str) -> list[str]:
    """The addresses of a `srcset`, largest first."""
    found: list[tuple[float, str]] = []
    address = ""
    for part in text.split():
        if not address:
            address = part.strip(",")
            if part.endswith(","):
                found.append((1.0, address))
                address = ""
            continue
        descriptor, _, following = part.partition(",")
        try:
            found.append((float(descriptor[:-1]), address))
        except ValueError:
            found.append((1.0, address))
        address = following
    found += [(1.0, address)] if address else []
    return [address for _, address in sorted(found, key=lambda candidate: -candidate[0])]
