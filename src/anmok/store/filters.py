"""Filters on metadata: a `where` mapping → an SQL condition whose every value is bound.

    {"folder": "bags"}                        the field equals the value
    {"size": {"gt": 3, "le": 10}}             several operators: all of them hold
    {"tag": {"in": ["red", "blue"]}}
    {"name": {"prefix": "IMG_"}}
    {"folder": "bags", "year": {"ge": 2020}}  several fields: all of them hold

A field is a top-level name of the metadata, whatever characters it has. Types are kept apart:
the text "3" is not the number 3, and true is not 1. A missing field counts as None: it equals
None and nothing else, and no `gt`, `ge`, `lt`, `le`, `prefix`, `like` or `contains` holds for it.
No part of a filter, names included, ever becomes SQL text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anmok.errors import QueryError, did_you_mean
from anmok.store.database import to_json

if TYPE_CHECKING:
    from collections.abc import Callable

    Condition = tuple[str, list[Any]]  # SQL, and the values to bind in it

__all__ = ["OPERATORS", "condition"]

NUMBER = "IN ('integer', 'real')"
TEXT = "= 'text'"
LARGEST_INTEGER = 2**63 - 1
WRITTEN_ONE_WAY = 10**15  # numbers below are written without an exponent, whether whole or with a point
LONGEST_PATTERN = 50_000  # bytes; SQLite takes no longer ones


def condition(where: Mapping[str, Any] | None) -> Condition:
    """An SQL condition over the table `items`, and its values.

    Raises:
        QueryError: an operator is unknown (near names are given), or a value does not fit it.
    """
    if where is None:
        where = {}
    if not isinstance(where, Mapping):
        raise QueryError(f"a filter is a mapping like {{'folder': 'bags'}}, not {type(where).__name__}")
    parts: list[str] = []
    values: list[Any] = []
    for field, wanted in where.items():
        if not isinstance(field, str):
            raise QueryError(f"a filter names fields by text, not by {field!r}")
        operators = wanted if isinstance(wanted, Mapping) else {"eq": wanted}
        if not operators:
            raise QueryError(f"the filter on {field!r} is empty: give a value or an operator ({', '.join(OPERATORS)})")
        for operator, value in operators.items():
            sql, bound = _operator(field, operator)(field, value)
            parts.append(f"({sql})")
            values += bound
    _check_text(values)
    return " AND ".join(parts) or "1", values


def _operator(field: str, operator: object) -> Callable[[str, object], Condition]:
    if operator not in OPERATORS:
        raise QueryError(
            f"the filter on {field!r} has no operator {operator!r}."
            f"{did_you_mean(str(operator), OPERATORS)} Operators: {', '.join(OPERATORS)}"
        )
    return OPERATORS[str(operator)]


def _check_text(values: list[Any]) -> None:
    for value in values:
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise QueryError(f"the filter has {value!r}, which is not valid Unicode text") from error


def _field(field: str, test: str, values: list[Any]) -> Condition:
    """The field is there and the test on `f` (its type, and its value as `atom`) holds."""
    return f"EXISTS (SELECT 1 FROM json_each(items.metadata) f WHERE f.key = ? AND {test})", [field, *values]  # noqa: S608


def _written(field: str, value: str | float, condition: Condition) -> Condition:
    """First the quick test that what the field would be written like is in the metadata at all (5 times as fast)."""
    if isinstance(value, str):
        text = to_json(value, field)
    elif value == 0 or abs(value) >= WRITTEN_ONE_WAY:  # also -0.0; also 1e+16
        return condition
    else:
        text = str(int(value)) if value == int(value) else float.__repr__(float(value))  # 7 begins 7.0 too
    sql, values = condition
    return f"instr(items.metadata, ?) > 0 AND {sql}", [f"{to_json(field, field)}:{text}", *values]


def _equals(field: str, value: object) -> Condition:
    if value is None:
        sql, values = _field(field, "f.type <> 'null'", [])
        return f"NOT {sql}", values
    if isinstance(value, bool):
        return _field(field, f"f.type = '{'true' if value else 'false'}'", [])
    if isinstance(value, str):
        return _written(field, value, _field(field, f"f.type {TEXT} AND f.atom = ?", [value]))
    if isinstance(value, int | float):
        number = _number(field, value)
        return _written(field, number, _field(field, f"f.type {NUMBER} AND f.atom = ?", [number]))
    raise QueryError(
        f"the filter on {field!r} compares with a {type(value).__name__};"
        " it can be text, a number, true, false or None (for lists: in, contains)"
    )


def _not_equals(field: str, value: object) -> Condition:
    sql, values = _equals(field, value)
    return f"NOT ({sql})", values


def _ordered(sign: str) -> Callable[[str, object], Condition]:
    def compare(field: str, value: object) -> Condition:
        if isinstance(value, str):
            return _field(field, f"f.type {TEXT} AND f.atom {sign} ?", [value])
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _field(field, f"f.type {NUMBER} AND f.atom {sign} ?", [_number(field, value)])
        raise QueryError(f"the filter on {field!r} orders by {value!r}; it takes a number or a text")

    return compare


def _within(field: str, value: object) -> Condition:
    """One of the values. They travel as one JSON list, so that there may be any number of them."""
    choices = _choices(field, value)
    texts = [choice for choice in choices if isinstance(choice, str)]
    numbers = [
        _number(field, choice) for choice in choices if isinstance(choice, int | float) and not isinstance(choice, bool)
    ]
    parts = [_equals(field, choice) for choice in (True, False, None) if any(choice is given for given in choices)]
    for kind, chosen in ((TEXT, texts), (NUMBER, numbers)):
        if chosen:
            _check_text(list(chosen))
            listed = to_json(chosen, f"the filter on {field!r}")
            test = f"f.type {kind} AND f.atom IN (SELECT w.atom FROM json_each(?) w)"  # noqa: S608
            parts.append(_field(field, test, [listed]))
    if not parts:
        return "0", []
    return " OR ".join(sql for sql, _ in parts), [value for _, values in parts for value in values]


def _choices(field: str, value: object) -> list[Any]:
    if not isinstance(value, list | tuple | set | frozenset):
        raise QueryError(f"the filter on {field!r} needs a list after in or not_in, got {value!r}")
    choices = list(value)
    for choice in choices:
        _equals(field, choice)  # refuses what cannot be compared
    return choices


def _not_within(field: str, value: object) -> Condition:
    sql, values = _within(field, value)
    return f"NOT ({sql})", values


def _prefix(field: str, value: object) -> Condition:
    return _field(field, f"f.type {TEXT} AND instr(f.atom, ?) = 1", [_text(field, "prefix", value)])


def _like(field: str, value: object) -> Condition:
    """SQL's LIKE: % is any text, _ any character, a backslash takes their meaning away; A-Z equal a-z."""
    if isinstance(value, str) and len(value.encode("utf-8", "replace")) > LONGEST_PATTERN:
        raise QueryError(f"the filter on {field!r} has a like pattern longer than {LONGEST_PATTERN} bytes")
    return _field(field, f"f.type {TEXT} AND f.atom LIKE ? ESCAPE '\\'", [_text(field, "like", value)])


def _contains(field: str, value: object) -> Condition:
    """A list has the value as a member, or a text has it as a part."""
    if value is None or isinstance(value, bool) or not isinstance(value, str | int | float):
        raise QueryError(f"the filter on {field!r} looks for {value!r} inside; contains takes a text or a number")
    members = "json_each(CASE f.type WHEN 'array' THEN f.value ELSE '[]' END) e"
    if isinstance(value, str):
        member = f"EXISTS (SELECT 1 FROM {members} WHERE e.type {TEXT} AND e.atom = ?)"  # noqa: S608
        return _field(field, f"({member} OR (f.type {TEXT} AND instr(f.atom, ?) > 0))", [value, value])
    member = f"EXISTS (SELECT 1 FROM {members} WHERE e.type {NUMBER} AND e.atom = ?)"  # noqa: S608
    return _field(field, member, [_number(field, value)])


def _exists(field: str, value: object) -> Condition:
    if not isinstance(value, bool):
        raise QueryError(f"the filter on {field!r} needs true or false after exists, got {value!r}")
    sql, values = _field(field, "1", [])
    return (sql if value else f"NOT {sql}"), values


def _text(field: str, operator: str, value: object) -> str:
    if not isinstance(value, str):
        raise QueryError(f"the filter on {field!r} needs a text after {operator}, got {value!r}")
    return value


def _number(field: str, value: float) -> float:
    if isinstance(value, float) and not math.isfinite(value):
        raise QueryError(f"the filter on {field!r} compares with {value!r}, which is not a number")
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise QueryError(f"the filter on {field!r} compares with {value}, which is beyond 64 bits")
    return value


OPERATORS: dict[str, Callable[[str, object], Condition]] = {
    "eq": _equals,
    "ne": _not_equals,
    "gt": _ordered(">"),
    "ge": _ordered(">="),
    "lt": _ordered("<"),
    "le": _ordered("<="),
    "in": _within,
    "not_in": _not_within,
    "prefix": _prefix,
    "like": _like,
    "contains": _contains,
    "exists": _exists,
}
