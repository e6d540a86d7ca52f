"""What a caller may say about the sources that are opened; checked once, before any file is touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anmok.errors import did_you_mean
from anmok.pairs.pair import SourceError
from anmok.texts import load_templates

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["KINDS", "Options", "checked"]

KINDS = ("shards", "table", "folder", "huggingface", "pages", "warc")
"""Kinds of sources: WebDataset tars; CSV and TSV; a folder per class; the layouts of Hugging Face datasets (a
metadata file beside the pictures, Parquet); saved web pages; web archives."""

IMAGE_KEY, TEXT_KEY = "filepath", "title"  # open_clip's; another kind of source has its own where they are not there


@dataclass(frozen=True)
class Options:
    """How to read: names of columns, how a table is separated, templates for class names, encoding of texts."""

    image_key: str = IMAGE_KEY
    text_key: str = TEXT_KEY
    separator: str = "\t"
    templates: tuple[str, ...] = ("{}",)
    encoding: str = "utf-8"

    @property
    def named_text(self) -> str:
        """The text column, where the caller named one."""
        return "" if self.text_key == TEXT_KEY else self.text_key


def checked(
    kind: str, *, image_key: str, text_key: str, separator: str, templates: str | Path, encoding: str
) -> Options:
    """The options, once they make sense.

    Raises:
        SourceError: one does not; says which.
        LabelError: there are no such templates.
    """
    if kind not in ("auto", *KINDS):
        known = ", ".join(("auto", *KINDS))
        raise SourceError(f"kind={kind!r} is not a kind of source.{did_you_mean(kind, KINDS)} Known: {known}")
    if len(separator) != 1 or separator in '"\r\n':
        raise SourceError(f"separator={separator!r}: expected one character, such as ',' or a tab")
    try:
        "a".encode(encoding)
    except LookupError:
        raise SourceError(f"encoding={encoding!r} is not an encoding; try 'utf-8', 'cp949' or 'utf-16'") from None
    return Options(image_key, text_key, separator, load_templates(templates), encoding)
