"""Which engine runs the towers, with what precision and how many threads."""

from typing import TYPE_CHECKING, Any

from anmok.runtime.towers import ENGINES, PRECISIONS, PrecisionRefused, Towers, open_towers

if TYPE_CHECKING:
    from anmok.runtime.choice import Choice, Way, choose, known_choice

__all__ = [
    "ENGINES",
    "PRECISIONS",
    "Choice",
    "PrecisionRefused",
    "Towers",
    "Way",
    "choose",
    "known_choice",
    "open_towers",
]


def __getattr__(name: str) -> Any:
    """What knows ONNX is imported when it is asked for."""
    if name in ("Choice", "Way", "choose", "known_choice"):
        from importlib import import_module

        return getattr(import_module("anmok.runtime.choice"), name)
    raise AttributeError(f"module 'anmok.runtime' has no attribute {name!r}")
