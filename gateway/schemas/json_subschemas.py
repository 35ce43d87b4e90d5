"""One JSON Schema as the comparison sees it: conjunctions of subschemas, and what can be told of such a conjunction.

A **conjunction** is a list of subschemas that must all hold; `$ref` and `allOf` are taken apart into it, so that each
member can be read keyword by keyword. What is told of a conjunction is never narrower than the truth: the types it may
have, the values it lists, its tightest bounds. References are followed inside of the document only.

Sources: JSON Schema draft 2020-12, and 2019-09, 7, 6, 4 where they differ (`items` as an array, boolean
`exclusiveMinimum`, `$ref` that hides its neighbours up to draft 7).
"""

from __future__ import annotations

import json
import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeGuard

from gateway.errors import ConfigError
from gateway.schemas.document import HINT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Subschema: TypeAlias = dict[str, Any]
Conjunction: TypeAlias = tuple[Subschema, ...]

TYPES: Final = ("null", "boolean", "integer", "number", "string", "array", "object")
"""The types that are told apart; "number" is one with a fraction here, so that no two overlap."""

NEVER: Final[Subschema] = {"enum": []}
"""Stands for `false`: nothing is valid."""
OF_TYPE: Final[dict[str, Subschema]] = {name: {"type": name} for name in TYPES}

_FEW_VALUED: Final = frozenset({"null", "boolean"})
_LISTS: Final = frozenset({"allOf", "anyOf", "oneOf", "enum", "prefixItems", "required"})
_OBJECTS: Final = frozenset({"properties", "patternProperties"})
_REFERENCES: Final = frozenset({"$dynamicRef", "$recursiveRef"})
_HIDING_DRAFTS: Final = re.compile(r"draft-0[3467]")


class OutsideError(Exception):
    """A reference leads where it is not followed; the text says where."""


class Document:
    """One schema with what it defines."""

    def __init__(self, root: object) -> None:
        if not isinstance(root, dict | bool):
            raise _no_schema("it is neither an object nor true or false")
        self.root = root
        self._ref_hides = isinstance(root, dict) and bool(_HIDING_DRAFTS.search(str(root.get("$schema"))))
        self._has_inner_ids = any(
            isinstance(each.get(key), str)
            for inner in _children(root)
            for each in _subschemas(inner)
            for key in ("$id", "id")
        )
        self._exact: dict[str, Subschema] = {}

    def conjunction(self, schema: object, *, as_written: bool) -> Conjunction:
        """Return what must hold for `schema`.

        As what is written, a reference that cannot be followed is left out: more may be written then. As what is read,
        it raises `OutsideError`. Raises `ConfigError` when `schema` is none.
        """
        found: list[Subschema] = []
        seen: set[str] = set()
        waiting = [schema]
        while waiting:
            each = waiting.pop()
            if isinstance(each, bool):
                found += [] if each else [NEVER]
                continue
            if not isinstance(each, dict):
                raise _no_schema("one of its subschemas is no object")
            _check_shape(each)
            reference = each.get("$ref")
            if isinstance(reference, str):
                if reference not in seen:
                    seen.add(reference)
                    try:
                        waiting.append(self._target(reference))
                    except OutsideError:
                        if not as_written:
                            raise
                if self._ref_hides:
                    continue
            if not as_written and not _REFERENCES.isdisjoint(each):
                raise OutsideError("it depends on the place it is used from ($dynamicRef)")
            waiting += each.get("allOf", ())
            found.append(each)
        return tuple(found)

    def exact(self, value: object) -> Subschema:
        """Return the schema that only `value` keeps, in the keywords that the comparison knows; always the same one."""
        key = identity(value)
        if key not in self._exact:
            self._exact[key] = _exact(value)
        return self._exact[key]

    def _target(self, reference: str) -> object:
        if not reference.startswith("#") or (len(reference) > 1 and reference[1] != "/"):
            raise OutsideError(f"the reference {reference[:80]!r} is not followed: it leads out of the schema")
        if self._has_inner_ids:
            raise OutsideError("references are not followed where parts of a schema have an $id of their own")
        here: Any = self.root
        for step in reference.split("/")[1:]:
            key = _unescaped(step)
            try:
                here = here[int(key)] if isinstance(here, list) else here[key]
            except (KeyError, IndexError, ValueError, TypeError):
                raise ConfigError(f"the reference {reference[:80]!r} leads nowhere", hint=HINT) from None
        return here


class Bound(NamedTuple):
    """A lower or, negated, an upper bound; one that excludes its value is tighter."""

    value: Fraction
    excludes: bool


def types_of(conjunction: Conjunction) -> frozenset[str]:
    """Return the types that a valid value may have."""
    found = frozenset(TYPES)
    for each in conjunction:
        if "type" in each:
            found &= _types_said(each["type"])
        values = _listed(each)
        if values is not None:
            found &= {type_name(value) for value in values}
    return found


def values_of(conjunction: Conjunction) -> list[Any] | None:
    """Return the values that a valid one is among, None when they are not listed."""
    types = types_of(conjunction)
    lists = [values for values in map(_listed, conjunction) if values is not None]
    if not lists:
        return [each for each in (None, True, False) if type_name(each) in types] if types <= _FEW_VALUED else None
    return [value for value in min(lists, key=len) if type_name(value) in types]


def lower(conjunction: Conjunction) -> Bound | None:
    """Return the tightest lower bound."""
    found = [bound for each in conjunction for bound in _bounds(each, "minimum", "exclusiveMinimum")]
    return max(found, default=None)


def upper(conjunction: Conjunction) -> Bound | None:
    """Return the tightest upper bound, its value negated."""
    found = [bound for each in conjunction for bound in _bounds(each, "maximum", "exclusiveMaximum")]
    return max((Bound(-value, excludes) for value, excludes in found), default=None)


def said(conjunction: Iterable[Subschema], keyword: str) -> list[Any]:
    """Return what the members say under a keyword."""
    return [each[keyword] for each in conjunction if keyword in each]


def numbers_said(conjunction: Iterable[Subschema], keyword: str) -> list[Fraction]:
    """Return the numbers that the members say under a keyword."""
    return [exact_number(value) for value in said(conjunction, keyword) if _is_number(value)]


def exact_number(value: float) -> Fraction:
    """Return a number as it is written in decimals: a step of 0.1 is a tenth."""
    return Fraction(str(value))


def required_of(conjunction: Conjunction) -> frozenset[str]:
    """Return the properties that a valid object has."""
    return frozenset(name for names in said(conjunction, "required") if isinstance(names, list) for name in names)


def tuple_of(each: Subschema) -> tuple[Sequence[Any], Any]:
    """Return the subschemas of the first elements of an array, and the one of all that follow them."""
    if isinstance(each.get("items"), list):
        return each["items"], each.get("additionalItems", True)
    return each.get("prefixItems", ()), each.get("items", True)


def identity(value: object) -> str:
    """Return a text that two values share when JSON Schema holds them equal: 1 and 1.0 do, 1 and true do not."""
    return json.dumps(_plain(value), sort_keys=True)


def has_references(value: object) -> bool:
    """Return whether what a value says depends on something outside of it."""
    return any(not {"$ref", *_REFERENCES}.isdisjoint(each) for each in _subschemas(value))


def type_name(value: object) -> str:
    """Return which of `TYPES` a value has."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "integer" if value == int(value) else "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _types_said(said_type: object) -> frozenset[str]:
    names = said_type if isinstance(said_type, list) else [said_type]
    if not all(isinstance(name, str) and name in TYPES for name in names):
        raise _no_schema(f"{str(said_type)[:80]!r} is no type")
    return frozenset(names) | ({"integer"} if "number" in names else frozenset())


def _listed(each: Subschema) -> list[Any] | None:
    if "const" in each:
        return [each["const"]]
    values = each.get("enum")
    return values if isinstance(values, list) else None


def _bounds(each: Subschema, keyword: str, exclusive: str) -> Iterator[Bound]:
    value, excluded = each.get(keyword), each.get(exclusive)
    if _is_number(value):
        yield Bound(exact_number(value), excluded is True)
    if _is_number(excluded):
        yield Bound(exact_number(excluded), excludes=True)


def _check_shape(each: Subschema) -> None:
    """Raise `ConfigError` when a keyword that is walked into holds what it cannot."""
    for keywords, shape in ((_LISTS, list), (_OBJECTS, dict)):
        for keyword in keywords & each.keys():
            if not isinstance(each[keyword], shape):
                raise _no_schema(f"{keyword} holds what it cannot")
    if not all(isinstance(name, str) for name in each.get("required", ())):
        raise _no_schema("required holds names only")


def _no_schema(fault: str) -> ConfigError:
    return ConfigError(f"this is no JSON Schema: {fault}", hint=HINT)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _exact(value: object) -> Subschema:
    schema: Subschema = {"type": type_name(value), "const": value}
    match value:
        case bool() | None:
            pass
        case int() | float():
            schema |= {"minimum": value, "maximum": value}
        case str():
            schema |= {"minLength": len(value), "maxLength": len(value)}
        case list():
            schema |= {"minItems": len(value), "maxItems": len(value)}
            schema |= {"prefixItems": [_exact(each) for each in value], "items": False}
            schema |= {"uniqueItems": len({identity(each) for each in value}) == len(value)}
        case dict():
            schema |= {"properties": {key: _exact(each) for key, each in value.items()}, "required": list(value)}
            schema |= {"additionalProperties": False, "minProperties": len(value), "maxProperties": len(value)}
    return schema


def _plain(value: object) -> object:
    if isinstance(value, float) and value == int(value):
        return int(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _subschemas(value: object) -> Iterator[Subschema]:
    if isinstance(value, dict):
        yield value
    for inner in _children(value):
        yield from _subschemas(inner)


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _unescaped(step: str) -> str:
    step = re.sub(r"%([0-9A-Fa-f]{2})", lambda found: chr(int(found[1], 16)), step)
    return step.replace("~1", "/").replace("~0", "~")
