"""Random expressions against a naive evaluation of what they were made of, one operation at a time."""

from __future__ import annotations

import math
import os
import random
import re
from typing import Any

from hypothesis import given, seed, settings
from hypothesis import strategies as st

from gateway.errors import DecodeError
from gateway.process.expression import compile_condition

IS_LONG = bool(os.environ.get("GATEWAY_LONG"))
SEED = int(os.environ.get("GATEWAY_SEED") or random.randrange(1 << 32))
print(f"GATEWAY_SEED={SEED}")  # noqa: T201  # to run it again

TOPIC = "plant/7/climate"
TIME_NS = 1_700_000_000_123_456_789
CLOCKS = ("unsynchronised", "holdover", "synchronised")
NUMBERS = (0, 1, -1, 2, 3, 7, 2**31, 2**62, 2**63 - 1, -(2**63), 0.0, -0.0, 0.5, -2.5, 1e-300, 1e300, 1.7e308)
TEXTS = ("", "a", "b", "ab", "good", "%d", "9", "É")

numbers = st.sampled_from(NUMBERS) | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.sampled_from(TEXTS)
rows = st.dictionaries(
    st.sampled_from(("a", "b", "c.d", "x y")),
    numbers | texts | st.booleans() | st.sampled_from((b"", b"a", b"ab")),
    min_size=1,
)
leaves = st.one_of(
    st.tuples(st.just("literal"), numbers | texts | st.booleans()),
    st.tuples(st.just("field"), st.sampled_from(("a", "b", "c.d", "x y"))),
    st.tuples(st.just("has"), st.sampled_from(("a", "b", "c.d", "x y"))),
    st.tuples(st.just("level"), st.integers(-4, 4)),
    st.sampled_from((("topic",), ("time",), ("clock",))),
)


def _deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    literal = numbers | texts | st.booleans()
    return st.one_of(
        st.tuples(st.sampled_from(("+", "-", "*", "/", "//", "%")), inner, inner),
        st.tuples(st.sampled_from(("and", "or")), inner, inner),
        st.tuples(st.sampled_from(("not", "minus", "plus")), inner),
        st.tuples(
            st.just("compare"), inner, st.lists(st.tuples(st.sampled_from(COMPARISONS), inner), min_size=1, max_size=3)
        ),
        st.tuples(st.sampled_from(("in list", "not in list")), inner, st.lists(literal, min_size=1, max_size=6)),
        st.tuples(st.sampled_from(("in text", "not in text")), inner, inner),
        st.tuples(st.sampled_from(("abs", "len", "lower", "upper", "isnum", "istext", "isbool", "round")), inner),
        st.tuples(st.sampled_from(("min", "max", "startswith", "endswith")), inner, inner),
        st.tuples(st.just("round to"), inner, st.integers(-15, 15)),
        st.tuples(st.just("matches"), inner, st.sampled_from(("a|b", "[a-z]+", "", ".*d", "(a|ab)(c|b)?", "É"))),
    )


COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
trees = st.recursive(leaves, _deeper, max_leaves=8)


def said(tree: Any) -> str:  # noqa: C901, PLR0911, PLR0912  # one case for each kind of node
    """Return the text of an expression."""
    match tree:
        case ("literal", bool() as value):
            return str(value).lower()
        case ("literal", value):
            return repr(value)
        case ("field", name):
            return f"field({name!r})"
        case ("has", name):
            return f"has({name!r})"
        case ("level", level):
            return f"topic[{level}]"
        case (("topic" | "time" | "clock") as name,):
            return name
        case ("not", inner):
            return f"(not {said(inner)})"
        case (("minus" | "plus") as sign, inner):
            return f"({'-' if sign == 'minus' else '+'} {said(inner)})"
        case ("compare", first, others):
            return f"({said(first)} {' '.join(f'{operator} {said(other)}' for operator, other in others)})"
        case (("in list" | "not in list") as operator, inner, values):
            literals = ", ".join(said(("literal", value)) for value in values)
            return f"({said(inner)} {operator.removesuffix(' list')} [{literals}])"
        case (("in text" | "not in text") as operator, left, right):
            return f"({said(left)} {operator.removesuffix(' text')} {said(right)})"
        case ("round to", inner, digits):
            return f"round({said(inner)}, {digits})"
        case ("matches", inner, pattern):
            return f"matches({said(inner)}, {pattern!r})"
        case (str() as name, *inner) if name.isalpha() and name not in {"and", "or"}:
            return f"{name}({', '.join(map(said, inner))})"
        case (operator, left, right):
            return f"({said(left)} {operator} {said(right)})"
    raise AssertionError(tree)


class FaultError(Exception):
    """The evaluation met something that it cannot compute."""


def number(value: Any) -> Any:
    if type(value) not in {int, float, bool}:
        raise FaultError("wrong_type")
    return value


def held(value: Any) -> Any:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise FaultError("out_of_range")
    elif not -(2**63) <= value < 2**63:
        raise FaultError("out_of_range")
    return value


def value_of(tree: Any, row: dict[str, Any]) -> Any:  # noqa: C901, PLR0911, PLR0912  # one case for each kind
    """Return what an expression is for a row, as the page on expressions says it."""
    match tree:
        case ("literal", value):
            return value
        case ("field", name):
            if name not in row:
                raise FaultError("missing_field")
            return row[name]
        case ("has", name):
            return name in row
        case ("level", level):
            levels = TOPIC.split("/")
            if not -len(levels) <= level < len(levels):
                raise FaultError("missing_level")
            return levels[level]
        case ("topic",):
            return TOPIC
        case ("time",):
            return TIME_NS / 1e9
        case ("clock",):
            return CLOCKS[1]
        case ("and", left, right):
            return value_of(left, row) and value_of(right, row)
        case ("or", left, right):
            return value_of(left, row) or value_of(right, row)
        case ("compare", first, others):
            return compared(value_of(first, row), others, row)
        case (operator, *inner):
            return operation(operator, inner, row)
    raise AssertionError(tree)


def compared(left: Any, others: list[Any], row: dict[str, Any]) -> bool:
    result = True
    for operator, tree in others:
        right = value_of(tree, row)
        if operator in {"==", "!="}:
            result = (left == right) is (operator == "==")
        else:
            alike = type(left) is type(right) or {type(left), type(right)} <= {int, float, bool}
            if not alike:
                raise FaultError("wrong_type")
            result = {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[operator]
        if not result:
            return False
        left = right
    return result


def operation(name: str, inner: list[Any], row: dict[str, Any]) -> Any:
    first = value_of(inner[0], row)
    if name in {"not in list", "in list"}:
        return any(first == value for value in inner[1]) is (name == "in list")
    if name == "round to":
        return held(round(number(first), inner[1]))
    if name == "matches":
        if not isinstance(first, str):
            raise FaultError("wrong_type")
        return re.fullmatch(inner[1], first) is not None
    if len(inner) == 1:
        return of_one(name, first)
    if name in {"*", "%"}:
        number(first)  # of two faults, the one that is met first is said
    return of_two(name, first, value_of(inner[1], row))


def of_one(name: str, value: Any) -> Any:
    if name in {"not", "isnum", "istext", "isbool"}:
        kinds = {"isnum": (int, float), "istext": (str,), "isbool": (bool,)}
        return not value if name == "not" else type(value) in kinds[name]
    if name in {"lower", "upper"} and isinstance(value, str):
        return value.lower() if name == "lower" else value.upper()
    if name == "len" and isinstance(value, str | bytes):
        return len(value)
    if name in {"lower", "upper", "len"}:
        raise FaultError("wrong_type")
    value = number(value)
    return held(
        {"minus": lambda: -value, "plus": lambda: +value, "abs": lambda: abs(value), "round": lambda: round(value)}[
            name
        ]()
    )


def of_two(name: str, left: Any, right: Any) -> Any:
    if name in {"in text", "not in text"}:
        if type(left) is not type(right) or not isinstance(left, str | bytes):
            raise FaultError("wrong_type")
        return (left in right) is (name == "in text")
    if name in {"startswith", "endswith"}:
        if not (isinstance(left, str) and isinstance(right, str)):
            raise FaultError("wrong_type")
        return left.startswith(right) if name == "startswith" else left.endswith(right)
    if name in {"min", "max"}:
        if type(left) is not type(right) and not {type(left), type(right)} <= {int, float, bool}:
            raise FaultError("wrong_type")
        return min(left, right) if name == "min" else max(left, right)
    left, right = number(left), number(right)
    if name in {"/", "//", "%"} and right == 0:
        raise FaultError("division_by_zero")
    try:
        return held(
            {
                "+": lambda: left + right,
                "-": lambda: left - right,
                "*": lambda: left * right,
                "/": lambda: left / right,
                "//": lambda: left // right,
                "%": lambda: left % right,
            }[name]()
        )
    except OverflowError:
        raise FaultError("out_of_range") from None


@seed(SEED)
@settings(max_examples=20_000 if IS_LONG else 600, deadline=None)
@given(trees, rows)
def test_an_expression_is_what_a_naive_evaluation_of_it_is(tree: Any, row: dict[str, Any]) -> None:
    text = said(tree)
    if len(text) > 1000:
        return
    before = dict(row)
    try:
        expected: object = bool(value_of(tree, row))
    except FaultError as fault:
        expected = str(fault)
    try:
        found: object = compile_condition(text, "quarantine")(row, TOPIC, TIME_NS, 1)
    except DecodeError as error:
        found = error.reason.removeprefix("expression_")
    assert found == expected, text
    assert row == before
    dropped = compile_condition(text, "drop")(row, TOPIC, TIME_NS, 1)
    kept = compile_condition(text, "keep")(row, TOPIC, TIME_NS, 1)
    assert (dropped, kept) == ((expected, expected) if isinstance(expected, bool) else (False, True))


numeric = st.recursive(
    st.tuples(st.just("literal"), numbers) | st.tuples(st.just("field"), st.sampled_from(("a", "b"))),
    lambda inner: (
        st.tuples(st.sampled_from(("+", "-", "*", "/", "//", "%")), inner, inner)
        | st.tuples(st.sampled_from(("minus", "abs", "round")), inner)
    ),
    max_leaves=6,
)


@seed(SEED)
@settings(max_examples=20_000 if IS_LONG else 400, deadline=None)
@given(numeric, st.fixed_dictionaries({"a": numbers | st.booleans(), "b": numbers}))
def test_arithmetic_is_python_s_to_the_last_bit_and_never_leaves_its_bounds(tree: Any, row: dict[str, Any]) -> None:
    try:
        result = value_of(tree, row)
    except FaultError:
        return
    text = f"{said(tree)} == {result!r}"
    if len(text) <= 1000:
        assert compile_condition(text, "quarantine")(row, TOPIC, TIME_NS, 1), text
