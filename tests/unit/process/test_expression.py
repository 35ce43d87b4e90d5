"""What an expression says of a row, what it refuses to compile, and that it can do nothing else."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ExpressionError
from gateway.process.expression_functions import FUNCTIONS
from tests.support.expressions import keeping

ROW = {"t": 21.5, "q": "good", "a.b": 3, "x y": 1, "n": 5, "ok": True, "raw": b"\x01", "µ": 2}

TRUE = [
    "t > -40 and q == 'good'",
    "0 < a.b <= 3",
    "field('x y') == 1",
    "field('µ') == 2",
    "not n == 4",
    "q in ('good', 'ok')",
    "q not in ['bad']",
    "n in {1, 5, -2}",
    "'oo' in q",
    "has(n) and n * 2 >= 10",
    "has(zz) or n % 2 == 1",
    "has('x y') and not has('nope') and has(a.b)",
    "abs(-n) == 5",
    "min(n, 3, t) == 3 and max(n, 3) == 5",
    "startswith(q, 'go') and endswith(q, 'od')",
    "upper(q) == 'GOOD' and lower('X') == 'x' and len(q) == 4",
    "isnum(t) and istext(q) and isbool(ok) and not isnum(ok)",
    "ok == true and ok != false and ok == True",
    "n / 2 == 2.5 and n // 2 == 2 and n - 1 == 4 and n + 1 == 6",
    "(t > 100\n or q == 'good')",
    "ok",
    "  n == 5  ",
]

NOT_TRUE = [
    "missing > 1",
    "not missing",
    "missing > 1 or n == 5",
    "q > 3",
    "not (q > 3)",
    "n / 0 > 1",
    "n % 0 == 0",
    "abs(q) == 1",
    "len(n) == 1",
    "q * 3 == 'goodgoodgood'",
    "q + q == 'goodgood'",
    "'%d' % n == '5'",
    "n in q",
    "lower(n) == 'x'",
    "1e308 * 10 < 1",
    "false",
    "n == 4",
    "q == 3",
]

FAULTS = [
    ("", 1, "empty"),
    ("  ", 1, "empty"),
    ("t ** 2 > 1", 1, "arithmetic"),
    ("n > 1 and t ** 2", 11, "arithmetic"),
    ("  t << 2", 3, "arithmetic"),
    ("é == 1 and b ** 2", 12, "arithmetic"),
    ("t > ", 4, "more must follow"),
    ("  t > 1 and\n", 12, "more must follow"),
    ("n > 1 and quality = 'good'", 19, "no expression: invalid syntax: \"= 'good'\""),
    ("a == 'x", 6, "no expression"),
    ("(n > 1", 1, "no expression"),
    ("class > 1", 1, "no expression"),
    ("a = 1", 1, "no expression"),
    ("a := 1", 3, "no expression"),
    ("import os", 1, "no expression"),
    ("'\\d' == a", 1, "no expression"),
    ("a\0b", 1, "no expression"),
    ("(" * 300, 201, "no expression"),
    ("a if b else c", 1, "not allowed"),
    ("lambda: 1", 1, "not allowed"),
    ("a[0]", 1, "not allowed"),
    ("[x for x in y]", 1, "not allowed"),
    ("f'{a}'", 1, "not allowed"),
    ("~n", 1, "not allowed"),
    ("(a, b)", 1, "not allowed"),
    ("{'a': 1}", 1, "not allowed"),
    ("n > 1 and __import__('os')", 11, "these functions"),
    ("a.b()", 1, "these functions"),
    ("eval('1')", 1, "these functions"),
    ("row.pop('t')", 1, "these functions"),
    ("'a'.join(q)", 1, "these functions"),
    ("(1).real", 1, "a dot"),
    ("has(q).x", 1, "a dot"),
    ("b'a' == raw", 1, "literals"),
    ("1j", 1, "literals"),
    ("n == None", 6, "literals"),
    ("...", 1, "literals"),
    ("a is 1", 1, "=="),
    ("x in [y]", 6, "holds"),
    ("min(a)", 1, "2 to 8"),
    ("len(a, b)", 1, "one argument"),
    ("abs(x=1)", 1, "one argument"),
    ("abs(*a)", 5, "not allowed"),
    ("field(a) > 1", 1, "in quotes"),
    ("has(1)", 1, "in quotes"),
    ("µ > 1", 1, "field("),
    ("a . b > 1", 1, "field("),
    ("-" * 40 + "1", 33, "deeper"),
    ("not " * 200 + "a", 129, "deeper"),
    ("x" * 1001, 1001, "longer"),
]


@pytest.mark.parametrize("text", TRUE)
def test_a_row_is_kept_for_which_the_expression_is_true(text) -> None:
    assert keeping(text)(dict(ROW)) is True


@pytest.mark.parametrize("text", NOT_TRUE)
def test_a_row_is_not_kept_when_the_expression_is_false_or_cannot_be_computed(text) -> None:
    assert keeping(text)(dict(ROW)) is False


@pytest.mark.parametrize(("text", "column", "fault"), FAULTS, ids=[repr(text[:30]) for text, _, _ in FAULTS])
def test_what_is_not_listed_does_not_compile_and_the_fault_says_where(text, column, fault) -> None:
    with pytest.raises(ExpressionError) as caught:
        keeping(text)
    assert fault in caught.value.fault
    if "no expression" in fault:  # the column is Python's own, and differs between its versions
        assert 1 <= caught.value.column <= len(text) + 1
    else:
        assert caught.value.column == column


@pytest.mark.parametrize(
    "text", ["-" * 999, "9" * 999, "9" * 400 + "*" + "9" * 400, "a" + "*a" * 400, "a" + "<a" * 400]
)
def test_no_text_within_the_limit_takes_long(text) -> None:
    started = time.perf_counter()
    with suppress(ExpressionError):
        keeping(text)({"a": 2**63 - 1})
    assert time.perf_counter() - started < 1.0


PARTS = [
    *"()<>=!+-*/%.,'[]{}:@~^|&",
    " ",
    "and",
    "or",
    "not",
    "in",
    "is",
    "if",
    "else",
    "lambda",
    "for",
    "t",
    "q",
    "a.b",
]
PARTS += ["has", "field", "len", "abs", "min", "__class__", "row", "1", "0", "1e9", "'x'", "**", "==", "true", "None"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=12).map(" ".join) | st.text(max_size=20))
def test_any_text_compiles_to_a_decision_or_has_a_fault(text) -> None:
    try:
        keep = keeping(text)
    except ExpressionError as error:
        assert error.column >= 1  # noqa: PT017  # raising is allowed, not required
    else:
        row = dict(ROW)
        assert keep(row) in (True, False)
        assert row == ROW


def test_the_page_on_expressions_says_what_is_so() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "expressions.md").read_text("utf-8")
    examples = re.findall(r"^\| `(\{.*?\})` \| `(.*?)` \| (kept|filtered)", page, re.MULTILINE)
    assert len(examples) == 11
    for row, text, outcome in examples:
        assert keeping(text)(json.loads(row)) is (outcome == "kept"), text
    for name in [*FUNCTIONS, "field", "has"]:
        assert f"`{name}(" in page
