"""Reading a layout's config: every value is checked, and all problems come in one error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from anmok.errors import CheckpointError
from anmok.models.spec import DualSpec

if TYPE_CHECKING:
    from pathlib import Path

    from anmok.models.spec import Activation, ResNetSpec, TextSpec, VitSpec

__all__ = ["ACTIVATIONS", "Section", "make_spec"]

ACTIVATIONS: dict[str, Activation] = {
    "quick_gelu": "quick_gelu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
}
LARGEST = {"layers": 1000, "size": 10_000_000}  # beyond any model: a config that says more is damaged or hostile


def make_spec(
    file: Path, *, image: VitSpec | ResNetSpec, text: TextSpec, dimension: int, score: Literal["softmax", "sigmoid"]
) -> DualSpec:
    """Join the towers.

    Raises:
        CheckpointError: they do not fit together; names the file.
    """
    try:
        return DualSpec(image=image, text=text, dimension=dimension, score=score)
    except CheckpointError as error:
        raise CheckpointError(f"{file} cannot be used: {error}") from error


class Section:
    """One object of a config file, with the defaults of its layout under it.

    Bad values are gathered in `problems`, shared by the sections of a file; `finish` raises them.
    """

    def __init__(
        self,
        file: Path,
        values: object,
        defaults: Mapping[str, Any],
        *,
        name: str = "",
        problems: list[str] | None = None,
    ) -> None:
        self.file = file
        self.problems: list[str] = [] if problems is None else problems
        self._name = name
        if not isinstance(values, Mapping):
            self.problems.append(f"{name or 'it'} is {values!r}, expected an object")
            values = {}
        self._values = {**defaults, **{key: value for key, value in values.items() if value is not None}}

    def get(self, key: str) -> Any:
        """The value as it is, or None."""
        return self._values.get(key)

    def size(self, key: str, *, largest: int = LARGEST["size"]) -> int:
        """A whole number from 1 to `largest`; [n, n] counts as n."""
        value = self.get(key)
        if isinstance(value, (list, tuple)) and len(value) == 2 and value[0] == value[1]:
            value = value[0]
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= largest:
            return value
        self.problem(key, f"expected a whole number from 1 to {largest:,}")
        return 1

    def layers(self, key: str) -> int:
        """How many layers."""
        return self.size(key, largest=LARGEST["layers"])

    def number(self, key: str) -> float:
        """A positive number."""
        value = self.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < LARGEST["size"]:
            return float(value)
        self.problem(key, "expected a positive number")
        return 1.0

    def activation(self, key: str) -> Activation:
        """A name of an activation, as Hugging Face spells it."""
        value = self.get(key)
        if value not in ACTIVATIONS:
            self.problem(key, f"anmok knows {', '.join(ACTIVATIONS)}")
        return ACTIVATIONS.get(str(value), "gelu")

    def problem(self, key: str, expected: str) -> None:
        """Note that `key` has a value that cannot be used."""
        place = f"{self._name}.{key}" if self._name else key
        self.problems.append(f"{place} is {self.get(key)!r}, {expected}")

    def divides(self, heads: str, width: str) -> None:
        """Note where the heads do not divide the width."""
        if self.size(width) % self.size(heads):
            self.problem(heads, f"expected a divisor of {width} ({self.get(width)})")

    def finish(self) -> None:
        """Raise what was gathered.

        Raises:
            CheckpointError: every problem of the file.
        """
        if self.problems:
            raise CheckpointError(f"{self.file} cannot be used: {'; '.join(dict.fromkeys(self.problems))}")
