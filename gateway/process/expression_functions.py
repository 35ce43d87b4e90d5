"""What an expression can call, and nothing else: the whole scope of the code that is made of it.

Each function takes what a row may hold and returns what a row may hold, or raises one of `FAULTS`. None of them takes
time or memory out of proportion to its arguments, and arguments are no longer than a payload. Numbers are bounded:
integers to 64 signed bits, floats to finite ones.

Patterns are matched by the engine that also checks JSON Schemas (the `regex` crate, through the package jsonschema-rs):
its time is linear in the text, whatever the pattern, because it has neither back-references nor look-around. Python's
own engine would take exponential time on texts that a sensor chooses.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Final, cast

from gateway.decode.contract import INTEGER_MAX, INTEGER_MIN

if TYPE_CHECKING:
    from collections.abc import Callable

CLOCKS: Final = ("unsynchronised", "holdover", "synchronised")
"""What `clock` says, by the number that `gateway.model` gives each."""

DIGITS_MAX: Final = 15
"""Most decimals that `round` can be asked for: more than that no double keeps."""

MATCH_CHARACTERS_MAX: Final = 4096
"""Longest text that `matches` looks at."""

_PATTERN_BYTES_MAX: Final = 1 << 20
"""What a compiled pattern may take, and the states it makes while it runs may take."""


class TextTooLongError(ValueError):
    """A text is longer than `matches` looks at."""


FAULTS: Final = (KeyError, IndexError, TypeError, ValueError, ArithmeticError)
"""What the evaluation of an expression can raise; see `fault_of`."""


def fault_of(error: BaseException) -> tuple[str, str]:
    """Return the reason, a short word that is counted, and the sentence for one of `FAULTS`."""
    match error:
        case KeyError():
            return "expression_missing_field", f"the expression needs the field {str(error.args[0])[:80]!r}"
        case IndexError():
            return "expression_missing_level", "the expression needs a level that the topic does not have"
        case ZeroDivisionError():
            return "expression_division_by_zero", "the expression divides by zero"
        case ArithmeticError():
            return "expression_out_of_range", "a number in the expression leaves 64 bits, or is not finite"
        case TextTooLongError():
            return "expression_text_too_long", f"matches() takes no text of more than {MATCH_CHARACTERS_MAX} characters"
        case _:
            return "expression_wrong_type", "the expression meets a value of a type that it cannot be computed with"


def matcher(pattern: str) -> Callable[[object], bool]:
    """Return the function that says whether the whole of a text matches `pattern`.

    Raises `ValueError` when this is no pattern, `ImportError` when the package that matches is not installed.
    """
    import jsonschema_rs  # noqa: PLC0415  # an extra, needed by nobody else

    options = jsonschema_rs.RegexOptions(size_limit=_PATTERN_BYTES_MAX, dfa_size_limit=_PATTERN_BYTES_MAX)
    jsonschema_rs.validator_for({"pattern": pattern}, pattern_options=options)  # what is no pattern might end the group
    whole = jsonschema_rs.validator_for({"pattern": f"^(?:{pattern})$"}, pattern_options=options)
    is_valid = cast("Callable[[str], bool]", whole.is_valid)

    def matches(text: object) -> bool:
        if not isinstance(text, str):
            raise TypeError
        if len(text) > MATCH_CHARACTERS_MAX:
            raise TextTooLongError
        return is_valid(text)

    return matches


def bounded(value: object) -> float:
    """Return the result of arithmetic that is not plainly within bounds, if it is a finite float."""
    if isinstance(value, float) and isfinite(value):
        return value
    raise OverflowError


def _rounded(value: object, digits: int | None = None) -> float:
    if not isinstance(value, int | float):
        raise TypeError
    result: float = round(value, digits)
    return result if INTEGER_MIN <= result <= INTEGER_MAX else bounded(result)


def _is_within(part: object, whole: object) -> bool:
    if isinstance(whole, str):
        return part in whole  # type: ignore[operator]  # what is no text raises TypeError
    if isinstance(part, bytes) and isinstance(whole, bytes):
        return part in whole
    raise TypeError


def _is_number(value: object) -> bool:
    return value.__class__ is float or value.__class__ is int


def _is_text(value: object) -> bool:
    return value.__class__ is str


def _is_boolean(value: object) -> bool:
    return value.__class__ is bool


FUNCTIONS: Final[dict[str, tuple[int, int]]] = {
    "abs": (1, 1),
    "min": (2, 8),
    "max": (2, 8),
    "round": (1, 2),
    "len": (1, 1),
    "lower": (1, 1),
    "upper": (1, 1),
    "startswith": (2, 2),
    "endswith": (2, 2),
    "matches": (2, 2),
    "isnum": (1, 1),
    "istext": (1, 1),
    "isbool": (1, 1),
}
"""The functions and how many arguments they take."""

SCOPE: Final[dict[str, object]] = {
    "__builtins__": {},
    "abs": abs,
    "min": min,
    "max": max,
    "round": _rounded,
    "len": len,
    "lower": str.lower,
    "upper": str.upper,
    "startswith": str.startswith,
    "endswith": str.endswith,
    "isnum": _is_number,
    "istext": _is_text,
    "isbool": _is_boolean,
    "_bounded": bounded,
    "_is_within": _is_within,
    "_CLOCKS": CLOCKS,
    "_FAULTS": FAULTS,
}
"""All that the code of an expression can name, besides its arguments and its own temporary names."""
