"""Schema files → JSON documents, within bounds that every walk over them relies on."""

from __future__ import annotations

import json
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, NoReturn

from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

BYTES_MAX: Final = 256 * 1024
DEPTH_MAX: Final = 64

HINT: Final = "correct the schema: see docs/reference/schemas.md for what is read"


def schema_document(data: bytes) -> Any:  # noqa: ANN401  # any JSON
    """Return the JSON document that `data` holds. Raises `ConfigError`."""
    if len(data) > BYTES_MAX:
        raise ConfigError(f"the schema has {len(data)} bytes, {BYTES_MAX} are allowed", hint=HINT)
    try:
        document = json.loads(data, object_pairs_hook=_unique, parse_constant=_not_json, parse_float=_finite)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise ConfigError(f"the schema is not JSON: {error}", hint=HINT) from None
    level: list[Any] = [document]
    for _ in range(DEPTH_MAX):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return document
    raise _too_deep()


def pointer(path: str, *steps: str | int) -> str:
    """Return a JSON Pointer to what lies under `path` (RFC 6901, section 3)."""
    return path + "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def _inside(value: object) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _too_deep() -> ConfigError:
    return ConfigError(f"the schema is nested deeper than {DEPTH_MAX}", hint=HINT)


def _finite(number: str) -> float:
    value = float(number)
    return value if isfinite(value) else _not_json(number)


def _not_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number that can be read")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"the key {twice[:80]!r} is there twice")
    return document
