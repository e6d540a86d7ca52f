"""Embeddings: unit vectors that carry the fingerprint of the encoder that made them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.errors import FingerprintMismatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

__all__ = ["Embeddings", "Failure", "unit"]

EVERY = np.empty(0, np.int64)  # stands for 0 … n-1 until the rows are counted


@dataclass(frozen=True)
class Failure:
    """One input that could not be encoded: where it stood, what it was, and why it failed."""

    index: int
    picture: str
    error: str


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Points of the shared space.

    `vectors`: float32 [n, d], each row of length 1.
    `fingerprint`: of the encoder (weights, transform and tokenizer). Comparing across
        fingerprints raises FingerprintMismatch: the numbers would look fine and mean nothing.
    `indices`: int64 [n], which input each row belongs to (0 … n-1 unless some failed).
    `failed`: the inputs that have no row, with `encode_image(..., on_error="skip")`.

    >>> import numpy as np
    >>> pictures = Embeddings(np.eye(2, dtype=np.float32), fingerprint="abc")
    >>> texts = Embeddings(np.array([[0.6, 0.8]], dtype=np.float32), fingerprint="abc")
    >>> (pictures @ texts).round(1).tolist()
    [[0.6], [0.8]]
    """

    vectors: NDArray[np.float32]
    fingerprint: str
    indices: NDArray[np.int64] = field(default_factory=lambda: EVERY)
    failed: tuple[Failure, ...] = ()

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2:
            raise ValueError(f"vectors must be [n, d], not of shape {self.vectors.shape}")
        if self.indices is EVERY:
            object.__setattr__(self, "indices", np.arange(len(self.vectors), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.vectors)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return iter(self.vectors)

    def __getitem__(self, rows: Any) -> Embeddings:
        """A row, a slice or a list of rows, still as Embeddings [k, d]."""
        vectors = np.atleast_2d(self.vectors[rows])
        return Embeddings(vectors, self.fingerprint, np.atleast_1d(self.indices[rows]))

    def __matmul__(self, other: Embeddings) -> NDArray[np.float32]:
        """Cosine similarity of every pair, float32 [n, m] in -1..1.

        Raises:
            FingerprintMismatch: the two were made by different encoders.
        """
        self.require(other.fingerprint)
        similarity: NDArray[np.float32] = self.vectors @ other.vectors.T
        return similarity

    def require(self, fingerprint: str) -> None:
        """Raise FingerprintMismatch unless these embeddings carry `fingerprint`."""
        if fingerprint != self.fingerprint:
            raise FingerprintMismatch(
                f"embeddings of encoder {self.fingerprint} cannot be compared with those of encoder {fingerprint}: "
                "encode both with the same checkpoint"
            )

    @staticmethod
    def concatenate(parts: Iterable[Embeddings]) -> Embeddings:
        """Join embeddings of one encoder, in order. Rows are numbered anew."""
        parts = list(parts)
        if not parts:
            raise ValueError("nothing to concatenate")
        for part in parts:
            parts[0].require(part.fingerprint)
        return Embeddings(np.concatenate([part.vectors for part in parts]), parts[0].fingerprint)


def unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Scale each row of [n, d] to length 1, in float32. A row of zeros stays zero."""
    vectors = np.asarray(vectors, np.float32)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: NDArray[np.float32] = vectors / np.maximum(length, np.float32(1e-12))
    return scaled
