"""What a record says of its picture: texts, captions by language, labels, source, and the rest.

Records are the JSON of shards, lines of metadata files and rows of Parquet. The names are those that published data
sets use: `caption` (img2dataset, COCO), `text` (Hugging Face), `title`, `alt`, and `captions_en`, `captions_ko`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anmok.texts import prompts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["LANGUAGES", "TEXT_FIELDS", "Fields", "from_labels", "read_fields"]

LANGUAGES = ("en", "ko")
TEXT_FIELDS = ("caption", "captions", "text", "texts", "title", "alt")


@dataclass(frozen=True)
class Fields:
    """A record, taken apart as `Pair` has it; `source` is None where the record does not say one."""

    texts: tuple[str, ...]
    captions: dict[str, tuple[str, ...]]
    labels: tuple[str, ...]
    source: str | None
    facts: dict[str, Any]


def read_fields(
    record: Mapping[str, Any], *, beside: str = "", text_key: str = "", templates: Sequence[str] = ()
) -> Fields:
    """Take a record apart.

    Texts come in the order: `text_key`, the text `beside` the record, `TEXT_FIELDS`, the captions by language. Each is
    a string or a list of strings; a field of another type stays among the facts. A list named `texts` is taken as
    all there is, in its order (`write_shards` writes it). Without any text, labels are put into the templates.
    """
    rest = dict(record)
    whole = _take(rest, "texts") if isinstance(rest.get("texts"), list) else ()
    texts = [*(_take(rest, text_key) if text_key else ()), *whole]
    beside = plain(beside)
    if beside and beside not in map(plain, texts):
        texts.append(beside)
    captions = _captions(rest)
    for field in TEXT_FIELDS:
        texts.extend(_take(rest, field))
    if not whole:
        texts.extend(text for language in captions.values() for text in language)
    labels = _take(rest, "labels")  # narrow to wide: a class and its kind may have one name ("Avocado", "Avocado")
    labels += tuple(label for label in _take(rest, "label") if label not in labels)
    source = rest.pop("source") if isinstance(rest.get("source"), str) else None
    more = rest.pop("facts") if isinstance(rest.get("facts"), dict) else {}
    return Fields(
        tuple(dict.fromkeys(texts)) or from_labels(labels[:1], templates),
        captions,
        labels,
        source,
        {**{name: value for name, value in rest.items() if value is not None}, **more},
    )


def from_labels(labels: Iterable[str], templates: Sequence[str]) -> tuple[str, ...]:
    """The templates with each label in them; `_` in a label is read as a space."""
    return tuple(text for label in labels for text in prompts(templates, label.replace("_", " ")))


def plain(text: str) -> str:
    """A text without byte-order mark and white space around it."""
    return text.lstrip("\ufeff").strip()


def _captions(rest: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Captions by language: `captions_en`, or `captions` as an object of languages."""
    found: dict[str, tuple[str, ...]] = {}
    given = rest.get("captions")
    if isinstance(given, dict) and all(_strings(value) is not None for value in given.values()):
        found = {str(language): _strings(value) or () for language, value in rest.pop("captions").items()}
    for language in LANGUAGES:
        texts = [text for name in ("captions", "caption") for text in _take(rest, f"{name}_{language}")]
        if texts:
            found[language] = (*found.get(language, ()), *texts)
    return found


def _take(rest: dict[str, Any], field: str) -> tuple[str, ...]:
    """Remove a field and return its texts; one that holds none is left where it is."""
    texts = _strings(rest.get(field))
    if texts is None:
        return ()
    rest.pop(field, None)
    return texts


def _strings(value: object) -> tuple[str, ...] | None:
    """The texts of a string or a list of strings, none of them blank; None for anything else."""
    if isinstance(value, str):
        return (value.strip(),) if value.strip() else ()
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(item for item in value if item.strip())
    return None
