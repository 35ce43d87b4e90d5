"""`keep` expressions: text → a function of a row, as fast as Python itself and able to do nothing else.

    text ─ expression_syntax: parse, refuse ─▶ tree ─ compile ─▶ function, run in expression_functions.SCOPE only

An expression can neither reach an object it was not given nor take long: there are no loops, no powers, no attributes,
no calls but the listed ones, and every number stays within 64 bits.

Evaluation ends in true, in false, or in a fault: a field that is missing where it is needed, a value of a type that
cannot be computed with, a division by zero, a number out of range. What a fault means for the row is the route's
choice (`FaultChoice`). See docs/reference/expressions.md.

Invariant: the function returns a boolean or raises `DecodeError`, whatever the row holds, and leaves the row alone.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeAlias, cast

from gateway.errors import DecodeError, ExpressionError
from gateway.process.expression_functions import SCOPE, fault_of
from gateway.process.expression_syntax import Translator, parsed

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.model import Row

FaultChoice: TypeAlias = Literal["drop", "keep", "quarantine"]
"""What becomes of a row for which the expression cannot be computed."""

_FUNCTION: Final = """
def keep(row, topic, time_ns, clock):
    try:
        return True if 0 else False
    except _FAULTS as fault:
        return _on_fault(fault)
"""


def compile_condition(text: str, on_fault: FaultChoice) -> Callable[[Row, str, int, int], bool]:
    """Return the function that says whether a row is kept, of the row and what it came with.

    Its arguments are the row, the topic, the row's time in ns and the clock (`gateway.model`). With "quarantine" it
    raises `DecodeError` for a fault, with the reasons of `expression_functions.fault_of`. Raises `ExpressionError`.
    """
    line, start, tree = parsed(text)
    translator = Translator(line, start)
    code = ast.parse(_FUNCTION)
    (decision,) = (node for node in ast.walk(code) if isinstance(node, ast.IfExp))
    decision.test = translator.translated(tree)
    ast.fix_missing_locations(code)
    scope: dict[str, Any] = {**SCOPE, **translator.scope, "_on_fault": _ON_FAULT[on_fault]}
    try:
        exec(compile(code, "<keep>", "exec"), scope)  # noqa: S102  # every node of it was made by the translator
    except (RecursionError, MemoryError, ValueError) as error:
        raise ExpressionError(f"the expression is too large: {error}", start + 1) from None
    return cast("Callable[[Row, str, int, int], bool]", scope["keep"])


def _drop(_fault: Exception) -> bool:
    return False


def _keep(_fault: Exception) -> bool:
    return True


def _quarantine(fault: Exception) -> NoReturn:
    raise DecodeError(*fault_of(fault)) from None


_ON_FAULT: Final[dict[FaultChoice, Callable[[Exception], bool]]] = {
    "drop": _drop,
    "keep": _keep,
    "quarantine": _quarantine,
}
