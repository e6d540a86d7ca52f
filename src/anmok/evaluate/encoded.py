"""Data sets encoded once, so that every measurement reads the same embeddings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from anmok.embeddings import Embeddings
from anmok.evaluate.data import DataError, Example

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from anmok.encoder import Encoder

__all__ = ["DataSet", "encode_data"]

CHUNK = 512  # pictures read before they are encoded and let go


@dataclass(frozen=True)
class DataSet:
    """The examples of one source, row by row with their embeddings [n, d]. Examples hold no bytes any more."""

    name: str
    examples: tuple[Example, ...]
    embeddings: Embeddings

    def __len__(self) -> int:
        return len(self.examples)


def encode_data(encoder: Encoder, examples: Iterable[Example]) -> tuple[list[DataSet], list[tuple[str, str]]]:
    """Encode examples, grouped by source in the order of their first example.

    Returns:
        The data sets, and name and reason of each picture that could not be used.

    Raises:
        DataError: not one picture could be used.
    """
    parts: dict[str, list[tuple[Example, Embeddings]]] = {}
    failed: list[tuple[str, str]] = []
    for chunk in _chunks(examples):
        embeddings = encoder.encode_image([example.picture for example in chunk], on_error="skip")
        failed += [(chunk[failure.index].name, failure.error) for failure in embeddings.failed]
        for row, index in enumerate(embeddings.indices):
            example = replace(chunk[index], picture=b"")
            parts.setdefault(example.source, []).append((example, embeddings[row]))
    if not parts:
        first = f" The first: {failed[0][0]}: {failed[0][1]}" if failed else ""
        raise DataError(f"none of the {len(failed)} pictures could be used.{first}")
    return [
        DataSet(source, tuple(e for e, _ in part), Embeddings.concatenate(v for _, v in part))
        for source, part in parts.items()
    ], failed


def _chunks(examples: Iterable[Example]) -> Iterator[list[Example]]:
    iterator = iter(examples)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk
