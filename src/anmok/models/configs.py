"""A spec as plain JSON values and back, every problem told at once.

{"image": {"kind": "cnn", "architecture": "resnet", …}, "text": {"kind": "transformer", …}, "dimension": 256, …}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, fields
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from anmok.errors import CheckpointError, did_you_mean
from anmok.models.spec import BagSpec, CnnSpec, DualSpec, HybridSpec, ResNetSpec, TextSpec, VitSpec

if TYPE_CHECKING:
    from anmok.models.spec import ImageSpec, WordsSpec

__all__ = ["spec_from_dict", "spec_to_dict"]

TOWERS: dict[str, dict[str, type]] = {
    "image": {"vit": VitSpec, "modified_resnet": ResNetSpec, "cnn": CnnSpec, "hybrid": HybridSpec},
    "text": {"transformer": TextSpec, "bag": BagSpec},
}
LARGEST, MOST_LAYERS = 10_000_000, 1000  # beyond any model: what says more is damaged or hostile
LONGEST = 64  # numbers in a list of any length


def spec_to_dict(spec: DualSpec) -> dict[str, Any]:
    """Every field as plain JSON values, with the `kind` of each tower first. Equal specs, equal dicts."""
    return {
        "image": _tower_to_dict("image", spec.image),
        "text": _tower_to_dict("text", spec.text),
        "dimension": spec.dimension,
        "score": spec.score,
    }


def spec_from_dict(values: object, where: str) -> DualSpec:
    """The inverse of `spec_to_dict`. Fields that have a default may be left out.

    Args:
        values: what a JSON or TOML file holds.
        where: the file, for the message.

    Raises:
        CheckpointError: fields are missing, unknown, or have values that cannot be used; all are named.
    """
    problems: list[str] = []
    given = _object(values, "the spec", problems)
    known = ("image", "text", "dimension", "score")
    _unknown(given, known, "", problems)
    problems += [f"{name} is missing" for name in known if name not in given]
    found = {name: _tower(given[name], name, problems) for name in TOWERS if name in given}
    hints = get_type_hints(DualSpec)
    found |= {name: _value(given[name], hints[name], name, problems) for name in known[2:] if name in given}
    if problems:
        raise CheckpointError(f"{where} cannot be used: {'; '.join(problems)}")
    try:
        return DualSpec(**found)
    except CheckpointError as error:
        raise CheckpointError(f"{where} cannot be used: {error}") from error


def _tower_to_dict(tower: str, spec: ImageSpec | WordsSpec) -> dict[str, Any]:
    kind = next(kind for kind, cls in TOWERS[tower].items() if cls is type(spec))
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(spec).items()}
    return {"kind": kind, **values}


def _tower(values: object, tower: str, problems: list[str]) -> Any:
    """A tower's spec, or None where there was a problem."""
    before = len(problems)
    given = dict(_object(values, tower, problems))
    kind = given.pop("kind", None)
    cls = TOWERS[tower].get(kind) if isinstance(kind, str) else None
    if cls is None:
        near = did_you_mean(str(kind), TOWERS[tower])
        problems.append(f"{tower}.kind is {kind!r:.60}, expected one of {', '.join(TOWERS[tower])}.{near}")
        return None
    hints = get_type_hints(cls)
    known = {field.name: field.default is MISSING for field in fields(cls)}
    _unknown(given, known, f"{tower}.", problems)
    problems += [f"{tower}.{name} is missing" for name, needed in known.items() if needed and name not in given]
    found = {name: _value(given[name], hints[name], f"{tower}.{name}", problems) for name in known if name in given}
    return cls(**found) if len(problems) == before else None


def _object(values: object, place: str, problems: list[str]) -> Mapping[str, Any]:
    if isinstance(values, Mapping):
        return values
    problems.append(f"{place} is {values!r:.60}, expected an object")
    return {}


def _unknown(given: Mapping[str, Any], known: Iterable[str], where: str, problems: list[str]) -> None:
    known = tuple(known)
    problems += [f"{where}{name} is no field.{did_you_mean(str(name), known)}" for name in given if name not in known]


def _value(value: object, wanted: Any, place: str, problems: list[str]) -> Any:
    """A value of the type that a field is annotated with; else a problem is noted."""
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin is tuple:
        return _numbers(value, None if Ellipsis in arguments else len(arguments), place, problems)
    if origin is Literal:
        good, expected = value in arguments, f"one of {', '.join(arguments)}"
    elif wanted is bool:
        good, expected = isinstance(value, bool), "true or false"
    elif wanted is float:
        good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
        expected = "a number"
    else:
        most = MOST_LAYERS if ".layers" in place else LARGEST
        good = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= most
        expected = f"a whole number up to {most:,}"
    if not good:
        problems.append(f"{place} is {value!r:.60}, expected {expected}")
        return None
    return float(value) if wanted is float else value  # type: ignore[arg-type]


def _numbers(value: object, count: int | None, place: str, problems: list[str]) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or len(value) not in (range(1, LONGEST + 1) if count is None else (count,)):
        problems.append(f"{place} is {value!r:.60}, expected a list of {count or 'one or more'} whole numbers")
        return ()
    return tuple(_value(item, int, f"{place}.{i}", problems) for i, item in enumerate(value))
