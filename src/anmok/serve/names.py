"""Names from outside → files inside: what a name may be, and where its file lies."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import Path
from typing import Any, TypeVar, cast

from anmok.serve.problems import ApiError

__all__ = ["checked_name", "resolved", "sendable", "sent", "upload_file"]

Value = TypeVar("Value")
NAME = re.compile(r"[\w][\w.-]{0,63}")  # letters of any script, digits, _ . -
LONGEST_PART = 200  # bytes of a folder or file name; some more are for endings
LONGEST_ID = 512  # characters
SPELT = re.compile(r"\\u(dc[89a-f][0-9a-f])")  # a byte of a file name, as Python writes what is no text
UNSAFE = re.compile(r'[\x00-\x1f\x7f%<>:"|?*\\]|^\.|[. ]$')


def checked_name(name: str) -> str:
    """A name of a collection or a label set, in one spelling.

    Raises:
        ApiError: it cannot be one (422).
    """
    name = unicodedata.normalize("NFC", name)
    if not NAME.fullmatch(name) or name.endswith(".") or len(name.encode()) > LONGEST_PART:
        raise ApiError(422, "a name has 1 to 64 letters, digits, '_', '-' or '.', and begins with a letter or a digit")
    return name


def upload_file(folder: Path, number: str) -> Path:
    """The file of an uploaded picture: different ids have different files, all of them below the folder.

    Raises:
        ApiError: it cannot be an id (422).
    """
    if not number or len(number) > LONGEST_ID or number != number.strip() or not number.isprintable():
        raise ApiError(422, f"an id has 1 to {LONGEST_ID} printable characters, and no space around it")
    parts = number.split("/")
    if "" in parts:
        raise ApiError(422, "an id may have folders, as in bags/1.jpg, but none without a name")
    safe = [UNSAFE.sub(lambda found: f"%{ord(found.group()):02X}", part) for part in parts]
    if any(len(part.encode("utf-8", "replace")) > LONGEST_PART for part in safe) or len(safe) > 8:
        safe = ["%long", hashlib.sha256(number.encode("utf-8", "surrogatepass")).hexdigest()]
    return folder.joinpath(*safe)


def resolved(path: Path, folder: Path) -> Path | None:
    """A file or folder with all links followed, if it lies in the folder then; None otherwise."""
    try:
        found = path.resolve(strict=True)
        return found if found.is_relative_to(folder.resolve(strict=True)) else None
    except (OSError, RuntimeError, ValueError):
        return None


def sendable(value: Value) -> Value:
    """A text or JSON value as it can be sent: bytes of file names that are no text, "\udcff" here, are spelt out."""
    sent: Any = value
    if isinstance(value, str):
        sent = value.encode("utf-8", "backslashreplace").decode()
    elif isinstance(value, dict):
        sent = {sendable(name): sendable(one) for name, one in value.items()}
    elif isinstance(value, list):
        sent = [sendable(one) for one in value]
    return cast("Value", sent)


def sent(text: str) -> str:
    """A file name that `sendable` spelt, as the system knows it."""
    return SPELT.sub(lambda found: chr(int(found.group(1), 16)), text)
