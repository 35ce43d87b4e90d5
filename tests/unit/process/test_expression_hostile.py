"""What people have tried to get out of restricted Python with, tried here: none of it compiles, or none of it works."""

from __future__ import annotations

import time
import tracemalloc
import types
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import DecodeError, ExpressionError
from gateway.process.expression import FaultChoice, compile_condition
from gateway.process.expression_functions import MATCH_CHARACTERS_MAX, SCOPE
from tests.support.expressions import keeping

ROW = {"a": 2**63 - 1, "q": "good", "t": 1.5, "raw": b"\x01", "ok": True, "s": "a" * 5000}

ESCAPES = [
    "().__class__.__bases__[0].__subclasses__()",
    "''.__class__.__mro__[1]",
    "(q).__class__",
    "q.__class__.__base__()",
    "has.__globals__['__builtins__']",
    "topic.split('/')",
    "topic.format(a)",
    "topic['__class__']",
    "topic[a]",
    "topic[0][0]",
    "topic[0:1]",
    "topic[::2]",
    "topic[0, 1]",
    "topic[64]",
    "topic[true]",
    "topic[--1]",
    "topic[1.0]",
    "q[0]",
    "row['q']",
    "_bounded(1)",
    "_on_fault(1)",
    "_FAULTS(1)",
    "_CLOCKS[0]",
    "keep(a)",
    "__import__('os').system('id')",
    "__builtins__['eval']('1')",
    "eval('1')",
    "exec('1')",
    "compile('1', '', 'eval')",
    "open('/etc/passwd')",
    "getattr(q, 'x')",
    "type(q)",
    "vars()",
    "globals()",
    "breakpoint()",
    "(lambda: 1)()",
    "lambda row: row",
    "[x for x in q]",
    "{x for x in q}",
    "{x: 1 for x in q}",
    "(x for x in q)",
    "[a for a in (1, 2) if a] == 1",
    "(a := 1)",
    "(row := 1) or q",
    "f'{q.__class__}'",
    "f'{a}' == 'x'",
    "f'{q!r:>{a}}'",
    "'{0.__class__}'.format(q)",
    "'%s'.__mod__(q)",
    "rb'x' == raw",
    "*q",
    "(*q,)",
    "{**q}",
    "max(*q, 1)",
    "max(1, 2, key=abs)",
    "max(q, default=1)",
    "abs(**q)",
    "yield",
    "(yield a)",
    "await a",
    "a if ok else q",
    "a @ a",
    "a << 99999999",
    "a ** a",
    "2 ** 999999999",
    "~a",
    "a | a",
    "a & a",
    "a is true",
    "a in b in c",
    "1 < a in (1, 2)",
    "{'a': 1}",
    "[1, 2]",
    "(1, 2)",
    "...",
    "None",
    "1j",
    "9223372036854775808",
    "-9223372036854775809",
    "1e999",
    "-1e999",
    "1" * 400,
    "a in (1e999, 1)",
    "a in [[1]]",
    "a in (q, 1)",
    "a in ()[0]",
    "round(t, a)",
    "round(t, 16)",
    "round(t, 1.0)",
    "round(t, true)",
    "matches(q, q)",
    "matches(q, 'a' + 'b')",
    "matches(q)",
    "matches(q, '(')",
    "matches(q, 'a)|(b')",
    "matches(q, r'(a)\\1')",
    "matches(q, '(?=a)')",
    "matches(q, '(?<!a)b')",
    "matches(q, '(?>a)')",
    "matches(q, '(a{1000}){1000}')",
    "a; q",
    "a\\\nq[0]",
    "import os",
    "del a",
    "ok # and false",
    "(ok) # and\n false",
    "(ok # and\n false)",
    "# coding: utf-7",
    "\uff4c\uff45\uff4e(q) > 1",
    "\uff45\uff56\uff41\uff4c('1')",
    "ﬁeld('a')",
    "\uff46\uff49\uff45\uff4c\uff44('a')",
    "\uff48\uff41\uff53(a)",
    "\uff4datches(q, 'a')",
    "\uff54rue",
    "\U0001d41a == 1",
    "ª == 1",
    "\uff54opic == 'x'",
    "\uff54opic[0] == 'x'",
    "__\U0001d41c\U0001d425\U0001d41a\U0001d42c\U0001d42c__",
    "µ == 1",
    "a\u2028or ok",
    "a\u00a0== 1",
    "ok\x00",
    "ok\x1a",
    "\ufeffok",
    "\ud800",
    "[" * 199,
    "not " * 40 + "a",
    "-" * 40 + "a",
    "a" + "+a" * 40,
    "abs(" * 40 + "a" + ")" * 40,
    "a" * 1001,
    "a or " * 100_000,
]

USELESS = [
    "'a' * 1000000000",
    "1000000000 * 'a'",
    "q * a",
    "a * q",
    "raw * a",
    "ok * q",
    "q + q",
    "raw + raw",
    "'%1000000000d' % a",
    "'%s' % q",
    "raw % a",
    "'%(x)s' % q",
    "a * a",
    "a + 1",
    "-a - 2",
    "abs(-a - 1)",
    "-(-a - 1)",
    "(-a - 1) // -1",
    "a * a % 7",
    "1e308 * 10",
    "1e308 + 1e308",
    "1e308 / 1e-308",
    "1e308 // 1e-308",
    "-1e308 - 1e308",
    "round(1e300)",
    "round(9223372036854775807, -1)",
    "round(q)",
    "len(a)",
    "'a' in raw",
    "1 in raw",
    "ok in raw",
    "a in q",
    "raw in q",
    "topic[3]",
    "topic[-4]",
    "lower(raw)",
    "startswith(raw, raw)",
    "matches(raw, 'a')",
    "matches(s, '(a*)*b')",
]


@pytest.mark.parametrize("text", ESCAPES, ids=[repr(text[:40]) for text in ESCAPES])
def test_no_known_way_out_compiles(text) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_condition(text, "drop")
    assert 1 <= caught.value.column <= len(text) + 1
    assert len(caught.value.fault) < 300


def test_escapes_are_also_refused_inside_of_something_that_compiles() -> None:
    for text in ESCAPES:
        for wrapped in (f"ok or ({text})", f"min(1, ({text})) > 0"):
            with pytest.raises(ExpressionError):
                compile_condition(wrapped, "drop")


@pytest.mark.parametrize("name", ["q.__class__", "abs.__self__", "field.__globals__", "topic.__class__.__init__"])
def test_a_walk_over_attributes_is_the_name_of_a_field(name) -> None:
    assert compile_condition(f"{name} == 7", "quarantine")({name: 7}, "a/b", 0, 0)
    with pytest.raises(DecodeError, match="needs the field"):
        compile_condition(name, "quarantine")(ROW, "a/b", 0, 0)


def test_parentheses_may_be_many_as_long_as_the_parser_takes_them() -> None:
    assert keeping("(" * 100 + "a" + ")" * 100)({"a": 1})


@pytest.mark.parametrize("text", USELESS)
def test_what_would_grow_or_mix_types_is_a_fault_at_once(text) -> None:
    condition = compile_condition(text, "quarantine")
    tracemalloc.start()
    started = time.perf_counter()
    try:
        with pytest.raises(DecodeError) as caught:
            condition(ROW, "a/b/c", 0, 2)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - started < 0.5
    assert caught.value.reason.startswith("expression_")


def test_the_code_of_an_expression_can_name_nothing_but_the_functions() -> None:
    text = "min(a, len(q)) + 2 * t % 3 > round(t, 1) and matches(q, 'g.*') and has(zz) or clock in topic[0] or time < 1"
    keep = compile_condition(text, "drop")
    assert isinstance(keep, types.FunctionType)
    named = {*keep.__code__.co_names, *keep.__globals__}
    assert named <= {*SCOPE, "_on_fault", "_matches_0", "keep", "split"}
    assert keep.__globals__["__builtins__"] == {}
    assert not any(isinstance(constant, types.CodeType) for constant in keep.__code__.co_consts)


def test_a_pattern_takes_time_in_proportion_to_the_text() -> None:
    for pattern in ("(a*)*b", "(a|a)*b", "(a|aa)+b", "(.*)*(.*)*(.*)*b", "a?" * 50 + "a" * 50):
        condition = compile_condition(f"matches(s, '{pattern}')", "drop")
        started = time.perf_counter()
        assert condition({"s": "a" * MATCH_CHARACTERS_MAX}, "", 0, 0) is False
        assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize(
    ("pattern", "text", "outcome"),
    [
        ("a|b", "a", True),
        ("a|b", "ab", False),
        ("a", "a\n", False),
        ("^a$", "a", True),
        ("", "", True),
        ("", "a", False),
        ("[^/]+", "a/b", False),
        ("É.", "Éx", True),
        (".*x", "line\nx", False),
        ("good", "good ", False),
    ],
)
def test_a_pattern_must_match_the_whole_text(pattern, text, outcome) -> None:
    assert keeping(f"matches(field('s'), {pattern!r})")({"s": text}) is outcome


def test_a_fault_says_its_column_and_the_words() -> None:
    with pytest.raises(ExpressionError) as caught:
        keeping("ok and\n  q.lower() == 'x'")
    assert caught.value.column == 10
    assert "'q.lower()'" in caught.value.fault


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("zz > 1", "missing_field"),
        ("topic[9] == 'a'", "missing_level"),
        ("q > 1", "wrong_type"),
        ("a / 0", "division_by_zero"),
        ("a % 0", "division_by_zero"),
        ("t // 0", "division_by_zero"),
        ("a + a", "out_of_range"),
        ("matches(s, 'a*')", "text_too_long"),
    ],
)
def test_a_fault_of_evaluation_is_told_by_its_reason_or_decided_by_the_choice(text, reason) -> None:
    with pytest.raises(DecodeError) as caught:
        compile_condition(text, "quarantine")(ROW, "a/b", 0, 0)
    assert caught.value.reason == f"expression_{reason}"
    choices: list[tuple[FaultChoice, bool]] = [("drop", False), ("keep", True)]
    for choice, outcome in choices:
        assert compile_condition(text, choice)(ROW, "a/b", 0, 0) is outcome


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("topic == 'plant/7/climate'", True),
        ("topic[0] == 'plant' and topic[1] == '7' and topic[-1] == 'climate' and topic[-3] == 'plant'", True),
        ("startswith(topic, 'plant/')", True),
        ("time == 1700000000.25", True),
        ("79999 < time % 86400 < 80001", True),
        ("clock == 'holdover'", True),
        ("clock in ('synchronised', 'unsynchronised')", False),
        ("field('topic') == 1 and field('time') == 2 and field('clock') == 3", True),
        ("has(topic) and has('time')", True),
        ("topic.name == 4", True),
        ("quality == 5", True),
    ],
)
def test_topic_time_and_clock_are_what_the_row_came_with(text, outcome) -> None:
    row = {"topic": 1, "time": 2, "clock": 3, "topic.name": 4, "quality": 5}
    assert compile_condition(text, "quarantine")(row, "plant/7/climate", 1_700_000_000_250_000_000, 1) is outcome


def test_fields_that_are_called_like_surroundings_are_reached_by_name() -> None:
    row = {"topic": 1, "time": 2, "clock": 3}
    assert keeping("field('topic') == 1 and field('time') == 2 and field('clock') == 3")(row)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ESCAPES + USELESS), st.sampled_from(ESCAPES + USELESS), st.data())
def test_mixtures_of_tricks_compile_to_a_decision_or_have_a_fault(one, other, data) -> None:
    cut, start = data.draw(st.integers(0, len(one[:80]))), data.draw(st.integers(0, len(other[:80])))
    text = one[:cut] + other[:80][start:]
    with suppress(ExpressionError):
        assert compile_condition(text, "drop")(dict(ROW), "a/b", 0, 0) in (True, False)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.characters(codec=None), max_size=30))
def test_any_text_either_compiles_or_raises_the_one_error(text) -> None:
    with suppress(ExpressionError):
        assert compile_condition(text, "keep")({}, "", 0, 0) in (True, False)
