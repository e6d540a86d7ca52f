import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anmok.errors import QueryError
from anmok.store.filters import OPERATORS, condition

ROWS = {
    "bag": {"folder": "bags", "size": 3, "tags": ["red", "new"], "ok": True, "name": "IMG_1.jpg"},
    "shoe": {"folder": "shoes", "size": 4.5, "tags": [], "ok": False, "name": "img_2.jpg"},
    "hat": {"folder": "hats/빨강", "size": "3", "tags": ["red", 7], "name": "100%.jpg", "none": None},
    "odd": {'a"b': 1, "a\\b": 2, "a.b": 3, "$": 4, "x\x01y": 5, "": 6, "한글": 7, "'); DROP TABLE items; --": 8},
    "nothing": {},
    "numbers": {"zero": -0.0, "whole": 7.0, "large": 1e16, "deep": {"inner": 1}, "text": '"inner":1'},
}


@pytest.fixture
def filled(store, vectors):
    store.upsert(list(ROWS), vectors(len(ROWS)), list(ROWS.values()))
    return store


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, "bag shoe hat odd nothing numbers"),
        ({"folder": "bags"}, "bag"),
        ({"folder": "hats/빨강"}, "hat"),
        ({"folder": "bags", "size": {"gt": 3}}, ""),
        ({"folder": {"eq": "bags"}, "size": {"ge": 3, "le": 3}}, "bag"),
        ({"size": 3}, "bag"),
        ({"size": 3.0}, "bag"),
        ({"size": 4.5}, "shoe"),
        ({"zero": 0}, "numbers"),
        ({"zero": -0.0}, "numbers"),
        ({"whole": 7}, "numbers"),
        ({"large": 10**16}, "numbers"),
        ({"large": 1e16}, "numbers"),
        ({"inner": 1}, ""),
        ({"text": '"inner":1'}, "numbers"),
        ({"size": "3"}, "hat"),
        ({"size": {"gt": 3}}, "shoe"),
        ({"size": {"ge": 3}}, "bag shoe"),
        ({"size": {"lt": "4"}}, "hat"),
        ({"size": {"ne": 3}}, "shoe hat odd nothing numbers"),
        ({"size": {"in": [3, "3", 9]}}, "bag hat"),
        ({"size": {"in": []}}, ""),
        ({"size": {"not_in": [3, 4.5]}}, "hat odd nothing numbers"),
        ({"ok": True}, "bag"),
        ({"ok": False}, "shoe"),
        ({"ok": 1}, ""),
        ({"ok": {"in": [True, None]}}, "bag hat odd nothing numbers"),
        ({"none": None}, "bag shoe hat odd nothing numbers"),
        ({"folder": None}, "odd nothing numbers"),
        ({"folder": {"ne": None}}, "bag shoe hat"),
        ({"none": {"exists": True}}, "hat"),
        ({"none": {"exists": False}}, "bag shoe odd nothing numbers"),
        ({"tags": {"contains": "red"}}, "bag hat"),
        ({"tags": {"contains": 7}}, "hat"),
        ({"tags": {"contains": "7"}}, ""),
        ({"tags": '["red","new"]'}, ""),
        ({"folder": {"contains": "at"}}, "hat"),
        ({"name": {"prefix": "IMG_"}}, "bag"),
        ({"name": {"prefix": "%"}}, ""),
        ({"name": {"like": "img_%"}}, "bag shoe"),
        ({"name": {"like": "100\\%%"}}, "hat"),
        ({'a"b': 1}, "odd"),
        ({"a\\b": 2}, "odd"),
        ({"a.b": 3}, "odd"),
        ({"$": 4}, "odd"),
        ({"x\x01y": 5}, "odd"),
        ({"": 6}, "odd"),
        ({"한글": {"gt": 6}}, "odd"),
        ({"'); DROP TABLE items; --": 8}, "odd"),
    ],
)
def test_filter_allows(filled, vectors, where, expected):
    wanted = expected.split()
    assert filled.keys(where) == wanted
    assert filled.count(where) == len(wanted)
    assert [key for keys, _, _ in filled.scan(where) for key in keys] == wanted
    for exact in (True, False):
        found = filled.search(vectors(1), 10, where=where, exact=exact)[0]
        assert sorted(match.key for match in found) == sorted(wanted)


INJECTIONS = ["'; DROP TABLE items; --", '" OR 1=1 --', "') OR 1=1 --", "?", "\0", "$.folder", "%", "\\"]


@pytest.mark.parametrize("text", INJECTIONS)
def test_injection_is_just_text(filled, text):
    for operator in ("eq", "gt", "like", "prefix", "contains"):
        assert "bag" not in filled.keys({text: {operator: text}})
    assert filled.keys({"folder": text}) == []
    assert filled.keys({"folder": {"in": [text, "bags"]}}) == ["bag"]
    assert filled.check().ok
    assert len(filled) == len(ROWS)


@pytest.mark.parametrize("text", INJECTIONS)
def test_no_part_of_a_filter_becomes_sql(text):
    plain, _ = condition({"f": {"eq": "v", "in": ["v"], "prefix": "v", "like": "v", "contains": "v", "ge": "v"}})
    sql, values = condition(
        {text: {"eq": text, "in": [text], "prefix": text, "like": text, "contains": text, "ge": text}}
    )
    assert sql == plain
    assert text in values


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"size": {"gte": 3}}, r"'size' has no operator 'gte'. Did you mean .*'ge'"),
        ({"size": {"prefxi": "a"}}, r"Did you mean 'prefix'\?"),
        ({"size": {7: 3}}, r"no operator 7"),
        ({"size": {}}, r"the filter on 'size' is empty"),
        ({"size": {"in": "abc"}}, r"needs a list after in or not_in, got 'abc'"),
        ({"size": {"in": [[1]]}}, r"compares with a list"),
        ({"size": [1, 2]}, r"compares with a list; .*in, contains"),
        ({"size": {"gt": None}}, r"it takes a number or a text"),
        ({"size": {"gt": True}}, r"it takes a number or a text"),
        ({"size": {"prefix": 3}}, r"needs a text after prefix"),
        ({"size": {"like": 3}}, r"needs a text after like"),
        ({"size": {"like": "%" * 60_000}}, r"like .* longer than"),
        ({"size": {"contains": None}}, r"contains takes a text or a number"),
        ({"size": {"exists": 1}}, r"needs true or false after exists"),
        ({"size": float("nan")}, r"not a number"),
        ({"size": {"in": [float("inf")]}}, r"not a number"),
        ({"size": 2**63}, r"beyond 64 bits"),
        ({"size": "\udc80"}, r"not valid Unicode"),
        ({"size": {"in": ["\udc80"]}}, r"not valid Unicode"),
        ({"\udc80": 1}, r"not valid Unicode"),
        ({7: 1}, r"names fields by text, not by 7"),
        ("folder=bags", r"a filter is a mapping like .*, not str"),
    ],
)
def test_bad_filter_says_what_is_wrong(store, vectors, where, message):
    with pytest.raises(QueryError, match=message):
        store.search(vectors(1), 1, where=where)
    with pytest.raises(QueryError, match=message):
        store.scan(where)


def test_in_takes_any_number_of_values(filled):
    assert filled.keys({"size": {"in": [*range(100_000), *map(str, range(100_000))]}}) == ["bag", "hat"]


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, -1.0]), st.text("aB%_\\'", max_size=3)
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3))


def same(a, b):
    return type(a) is type(b) and a == b if isinstance(a, bool) or isinstance(b, bool) else a == b


def orderable(a, b):
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (a, b))
    return numbers or (isinstance(a, str) and isinstance(b, str))


def allows(value, operator, wanted):
    """What the operators mean, in Python."""
    match operator:
        case "eq":
            return same(value, wanted) if not isinstance(value, list) else False
        case "ne":
            return not allows(value, "eq", wanted)
        case "gt" | "ge" | "lt" | "le":
            compare = {"gt": "__gt__", "ge": "__ge__", "lt": "__lt__", "le": "__le__"}[operator]
            return orderable(value, wanted) and bool(
                getattr(float(value), compare)(float(wanted))
                if not isinstance(value, str)
                else getattr(value, compare)(wanted)
            )
        case "in":
            return any(allows(value, "eq", one) for one in wanted)
        case "not_in":
            return not allows(value, "in", wanted)
        case "prefix":
            return isinstance(value, str) and value.startswith(wanted)
        case "contains":
            if isinstance(value, list):
                return any(same(one, wanted) for one in value)
            return isinstance(value, str) and isinstance(wanted, str) and wanted in value
    raise AssertionError(operator)


@given(
    values=st.lists(VALUES, min_size=1, max_size=6),
    operator=st.sampled_from(["eq", "ne", "gt", "ge", "lt", "le", "in", "not_in", "prefix", "contains"]),
    data=st.data(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_operators_mean_what_python_means(store, vectors, values, operator, data):
    ordered = st.one_of(st.integers(-3, 3), st.text("aB%_", max_size=2))
    wanted = data.draw(
        {
            "eq": SCALARS,
            "ne": SCALARS,
            "in": st.lists(SCALARS, max_size=3),
            "not_in": st.lists(SCALARS, max_size=3),
            "prefix": st.text("aB%_", max_size=2),
        }.get(operator, ordered)
    )
    keys = [str(number) for number in range(len(values))]
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.upsert(keys, vectors(len(keys)), [{"f": value} for value in values])
        expected = [key for key, value in zip(keys, values, strict=True) if allows(value, operator, wanted)]
        assert store.keys({"f": {operator: wanted}}) == expected
        raise ZeroDivisionError  # nothing is kept for the next example


def test_every_operator_is_tested():
    assert set(OPERATORS) == {
        "eq",
        "ne",
        "gt",
        "ge",
        "lt",
        "le",
        "in",
        "not_in",
        "prefix",
        "like",
        "contains",
        "exists",
    }
