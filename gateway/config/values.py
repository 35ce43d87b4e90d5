"""Turn one TOML value into the value of its option, or say in one sentence what is wrong and what to write.

`value_of` raises ValueError; the sentence names what was found, what is expected and, where there is one, the nearest
thing that would do. Paths are left as they are: whoever knows the file's folder resolves them.
"""

from __future__ import annotations

import math
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, TypeVar

from gateway.config import schema
from gateway.config.units import parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway.config.options import Kind, Option

T = TypeVar("T")

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

MULTI_LINE_OPTIONS: Final = frozenset({"route.keep"})

_NAME: Final = re.compile(NAME_PATTERN)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SHOWN_MAX: Final = 60


def found(raw: object) -> str:
    """Return in words what a TOML value is."""
    if isinstance(raw, bool):
        return f"the boolean {str(raw).lower()}"
    for type_, words in ((int, "the integer"), (float, "the number"), (str, "the text")):
        if isinstance(raw, type_):
            text = repr(raw) if not isinstance(raw, str) else f'"{raw}"'
            return f"{words} {text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + '…'}"
    return "an array" if isinstance(raw, list) else "a table" if isinstance(raw, dict) else "a date or time"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that is most like `word`, or an empty string when none is."""
    by_lower = {one.lower(): one for one in known}
    close = get_close_matches(word.lower(), by_lower, 1, 0.6)
    return by_lower[close[0]] if close else ""


def value_of(option: Option, raw: object) -> Any:  # noqa: ANN401  # what the option's attribute holds
    """Return what `raw` means for `option`; raise ValueError with a sentence when it means nothing."""
    return _READERS[option.kind](option, raw)


def expected(option: Option) -> str:
    """Return in words how the option is written."""
    examples: dict[Kind, str] = {
        "duration": 'a duration like "30s"',
        "size": 'a size like "8MiB"',
        "integer": "an integer",
        "number": "a number",
        "text": "a text in quotes",
        "boolean": "true or false",
        "choice": f"one of {_listed(option.choices)}",
        "texts": 'an array of texts like ["a", "b"]',
        "choices": f"an array of some of {_listed(option.choices)}",
        "numbers": "a table of numbers like {temperature = 0.5}",
        "words": 'a table of texts like {line = "A"}',
        "table": "a table",
        "tables": "an array of tables",
    }
    return examples[option.kind]


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)


def _fault(raw: object, sentence: str) -> ValueError:
    return ValueError(f"found {found(raw)}, {sentence}")


def _mismatch(option: Option, raw: object) -> ValueError:
    return _fault(raw, f"expected {expected(option)}")


def _in_bounds(option: Option, value: float, raw: object) -> float:
    low, high = option.low, option.high
    if (low is not None and value < low) or (high is not None and value > high):
        raise _fault(raw, f"expected a value {_bounds(option)}")
    return value


def _bounds(option: Option) -> str:
    bounds = option.bounds()
    return f"from {bounds}" if option.low is not None and option.high is not None else f"of {bounds}"


def _integer(option: Option, raw: object) -> float:
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise _mismatch(option, raw)
    return _in_bounds(option, raw, raw)


def _number(option: Option, raw: object) -> float:
    if not isinstance(raw, int | float) or isinstance(raw, bool):
        raise _mismatch(option, raw)
    try:
        value = float(raw)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise _fault(raw, "expected a finite number")
    return _in_bounds(option, value, raw)


def _duration(option: Option, raw: object) -> float:
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        raise _fault(raw, f'a duration without its unit: write "{raw}s" or "{raw}ms"')
    return _measured(option, raw, parse_duration)


def _size(option: Option, raw: object) -> float:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return _in_bounds(option, raw, raw)
    return _measured(option, raw, parse_size)


def _measured(option: Option, raw: object, parse: Callable[[str], int]) -> float:
    if not isinstance(raw, str):
        raise _mismatch(option, raw)
    try:
        value = parse(raw)
    except ValueError as error:
        raise _fault(raw, f"{error}") from None
    return _in_bounds(option, value, raw)


def _boolean(option: Option, raw: object) -> bool:
    if not isinstance(raw, bool):
        raise _mismatch(option, raw)
    return raw


def _text(option: Option, raw: object) -> str:
    if not isinstance(raw, str):
        raise _mismatch(option, raw)
    if option.path in schema.NAME_OPTIONS and not _NAME.fullmatch(raw):
        signs = "a to z, A to Z, 0 to 9, dot, underscore or hyphen"
        raise _fault(raw, f"expected a name: 1 to 64 of {signs}, a letter or digit first")
    if not raw and (option.required or option.default):
        raise ValueError("found an empty text, expected one that says something")
    if _CONTROL.search(raw) and option.path not in MULTI_LINE_OPTIONS:
        raise ValueError("found a control character in the text: write it without line breaks and tabs")
    return raw


def _choice(option: Option, raw: object) -> str:
    if not isinstance(raw, str):
        raise _mismatch(option, raw)
    if raw not in option.choices:
        close = nearest(raw, option.choices)
        hint = f'; did you mean "{close}"?' if close else ""
        raise _fault(raw, f"expected {expected(option)}{hint}")
    return raw


def _array(option: Option, raw: object, read: Callable[[Option, object], str]) -> tuple[str, ...]:
    if not isinstance(raw, list):
        raise _mismatch(option, raw)
    values = tuple(read(option, one) for one in raw)
    if not values and (option.required or option.default):
        raise ValueError("found an empty array, expected at least one text")
    twice = next((value for number, value in enumerate(values) if value in values[:number]), None)
    if twice is not None:
        raise ValueError(f'"{twice}" stands in the array twice: remove one')
    return values


def _texts(option: Option, raw: object) -> tuple[str, ...]:
    if option.path in schema.BLANK_OPTIONS and isinstance(raw, list):
        _array(option, [one for one in raw if one != ""], _text_of_array)
        return tuple(raw)
    return _array(option, raw, _text_of_array)


def _text_of_array(option: Option, raw: object) -> str:
    if raw == "":
        raise ValueError("found an empty text in the array: remove it")
    if not isinstance(raw, str):
        raise _fault(raw, "in an array of texts: put it in quotes, or remove it")
    return _text(option, raw)


def _choices(option: Option, raw: object) -> tuple[str, ...]:
    return _array(option, raw, _choice)


def _numbers(option: Option, raw: object) -> Mapping[str, float]:
    return _each(option, raw, _number, "a number")


def _words(option: Option, raw: object) -> Mapping[str, str]:
    return _each(option, raw, _text, "a text")


def _each(option: Option, raw: object, read: Callable[[Option, object], T], what: str) -> Mapping[str, T]:
    if not isinstance(raw, dict):
        raise _mismatch(option, raw)
    values = {}
    for name, value in raw.items():
        try:
            values[name] = read(option, value)
        except ValueError as error:
            raise ValueError(f'"{name}": {str(error).replace(expected(option), what)}') from None
    return values


_READERS: Final[dict[Kind, Callable[[Option, object], Any]]] = {
    "integer": _integer,
    "number": _number,
    "duration": _duration,
    "size": _size,
    "boolean": _boolean,
    "text": _text,
    "choice": _choice,
    "texts": _texts,
    "choices": _choices,
    "numbers": _numbers,
    "words": _words,
}
