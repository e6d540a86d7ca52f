"""How near a reduced precision stays to float32, and whether that is near enough.

A tower in fewer bits is used only where, on everyday things that it was not calibrated with,

    the mean cosine between its embeddings and those in float32 is at least 0.999,
    the smallest is at least 0.995,
    and of 100 pictures at least 99 are taken for the same of a dozen kinds of things.

The numbers, with what they were measured with, are its certificate.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AGREEMENT", "LEAST", "MEAN", "Certificate", "compare", "unit"]

MEAN, LEAST, AGREEMENT = 0.999, 0.995, 0.99


@dataclass(frozen=True)
class Certificate:
    """What was compared, and what came out.

    `mean`, `least`: cosine with float32, over `compared` embeddings; `agreement`: share of `pictures` taken for the
    same kind of thing; `made_with`: fingerprint, tower, engine, versions, processor.
    """

    mean: float
    least: float
    agreement: float
    compared: int
    pictures: int
    made_with: dict[str, str] = field(default_factory=dict)

    @property
    def refusal(self) -> str:
        """Why this precision must not be used; "" where it may."""
        reasons = [
            f"{what} is {value:.4f}, below {bound}"
            for what, value, bound in (
                ("the mean cosine with fp32", self.mean, MEAN),
                ("the smallest cosine", self.least, LEAST),
                ("the share of pictures taken for the same kind of thing", self.agreement, AGREEMENT),
            )
            if not value >= bound  # not a number is refused, too
        ]
        return "; ".join(reasons)

    @property
    def digest(self) -> str:
        """Of every number and name above: certificates that say the same have the same."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return (
            f"mean cosine with fp32 {self.mean:.5f}, smallest {self.least:.5f}, the same kind of thing "
            f"for {self.agreement:.1%} of {self.pictures} pictures ({self.digest})"
        )


def compare(
    exact: NDArray[np.float32],
    found: NDArray[np.float32],
    agreement: tuple[NDArray[np.float32], NDArray[np.float32]],
    *,
    made_with: dict[str, str],
) -> Certificate:
    """Compare one tower's embeddings with those of float32.

    Args:
        exact: float32's [n, d], of any length.
        found: the same things in the reduced precision, [n, d].
        agreement: scores of pictures and kinds [m, k], with this tower in float32 and in the reduced precision.
        made_with: kept in the certificate.
    """
    cosines = (unit(exact) * unit(found)).sum(axis=1)
    same = agreement[0].argmax(axis=1) == agreement[1].argmax(axis=1)
    return Certificate(
        mean=float(cosines.mean()),
        least=float(cosines.min()),
        agreement=float(same.mean()),
        compared=len(exact),
        pictures=len(same),
        made_with=made_with,
    )


def unit(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Rows [n, d] at unit length."""
    wide: NDArray[np.float64] = rows.astype(np.float64)
    wide /= np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-30)
    return wide
