"""What a web page says of its pictures.

This is how CLIP's own pairs were gathered: pictures of the web with the words beside them (Radford et al. 2021,
arXiv 2103.00020, section 2.2), and ALIGN's, whose words are the alt texts alone (Jia et al. 2021, arXiv 2102.05918,
section 3). Pages are parsed by lexbor through selectolax (MIT, engine Apache-2.0): the tree that a browser builds,
8 MB on disk. lxml is as fast and takes 12 MB; Beautiful Soup takes forty times as long.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anmok.errors import MissingExtra
from anmok.pairs.addresses import attribute, is_embedded, is_svg, picture_addresses
from anmok.pairs.encoding import decode_page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selectolax.lexbor import LexborHTMLParser, LexborNode

__all__ = ["Found", "Page", "PageError", "read_page"]

SMALL, TINY = 32, 3  # pixels; what is declared no larger than these is an icon, or is there to count visitors
MOST_PAGE_BYTES = 64 << 20
MOST_PICTURES = 10_000  # of one page
MOST_OPEN = 20_000  # elements; the parser's time grows with the square of it (20,000: under a second)
MOST_TAGS = 500_000
MOST_ATTRIBUTES = 20_000  # of one element; the square again
MOST_COPIES = 2_000_000  # elements that unclosed formatting can grow to, some 360 bytes each
MOST_PARENTS = 20  # how far up a figure is looked for
MOST_TEXT, MOST_NODES = 2000, 500  # characters and nodes; a longer "caption" is the page itself
PLACEHOLDER = 200  # characters of a `data:` address that stands where a script will put a picture
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
BREAKS = {"br", "p", "div", "li", "td", "tr", "dd", "dt", *HEADINGS}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
FORMATTING = {"a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"}
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
_FORMATTING = re.compile(rf"<(?:{'|'.join(sorted(FORMATTING))})\b", re.IGNORECASE)
_START_TAG = re.compile(r"""/?[a-zA-Z][\w:-]*(?:\s+[\w:-]+(?:=(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>`=]+))?)*\s*/?>|[!?]""")
_PIXELS = re.compile(r"\s*(\d{1,6})(?:\.\d+)?\s*(?:px)?\s*")
_STYLE = re.compile(r"(?:^|;)\s*(?:width|height)\s*:\s*(\d{1,6})(?:\.\d+)?px", re.IGNORECASE)


class PageError(Exception):
    """A page cannot be read: `kind` and reason, as problems have them."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


@dataclass(frozen=True)
class Found:
    """A picture of a page.

    `addresses`: as the page has them, the likeliest first; `texts`: what is said of it, the most literal first.
    `facts`: page_title, heading, lang, and `texts_from`, what each text is ("alt", "figcaption", …).
    """

    addresses: tuple[str, ...]
    texts: tuple[str, ...]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Page:
    """The pictures of a page in order, `<base href>`, and how many pictures were left out, by kind."""

    found: list[Found]
    base: str = ""
    left_out: Counter[str] = field(default_factory=Counter)


def read_page(data: bytes, *, charset: str = "") -> Page:
    """Find the pictures of a page and what it says of them.

    Of each `<img>`, in this order: alt, title, the figure's caption, aria-label, aria-labelledby, an element near it
    whose class says that it is a caption (WordPress, Wikipedia). Only where there is none of these, the nearest
    heading before it, or the title of the page. Tracking pixels, icons (declared at most 32 pixels), sprites and SVG
    are left out and counted. A picture that a page shows twice is one, with the texts of both.

    Args:
        data: the page, in any encoding.
        charset: what HTTP says of the encoding.

    Raises:
        PageError: too large, or made to exhaust a parser.
        MissingExtra: selectolax is not installed.
    """
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError as error:
        raise MissingExtra("selectolax", "web", "reading web pages") from error
    if len(data) > MOST_PAGE_BYTES:
        raise PageError("too large", f"{len(data):,} bytes are more than a page can have ({MOST_PAGE_BYTES:,})")
    text = decode_page(data, charset)
    _refuse_bombs(text)
    return _Reader(LexborHTMLParser(text)).page()


class _Picture:
    """A picture while its page is read: what is said of it, by where that stood, and the heading before it."""

    def __init__(self, addresses: list[str], heading: str) -> None:
        self.addresses = addresses
        self.said: dict[str, str] = {}
        self.heading = heading


class _Reader:
    """Goes through a page once, in the order of its elements."""

    def __init__(self, tree: LexborHTMLParser) -> None:
        self.tree = tree
        self.title = _text(tree.css_first("head title"))
        self.left_out: Counter[str] = Counter()
        self._by_id: dict[str, LexborNode] | None = None
        self._labels: dict[str, str] = {}  # texts of elements by id, and below of figures by their place in memory:
        self._captions: dict[int, str] = {}  # each is read once, however many pictures point to it

    def page(self) -> Page:
        pictures: dict[str, _Picture] = {}
        heading = ""
        headings: list[LexborNode] = []  # since the last picture; most are before none
        for node in self.tree.css(", ".join((*HEADINGS, "img"))):
            if node.tag in HEADINGS:
                headings.append(node)
                continue
            if len(pictures) >= MOST_PICTURES:
                self.left_out["too many"] += 1
                continue
            addresses = picture_addresses(node)
            kind = _useless(node, addresses)
            if kind:
                self.left_out[kind] += 1
                continue
            heading = next(filter(None, map(_text, reversed(headings))), heading)
            headings.clear()
            usable = [address for address in addresses if not is_svg(address)]
            picture = pictures.setdefault(usable[0], _Picture(usable, heading))
            for where, text in self._said(node):
                picture.said.setdefault(text, where)
        found = [self._found(picture) for picture in pictures.values()]
        self.left_out["no text"] += sum(not picture.texts for picture in found)
        base = self.tree.css_first("base[href]")
        return Page(
            [picture for picture in found if picture.texts], attribute(base, "href") if base else "", +self.left_out
        )

    def _said(self, node: LexborNode) -> Iterator[tuple[str, str]]:
        """(where it stands, text) of everything that is said of one picture."""
        labelled = " ".join(self._label(name) for name in attribute(node, "aria-labelledby").split()[:10])
        found = (
            ("alt", attribute(node, "alt")),
            ("title", attribute(node, "title")),
            ("figcaption", self._figcaption(node)),
            ("aria-label", attribute(node, "aria-label")),
            ("aria-labelledby", labelled),
            ("caption", _text(_caption_beside(node))),
        )
        for where, text in found:
            plain = " ".join(text.split())
            if 0 < len(plain) <= MOST_TEXT:
                yield where, plain

    def _figcaption(self, node: LexborNode) -> str:
        parent = node.parent
        for _ in range(MOST_PARENTS):
            if parent is None:
                break
            if parent.tag == "figure":
                if parent.mem_id not in self._captions:
                    self._captions[parent.mem_id] = _text(parent.css_first("figcaption"))
                return self._captions[parent.mem_id]
            parent = parent.parent
        return ""

    def _label(self, name: str) -> str:
        if self._by_id is None:
            self._by_id = {}
            for node in self.tree.css("[id]"):
                self._by_id.setdefault(attribute(node, "id"), node)
        if name not in self._labels:
            self._labels[name] = _text(self._by_id.get(name))
        return self._labels[name]

    def _found(self, picture: _Picture) -> Found:
        said = picture.said
        if not said:
            context = (("heading", picture.heading), ("page_title", self.title))
            said = next(({text: where} for where, text in context if text), {})
        root = self.tree.css_first("html")
        facts = {
            "page_title": self.title,
            "heading": picture.heading,
            "lang": attribute(root, "lang") if root else "",
            "texts_from": [*said.values()],
        }
        return Found(tuple(picture.addresses), tuple(said), {name: fact for name, fact in facts.items() if fact})


def _refuse_bombs(text: str) -> None:
    """Refuse pages that a parser, which must follow the standard, takes minutes or gigabytes for."""
    tags, formatting = len(_TAG.findall(text)), len(_FORMATTING.findall(text))
    if tags > MOST_TAGS:
        raise PageError("too deep", f"{tags:,} tags: no page is like this")
    if tags > MOST_OPEN or formatting * tags > MOST_COPIES:
        deepest, formatting = _most_open(text)
        if deepest > MOST_OPEN or formatting * tags > MOST_COPIES:
            raise PageError("too deep", f"{tags:,} tags, up to {deepest:,} open at once: no page is like this")
    for piece in text.split("<")[1:]:
        if len(piece) > 2 * MOST_ATTRIBUTES:
            tag = _START_TAG.match(piece)  # where it is certain; what follows it is text then
            parts = len(tag[0].split()) if tag else len(piece.split()) + piece.count("/")
            if parts > MOST_ATTRIBUTES:
                raise PageError("too deep", f"an element of some {parts:,} attributes: no page is like this")


def _most_open(text: str) -> tuple[int, int]:
    """How many elements, and how many formatting ones, are open at once at most."""
    depth = deepest = formatting = most_formatting = 0
    for found in _TAG.finditer(text):
        name = found[2].lower()
        step = 0 if name in VOID else -1 if found[1] else 1
        depth = max(0, depth + step)
        deepest = max(deepest, depth)
        if name in FORMATTING:
            formatting = max(0, formatting + step)
            most_formatting = max(most_formatting, formatting)
    return deepest, most_formatting


def _text(node: LexborNode | None) -> str:
    """The text of an element as it is read: breaks are spaces, white space is one; "" where it is no short text."""
    if node is None:
        return ""
    parts: list[str] = []
    for number, part in enumerate(node.traverse(include_text=True)):
        if number == MOST_NODES:
            return ""
        if part.tag in BREAKS:
            parts.append(" ")
        elif part.tag == "-text" and (part.parent is None or part.parent.tag not in ("script", "style")):
            parts.append(part.text_content or "")
    text = " ".join("".join(parts).split())
    return text if len(text) <= MOST_TEXT else ""


def _caption_beside(node: LexborNode) -> LexborNode | None:
    """An element whose class says that it is a caption, right behind the picture or what it is wrapped in."""
    level: LexborNode | None = node
    for _ in range(3):
        beside = level.next if level is not None else None
        for _ in range(4):
            if beside is not None and beside.tag != "-text" and "caption" in attribute(beside, "class").lower():
                return beside
            beside = beside.next if beside is not None else None
        level = level.parent if level is not None else None
    return None


def _useless(node: LexborNode, addresses: list[str]) -> str:
    """The kind of picture that says nothing, or ""."""
    if not addresses:
        return "no address"
    declared = [found[1] for name in ("width", "height") if (found := _PIXELS.fullmatch(attribute(node, name)))]
    pixels = min((int(size) for size in declared + _STYLE.findall(attribute(node, "style"))), default=SMALL + 1)
    if pixels <= SMALL:
        return "tracking pixel" if pixels <= TINY else "icon"
    if all(is_svg(address) for address in addresses):
        return "svg"
    if all(is_embedded(address) and len(address) < PLACEHOLDER for address in addresses):
        return "tracking pixel"
    names = (address.partition("?")[0].rpartition("/")[2] for address in addresses if not is_embedded(address))
    if any("sprite" in name.lower() for name in (*names, attribute(node, "class"))):
        return "sprite"
    return ""
