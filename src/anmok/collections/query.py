"""Query arithmetic: `2:red bag + photo.jpg - leather` → weighted terms → one unit vector.

    query  = [sign] term { " + " term | " - " term }
    term   = [weight ":"] ( '"' anything '"' | words )
    weight = a number above zero, such as 2 or 0.5

A sign counts only between white space, so `t-shirt` and `black-and-white` stay whole. Quotes
protect what stands between them (`"salt + pepper"`, `"16:9 screen"`); a quote inside quotes is
written twice. A term that ends like a picture file (`photo.jpg`) is that picture.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from anmok.collections.folder import is_picture_name
from anmok.embeddings import Embeddings, unit
from anmok.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anmok.encoder import Encoder, Picture
    from anmok.scores import Terms

__all__ = ["Term", "combine", "format_query", "parse_query", "query_vector", "terms_of"]

SIGN = re.compile(r"(?:(?<=\s)|^)[+-](?=\s|$)")
WEIGHT = re.compile(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)[ \t]*:")
QUOTED = re.compile(r'"((?:[^"]|"")*)"')


@dataclass(frozen=True)
class Term:
    """One term: its words or the name of a picture file, and its weight (negative where it is subtracted)."""

    content: str
    weight: float = 1.0

    @property
    def is_picture(self) -> bool:
        """Whether the term ends like the name of a picture file."""
        return is_picture_name(self.content)


def parse_query(query: str) -> list[Term]:
    """Read a query into its terms. Looks at no file.

    >>> parse_query("2:red bag + photo.jpg - leather")
    [Term(content='red bag', weight=2.0), Term(content='photo.jpg', weight=1.0), Term(content='leather', weight=-1.0)]

    Raises:
        QueryError: the query cannot be read; shows where.
    """
    if not query.strip():
        raise QueryError("the query is empty: give words, a picture file, or both ('red bag + photo.jpg')")
    terms: list[Term] = []
    position = 0
    while True:
        position = _skip_space(query, position)
        sign = 1.0
        found = SIGN.match(query, position)
        if found:
            sign = -1.0 if found.group() == "-" else 1.0
            position = _skip_space(query, found.end())
        content, weight, position = _read_term(query, position)
        terms.append(Term(content, sign * weight))
        if position >= len(query):
            return terms


def format_query(terms: Sequence[Term]) -> str:
    """Write terms as a query that `parse_query` reads back to the same terms."""
    parts = []
    for term in terms:
        sign = "-" if term.weight < 0 else "+"
        weight = np.format_float_positional(abs(term.weight), trim="-")
        parts.append(f"{sign} {'' if weight == '1' else weight + ':'}{_quote_if_needed(term.content)}")
    return " ".join(parts).removeprefix("+ ")


def query_vector(query: str | Picture | Embeddings, encoder: Encoder) -> NDArray[np.float32]:
    """The unit vector [d] of a query.

    Args:
        query: a string (words, a picture file, or arithmetic of both), a picture (Path, bytes, PIL
            picture, uint8 array [h, w, 3]), or an Embeddings of one row.
        encoder: makes the vectors.

    Raises:
        QueryError: the query cannot be read, names a missing picture, or its terms cancel out.
        PictureError: a picture of the query cannot be used.
        FingerprintMismatch: an Embeddings of another encoder.
    """
    if isinstance(query, Embeddings):
        query.require(encoder.fingerprint)
        if len(query) != 1:
            raise QueryError(f"the query has {len(query)} embeddings, expected one: search for each by itself")
        return _row(query)
    if not isinstance(query, str):
        return _row(encoder.encode_image([query]))
    if is_picture_name(query) and _is_file(query):  # also where the file's own name holds a " - "
        return _row(encoder.encode_image([Path(query).expanduser()]))
    return _combine(parse_query(query), encoder)


def terms_of(query: str | Picture | Embeddings) -> Terms:
    """Weight and kind of each term of a query, which its score depends on (Embeddings are taken for a text's)."""
    if isinstance(query, Embeddings):
        return ((1.0, "text"),)
    if not isinstance(query, str) or (is_picture_name(query) and _is_file(query)):
        return ((1.0, "picture"),)
    terms = parse_query(query)
    if len(terms) == 1:  # its weight changes nothing
        return ((1.0, "picture" if terms[0].is_picture else "text"),)
    return tuple((term.weight, "picture" if term.is_picture else "text") for term in terms)


def _combine(terms: list[Term], encoder: Encoder) -> NDArray[np.float32]:
    pictures = [term.content for term in terms if term.is_picture]
    for picture in pictures:
        if not _is_file(picture):
            raise QueryError(f"the query names the picture {picture!r}, and there is no such file: {_near(picture)}")
    texts = [term.content for term in terms if not term.is_picture]
    picture_rows = iter(encoder.encode_image([Path(name).expanduser() for name in pictures])) if pictures else iter(())
    text_rows = iter(encoder.encode_text(texts)) if texts else iter(())
    vectors = np.stack([next(picture_rows if term.is_picture else text_rows) for term in terms])
    return combine(vectors, [term.weight for term in terms])


def combine(vectors: NDArray[np.float32], weights: Sequence[float]) -> NDArray[np.float32]:
    """The unit vector [d] of a query from those of its terms [n, d].

    Raises:
        QueryError: they cancel out.
    """
    factors = np.array(weights, np.float32)
    total = factors @ unit(vectors)
    if np.linalg.norm(total) < 1e-4 * np.abs(factors).sum():
        raise QueryError("the terms of the query cancel out: nothing is left to search for")
    vector: NDArray[np.float32] = unit(total[None])[0]
    return vector


def _row(embeddings: Embeddings) -> NDArray[np.float32]:
    vector: NDArray[np.float32] = embeddings.vectors[0]
    return vector


def _read_term(query: str, start: int) -> tuple[str, float, int]:
    """The term at `start`: its content, its weight, and where the next sign (or the end) stands."""
    weight, position = 1.0, start
    found = WEIGHT.match(query, start)
    if found:
        if found.group(1):
            _fail(query, start, f"a sign stands apart from its term: write '{found.group(1)} {found.group(2)}:…'")
        weight, position = float(found.group(2)), _skip_space(query, found.end())
        if not 0 < weight < 1e6:
            _fail(query, start, "a weight must be above 0 and below a million; put a '-' before a term to subtract it")
    if query.startswith('"', position):
        quoted = QUOTED.match(query, position)
        if quoted is None:
            _fail(query, position, "this quote is never closed")
        content = quoted.group(1).replace('""', '"')
        end = _skip_space(query, quoted.end())
        if end < len(query) and not (end > quoted.end() and SIGN.match(query, end)):
            _fail(query, quoted.end(), "after a closing quote comes ' + ', ' - ' or the end")
    else:
        sign = SIGN.search(query, position)
        end = sign.start() if sign else len(query)
        content = query[position:end].strip()
    if not content.strip():
        before = query[:start].rstrip()[-1:]
        _fail(query, start, f"nothing stands after {before!r}" if before in ("+", "-") and not found else "empty term")
    return content, weight, end


def _skip_space(query: str, position: int) -> int:
    while position < len(query) and query[position].isspace():
        position += 1
    return position


def _quote_if_needed(content: str) -> str:
    plain = content == content.strip() and not (
        content.startswith('"') or WEIGHT.match(content) or SIGN.search(content)
    )
    return content if plain else '"' + content.replace('"', '""') + '"'


def _fail(query: str, position: int, reason: str) -> NoReturn:
    """Raise, pointing at a place in the query (Hangul and the like are two columns wide)."""
    width = sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in query[:position])
    line = "".join(letter if letter.isprintable() else " " for letter in query)
    raise QueryError(f"cannot read the query at character {position + 1}: {reason}\n  {line}\n  {' ' * width}^")


def _is_file(name: str) -> bool:
    try:
        return Path(name).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL inside, or a home that is not known
        return False


def _near(name: str) -> str:
    from anmok.errors import did_you_mean

    try:
        names = [entry.name for entry in Path(name).expanduser().parent.iterdir()]
    except (OSError, ValueError, RuntimeError):
        names = []
    return "check the path." + did_you_mean(Path(name).name, names)
