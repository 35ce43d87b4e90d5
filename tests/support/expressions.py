"""Expressions that look at the row alone, as a short way to write tests of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.model import CLOCK_SYNCHRONISED
from gateway.process.expression import compile_condition

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.model import Row


def keeping(text: str) -> Callable[[Row], bool]:
    """Return the function that says whether a row is kept; a fault drops it. Raises `ExpressionError`."""
    condition = compile_condition(text, "drop")
    return lambda row: condition(row, "plant/a", 0, CLOCK_SYNCHRONISED)
