"""Does one JSON Schema take every document that another allows?

    writer  ─ conjunction of what may be written ─┐
                                                  ├─▶ each keyword of the reader: is it implied?
    reader  ─ one subschema after the other ──────┘

A keyword of the reader is implied when what may be written has no value of the type that it speaks of, or is at least
as tight. Where it is not implied at once, what may be written is taken apart into its alternatives (`anyOf`, `oneOf`,
`enum`) and each is looked at. Below properties and elements the same question is asked again.

Containment of JSON Schemas is undecidable in practice, so the answer errs on one side: what is not proved is a finding.
Invariant: without a finding, every document that is valid for the writer is valid for the reader.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway.schemas import json_subschemas as sub
from gateway.schemas.document import pointer
from gateway.schemas.finding import FINDINGS_MAX, STEPS_MAX, TOO_LARGE, Finding, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.schemas.json_subschemas import Conjunction, Subschema

_NUMBERS: Final = frozenset({"integer", "number"})
_STRINGS: Final = frozenset({"string"})
_ARRAYS: Final = frozenset({"array"})
_OBJECTS: Final = frozenset({"object"})

_OF_ANY: Final = frozenset(sub.TYPES)

_SAME_ONLY: Final = {
    "format": _STRINGS, "contentEncoding": _STRINGS, "contentMediaType": _STRINGS, "contentSchema": _STRINGS,
    "propertyNames": _OBJECTS, "dependentRequired": _OBJECTS, "dependentSchemas": _OBJECTS, "dependencies": _OBJECTS,
    "not": _OF_ANY,
}  # fmt: skip
"""Keywords that are implied by the same keyword with the same value only, and the types that they speak of."""

_SAME_TOGETHER: Final = (
    (("if", "then", "else"), _OF_ANY),
    (("contains", "minContains", "maxContains"), _ARRAYS),
)
"""The same of keywords that mean something together only."""

_NEVER_PROVED: Final = {"unevaluatedItems": _ARRAYS, "unevaluatedProperties": _OBJECTS}

_LOWER_COUNTS: Final = {"minLength": _STRINGS, "minItems": _ARRAYS, "minProperties": _OBJECTS}
_UPPER_COUNTS: Final = {"maxLength": _STRINGS, "maxItems": _ARRAYS, "maxProperties": _OBJECTS}


def unreadable(writer: object, reader: object) -> tuple[Finding, ...]:
    """Return why `reader` may refuse what `writer` allows; nothing when it takes all. Raises `ConfigError`."""
    comparison = _Comparison(sub.Document(writer), sub.Document(reader))
    try:
        found = comparison.compared(writer, reader)
    except (TooLargeError, RecursionError):
        return (TOO_LARGE,)
    return tuple(dict.fromkeys(found))[:FINDINGS_MAX]


class _Place(NamedTuple):
    """Where the comparison is: a path into the reader, how deep inside of the document, and what was taken apart."""

    path: str = ""
    level: int = 0
    spent: frozenset[tuple[int, str]] = frozenset()

    def at(self, *steps: str | int) -> _Place:
        """Return the place of another subschema for the same value."""
        return self._replace(path=pointer(self.path, *steps))

    def inside(self, *steps: str | int) -> _Place:
        """Return the place of a subschema for a value inside of this one."""
        return _Place(pointer(self.path, *steps), self.level + 1)


class _Comparison:
    def __init__(self, writer: sub.Document, reader: sub.Document) -> None:
        self._writer = writer
        self._reader = reader
        self._steps = 0
        self._assumed: dict[tuple[frozenset[int], int, frozenset[tuple[int, str]]], int] = {}

    def compared(self, writer: object, reader: object) -> list[Finding]:
        """Return what speaks against the whole of `reader`."""
        return self._findings(self._writer.conjunction(writer, as_written=True), reader, _Place())

    def _findings(self, writer: Conjunction, reader: object, place: _Place) -> list[Finding]:
        """Return what speaks against `reader` taking all that `writer` allows."""
        self._steps += 1
        if self._steps > STEPS_MAX:
            raise TooLargeError
        if reader is True or sub.NEVER in writer or not sub.types_of(writer) or sub.values_of(writer) == []:
            return []
        key = (frozenset(map(id, writer)), id(reader), place.spent)
        if key in self._assumed:
            # A value is finite: what holds inside of it may be assumed while it is shown for the whole.
            is_deeper = place.level > self._assumed[key]
            return [] if is_deeper else [Finding(place.path, "the schema refers to itself without an end")]
        self._assumed[key] = place.level
        found = self._unassumed(writer, reader, place)
        del self._assumed[key]
        return found

    def _unassumed(self, writer: Conjunction, reader: object, place: _Place) -> list[Finding]:
        try:
            readers = self._reader.conjunction(reader, as_written=False)
        except sub.OutsideError as error:
            return [Finding(place.path, str(error))]
        found = [finding for each in readers for finding in self._of_subschema(writer, each, place)]
        if not found:
            return []
        return self._of_alternatives(writer, reader, place, found)

    def _of_alternatives(
        self, writer: Conjunction, reader: object, place: _Place, found: list[Finding]
    ) -> list[Finding]:
        """Look at each alternative of what may be written, and return what remains of `found`."""
        for each in writer:
            for keyword in ("anyOf", "oneOf", "enum", "const"):
                if keyword not in each or (id(each), keyword) in place.spent:
                    continue
                inner = place._replace(spent=place.spent | {(id(each), keyword)})
                remaining = [
                    finding
                    for branch in self._branches(writer, each, keyword)
                    for finding in self._findings((*writer, *branch), reader, inner)
                ]
                return found if remaining and keyword in {"enum", "const"} else remaining
        return found

    def _branches(self, writer: Conjunction, each: Subschema, keyword: str) -> list[Conjunction]:
        if keyword in {"anyOf", "oneOf"}:
            return [self._writer.conjunction(branch, as_written=True) for branch in each[keyword]]
        values = sub.values_of(writer) or []
        return [(self._writer.exact(value),) for value in values]

    def _of_subschema(self, writer: Conjunction, reader: Subschema, place: _Place) -> Iterator[Finding]:
        if any(_are_same(each, reader) for each in writer) and not sub.has_references(reader):
            return
        types = sub.types_of(writer)
        yield from _of_values(writer, reader, types, place)
        yield from _of_what_must_be_same(writer, reader, types, place)
        yield from self._of_branches(writer, reader, place)
        if types & _NUMBERS:
            yield from _of_numbers(writer, reader, types, place)
        if types & _STRINGS:
            for pattern in sub.said([reader], "pattern"):
                if pattern not in sub.said(writer, "pattern"):
                    yield Finding(place.at("pattern").path, f"text is taken that matches {pattern!r} only")
        yield from _of_counts(writer, reader, types, place)
        if types & _ARRAYS:
            yield from self._of_elements(writer, reader, place)
        if types & _OBJECTS:
            yield from self._of_properties(writer, reader, place)

    def _of_branches(self, writer: Conjunction, reader: Subschema, place: _Place) -> Iterator[Finding]:
        for keyword in ("anyOf", "oneOf"):
            branches = reader.get(keyword)
            if not isinstance(branches, list) or _says_the_same(writer, reader, (keyword,)):
                continue
            for name in sorted(sub.types_of(writer)):
                alternative = (*writer, sub.OF_TYPE[name])
                if not self._has_a_branch(alternative, branches, place.at(keyword), is_one=keyword == "oneOf"):
                    how = "exactly one alternative takes" if keyword == "oneOf" else "one alternative takes"
                    yield Finding(
                        place.at(keyword).path, f"it is not shown that {how} every {name} that may be written"
                    )

    def _has_a_branch(self, writer: Conjunction, branches: list[Any], place: _Place, *, is_one: bool) -> bool:
        for index, branch in enumerate(branches):
            if not self._findings(writer, branch, place.at(index)):
                others = branches[:index] + branches[index + 1 :]
                return not is_one or all(self._excludes(writer, other) for other in others)
        return not sub.types_of(writer)

    def _excludes(self, writer: Conjunction, reader: object) -> bool:
        """Return whether nothing that may be written is taken by `reader`, as far as types and values tell."""
        try:
            both = (*writer, *self._reader.conjunction(reader, as_written=False))
        except sub.OutsideError:
            return False
        if not sub.types_of(both) or _have_nothing_in_common(both):
            return True
        names = {name for properties in sub.said(both, "properties") for name in properties}
        return sub.types_of(both) == _OBJECTS and any(
            _have_nothing_in_common(tuple(_named(both, name))) for name in names & sub.required_of(both)
        )

    def _of_elements(self, writer: Conjunction, reader: Subschema, place: _Place) -> Iterator[Finding]:
        first, rest = sub.tuple_of(reader)
        most = min(sub.numbers_said(writer, "maxItems"), default=None)
        lengths = [len(sub.tuple_of(each)[0]) for each in writer]
        for index in range(max([len(first), *lengths]) + 1):
            if most is not None and index >= most:
                return
            target = first[index] if index < len(first) else rest
            keyword = "prefixItems" if "prefixItems" in reader else "items"
            inner = place.inside(keyword, index) if index < len(first) else place.inside("items")
            yield from self._findings(self._element(writer, index), target, inner)

    def _element(self, writer: Conjunction, index: int) -> Conjunction:
        """Return what may be written as an element; past the longest tuple, as any element."""
        found: list[Subschema] = []
        for each in writer:
            first, rest = sub.tuple_of(each)
            found += self._writer.conjunction(first[index] if index < len(first) else rest, as_written=True)
        return tuple(found)

    def _of_properties(self, writer: Conjunction, reader: Subschema, place: _Place) -> Iterator[Finding]:
        required = sub.required_of(writer)
        for name in sorted(sub.required_of((reader,)) - required):
            yield Finding(place.at("required").path, f"{name!r} is required, and may be left out")
        properties = _object(reader, "properties")
        for name, target in properties.items():
            yield from self._findings(self._property(writer, name), target, place.inside("properties", name))
        patterns = _object(reader, "patternProperties")
        for pattern, target in patterns.items():
            inner = place.inside("patternProperties", pattern)
            yield from self._findings(self._matching(writer, pattern), target, inner)
        others = reader.get("additionalProperties", True)
        if others is True:
            return
        inner = place.inside("additionalProperties")
        for name in sorted({name for each in writer for name in _object(each, "properties")} - {*properties}):
            if self._findings(self._property(writer, name), others, inner):
                yield Finding(inner.path, f"the property {name!r} may be written, and is not taken as it may be")
        yield from self._of_other_properties(writer, others, inner, {*patterns})

    def _of_other_properties(
        self, writer: Conjunction, others: object, place: _Place, taken: set[str]
    ) -> list[Finding]:
        """Compare properties that nobody names; those of a pattern in `taken` are compared there."""
        least: list[Finding] | None = None
        for each in writer or ({},):
            options = [each.get("additionalProperties", True)]
            options += [
                schema for pattern, schema in _object(each, "patternProperties").items() if pattern not in taken
            ]
            found = [
                finding
                for option in options
                for finding in self._findings(self._writer.conjunction(option, as_written=True), others, place)
            ]
            if not found:
                return []
            least = found if least is None or len(found) < len(least) else least
        if others is False:
            return [Finding(place.path, "properties that are not named may be written, and none is taken")]
        return least or []

    def _property(self, writer: Conjunction, name: str) -> Conjunction:
        """Return what may be written as the property `name`."""
        found: list[Subschema] = []
        for each in _named_or_other(writer, name):
            found += self._writer.conjunction(each, as_written=True)
        return tuple(found)

    def _matching(self, writer: Conjunction, pattern: str) -> Conjunction:
        """Return what may be written as any property whose name matches `pattern`."""
        found: list[Subschema] = []
        for each in writer:
            patterns = _object(each, "patternProperties")
            if pattern in patterns:
                found += self._writer.conjunction(patterns[pattern], as_written=True)
            elif each.get("additionalProperties", True) is False and not patterns and not each.get("properties"):
                found.append(sub.NEVER)
        return tuple(found)


def _of_values(writer: Conjunction, reader: Subschema, types: frozenset[str], place: _Place) -> Iterator[Finding]:
    if "type" in reader:
        taken = sub.types_of(({"type": reader["type"]},))
        for name in sorted(types - taken):
            yield Finding(place.at("type").path, f"{_with_article(name)} may be written, and is not taken")
    for keyword in ("enum", "const"):
        if keyword not in reader:
            continue
        allowed = reader[keyword] if keyword == "enum" else [reader[keyword]]
        written = sub.values_of(writer)
        path = place.at(keyword).path
        if written is None:
            yield Finding(path, "only some values are taken, and others may be written")
            continue
        known = set(map(sub.identity, allowed))
        for value in written:
            shown = sub.identity(value)
            if shown not in known:
                yield Finding(path, f"{shown[:80]} may be written, and is not taken")


def _of_what_must_be_same(
    writer: Conjunction, reader: Subschema, types: frozenset[str], place: _Place
) -> Iterator[Finding]:
    groups = [((keyword,), spoken_of) for keyword, spoken_of in _SAME_ONLY.items()]
    for keywords, spoken_of in (*groups, *_SAME_TOGETHER):
        if keywords[0] in reader and types & spoken_of and not _says_the_same(writer, reader, keywords):
            yield Finding(
                place.at(keywords[0]).path, f"it is not shown that {keywords[0]} holds for all that is written"
            )
    for keyword, spoken_of in _NEVER_PROVED.items():
        if keyword in reader and types & spoken_of:
            yield Finding(place.at(keyword).path, f"it is not shown that {keyword} holds for all that is written")


def _of_numbers(writer: Conjunction, reader: Subschema, types: frozenset[str], place: _Place) -> Iterator[Finding]:
    for name, bound_of, sign in (("minimum", sub.lower, 1), ("maximum", sub.upper, -1)):
        wanted, given = bound_of((reader,)), bound_of(writer)
        if wanted is not None and (given is None or given < wanted):
            kind = f"exclusive{name.capitalize()}" if f"exclusive{name.capitalize()}" in reader else name
            how = ("above" if sign > 0 else "below") if wanted.excludes else ("from" if sign > 0 else "up to")
            shown = float(wanted.value * sign)
            yield Finding(place.at(kind).path, f"numbers {how} {shown:.15g} are taken, and others may be written")
    for step in sub.numbers_said([reader], "multipleOf"):
        is_whole = step != 0 and step.numerator == 1 and "number" not in types
        if not is_whole and not any(step and given % step == 0 for given in sub.numbers_said(writer, "multipleOf")):
            yield Finding(
                place.at("multipleOf").path, f"multiples of {float(step):.15g} are taken, and others may be written"
            )


def _of_counts(writer: Conjunction, reader: Subschema, types: frozenset[str], place: _Place) -> Iterator[Finding]:
    for keyword, spoken_of in _LOWER_COUNTS.items():
        given = max(sub.numbers_said(writer, keyword), default=0)
        if keyword == "minProperties":
            given = max(given, len(sub.required_of(writer)))
        for wanted in sub.numbers_said([reader], keyword):
            if types & spoken_of and given < wanted:
                yield Finding(place.at(keyword).path, f"it is at least {wanted}, and less may be written")
    for keyword, spoken_of in _UPPER_COUNTS.items():
        most = min(sub.numbers_said(writer, keyword), default=None)
        for wanted in sub.numbers_said([reader], keyword):
            if types & spoken_of and (most is None or most > wanted):
                yield Finding(place.at(keyword).path, f"it is at most {wanted}, and more may be written")
    if types & _ARRAYS and reader.get("uniqueItems") is True and True not in sub.said(writer, "uniqueItems"):
        yield Finding(place.at("uniqueItems").path, "elements must differ, and equal ones may be written")


def _named(conjunction: Conjunction, name: str) -> Iterator[Subschema]:
    for each in conjunction:
        schema = _object(each, "properties").get(name)
        if isinstance(schema, dict) and not sub.has_references(schema):
            yield schema


def _named_or_other(writer: Conjunction, name: str) -> Iterator[object]:
    for each in writer:
        properties = _object(each, "properties")
        if name in properties:
            yield properties[name]
        elif not _object(each, "patternProperties"):  # one of its patterns might match
            yield each.get("additionalProperties", True)


def _have_nothing_in_common(conjunction: Conjunction) -> bool:
    lists = [values for each in conjunction if (values := sub.values_of((each,))) is not None]
    sets = [{sub.identity(value) for value in values} for values in lists]
    return bool(sets) and not set.intersection(*sets)


def _says_the_same(writer: Conjunction, reader: Subschema, keywords: tuple[str, ...]) -> bool:
    wanted = {keyword: reader[keyword] for keyword in keywords if keyword in reader}
    is_said = any(
        _are_same({keyword: each[keyword] for keyword in keywords if keyword in each}, wanted) for each in writer
    )
    return is_said and not sub.has_references(wanted)


def _are_same(one: object, other: object) -> bool:
    return one is other or (one == other and sub.identity(one) == sub.identity(other))


def _object(each: Subschema, keyword: str) -> dict[str, Any]:
    found = each.get(keyword)
    return found if isinstance(found, dict) else {}


def _with_article(name: str) -> str:
    if name == "null":
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {'number with a fraction' if name == 'number' else name}"
