"""Which changes of a JSON Schema are compatible; what is said to be is held against an independent validator."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.schemas.compatibility import compatibility
from gateway.schemas.json_containment import unreadable

IS_LONG = bool(os.environ.get("GATEWAY_LONG"))
SEED = int(os.environ.get("GATEWAY_SEED") or random.randrange(1 << 32))
print(f"GATEWAY_SEED={SEED}")  # noqa: T201  # to run it again


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


NUMBER, TEXT, WHOLE = {"type": "number"}, {"type": "string"}, {"type": "integer"}
LIST = {"$ref": "#/$defs/n", "$defs": {"n": closed(v=WHOLE, next={"$ref": "#/$defs/n"})}}
WIDER_LIST = {"$ref": "#/$defs/n", "$defs": {"n": closed(v=NUMBER, next={"$ref": "#/$defs/n"})}}

READABLE = [
    (True, True),
    (False, TEXT),
    (TEXT, {}),
    (WHOLE, NUMBER),
    (TEXT, {"type": ["string", "null"]}),
    ({"enum": [1, "a"]}, {"enum": ["a", 1.0, 2]}),
    ({"const": "on"}, {"enum": ["on", "off"]}),
    ({"const": 3}, {"type": "integer", "minimum": 3, "maximum": 3}),
    ({"enum": ["ab", "cd"]}, {"type": "string", "minLength": 2, "maxLength": 2}),
    ({"const": {"a": [1, 2]}}, {"properties": {"a": {"items": WHOLE, "maxItems": 2}}, "required": ["a"]}),
    ({"type": "boolean"}, {"enum": [True, False, None]}),
    ({"minimum": 0, "maximum": 5}, {"minimum": -1, "exclusiveMaximum": 6}),
    ({"exclusiveMinimum": 0}, {"minimum": 0}),
    ({"minimum": 0, "exclusiveMinimum": True}, {"exclusiveMinimum": 0}),
    ({"multipleOf": 0.1}, {"multipleOf": 0.05}),
    (WHOLE, {"multipleOf": 0.5}),
    ({"type": "string", "minimum": 3}, {"minimum": 99, "type": "string"}),
    (closed(a=WHOLE), closed(a=NUMBER, b=TEXT)),
    ({**closed(a=WHOLE), "required": ["a"]}, {"minProperties": 1, "type": "object"}),
    (closed(a=WHOLE), {"type": "object", "additionalProperties": NUMBER}),
    ({"type": "object", "additionalProperties": WHOLE}, {"properties": {"x": NUMBER}}),
    ({"patternProperties": {"^a": WHOLE}}, {"patternProperties": {"^a": NUMBER}}),
    (
        {"patternProperties": {"^a": TEXT}, "additionalProperties": WHOLE},
        {"patternProperties": {"^a": TEXT}, "additionalProperties": NUMBER},
    ),
    ({"type": "array", "items": WHOLE}, {"items": NUMBER}),
    ({"prefixItems": [WHOLE], "items": False}, {"items": NUMBER}),
    ({"items": [WHOLE, TEXT], "additionalItems": False}, {"prefixItems": [NUMBER]}),
    ({"anyOf": [WHOLE, TEXT]}, {"type": ["number", "string"]}),
    ({"type": ["integer", "string"]}, {"anyOf": [NUMBER, TEXT]}),
    (WHOLE, {"oneOf": [NUMBER, TEXT]}),
    ({"oneOf": [WHOLE, TEXT]}, {"oneOf": [TEXT, NUMBER]}),
    ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, {"minimum": 0, "maximum": 3}),
    ({"type": "string", "pattern": "^a"}, {"pattern": "^a"}),
    ({"not": TEXT, "minimum": 5}, {"not": TEXT}),
    (LIST, WIDER_LIST),
    (
        {"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/definitions/a", "definitions": {"a": WHOLE}},
        NUMBER,
    ),
]

UNREADABLE = [
    (TEXT, NUMBER, "/type", "string"),
    (NUMBER, WHOLE, "/type", "fraction"),
    ({}, TEXT, "/type", "null"),
    (True, False, "/enum", "others may be written"),
    ({"enum": ["C", "F"]}, {"enum": ["C"]}, "/enum", '"F" may be written'),
    ({"const": 1}, {"const": True}, "/const", "1 may be written"),
    (TEXT, {"const": "a"}, "/const", "others may be written"),
    ({"minimum": 0}, {"minimum": 1}, "/minimum", "from 1 "),
    ({"minimum": 0}, {"exclusiveMinimum": 0}, "/exclusiveMinimum", "above 0 "),
    ({}, {"maximum": 9}, "/maximum", "up to 9 "),
    ({"multipleOf": 2}, {"multipleOf": 4}, "/multipleOf", "multiples of 4"),
    ({"type": "string", "minLength": 1}, {"minLength": 2}, "/minLength", "at least 2"),
    (TEXT, {"maxLength": 2}, "/maxLength", "at most 2"),
    (TEXT, {"pattern": "^a"}, "/pattern", "'^a'"),
    (TEXT, {"format": "date-time"}, "/format", "not shown"),
    (closed(a=WHOLE), {"required": ["a"]}, "/required", "'a' is required"),
    (closed(a=WHOLE, b=TEXT), closed(a=WHOLE), "/additionalProperties", "'b' may be written"),
    ({"type": "object"}, closed(a=WHOLE), "/additionalProperties", "none is taken"),
    ({"type": "object"}, {"properties": {"a": TEXT}}, "/properties/a/type", "integer"),
    (
        closed(**{"a/b": closed(c=NUMBER)}),
        closed(**{"a/b": closed(c=WHOLE)}),
        "/properties/a~1b/properties/c/type",
        "fraction",
    ),
    ({"patternProperties": {"^a": TEXT}}, {"patternProperties": {"^a": WHOLE}}, "/patternProperties/^a/type", "string"),
    ({"properties": {"ab": TEXT}}, {"patternProperties": {"^a": WHOLE}}, "/patternProperties/^a/type", "string"),
    ({"patternProperties": {"^a": TEXT}}, {"additionalProperties": WHOLE}, "/additionalProperties/type", "string"),
    (
        {"patternProperties": {"^a": TEXT}, "additionalProperties": NUMBER},
        {"properties": {"ab": NUMBER}},
        "/properties/ab/type",
        "string",
    ),
    (
        {"patternProperties": {"^a": TEXT}, "additionalProperties": WHOLE},
        {"additionalProperties": WHOLE},
        "/additionalProperties/type",
        "string",
    ),
    ({"items": TEXT}, {"items": NUMBER}, "/items/type", "string"),
    ({"items": TEXT}, {"prefixItems": [NUMBER]}, "/prefixItems/0/type", "string"),
    ({"type": "array"}, {"uniqueItems": True}, "/uniqueItems", "differ"),
    ({"anyOf": [WHOLE, TEXT]}, NUMBER, "/type", "string"),
    ({"type": ["integer", "null"]}, {"anyOf": [NUMBER, TEXT]}, "/anyOf", "null"),
    (WHOLE, {"oneOf": [NUMBER, WHOLE]}, "/oneOf", "exactly one"),
    (True, {"oneOf": [True, True]}, "/oneOf", "exactly one"),
    ({}, {"not": TEXT}, "/not", "not shown"),
    ({}, {"unevaluatedProperties": False}, "/unevaluatedProperties", "not shown"),
    ({}, {"if": TEXT, "then": {"minLength": 1}}, "/if", "not shown"),
    (TEXT, {"$ref": "https://example.org/x.json"}, "", "not followed"),
    (TEXT, {"$ref": "other.json#/a"}, "", "not followed"),
    (TEXT, {"$dynamicRef": "#a"}, "", "$dynamicRef"),
    (TEXT, {"anyOf": [{"$ref": "#"}]}, "/anyOf", "string"),
    (WIDER_LIST, LIST, "/properties/v/type", "fraction"),
    (
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "$ref": "#/definitions/a",
            "minimum": 5,
            "definitions": {"a": WHOLE},
        },
        {"minimum": 5},
        "/minimum",
        "from 5",
    ),
]

FAULTS = [
    1,
    "x",
    None,
    [],
    {"type": "text"},
    {"type": 3},
    {"properties": []},
    {"properties": {"a": 1}},
    {"anyOf": {}},
    {"enum": 5},
    {"required": [1]},
    {"required": 1},
    {"$ref": "#/$defs/a"},
    {"$ref": "#/a/b", "a": 3},
]


@pytest.mark.parametrize(("writer", "reader"), READABLE, ids=str)
def test_what_takes_all_that_is_written_is_compatible(writer, reader) -> None:
    assert unreadable(writer, reader) == ()


@pytest.mark.parametrize(("writer", "reader", "path", "reason"), UNREADABLE, ids=str)
def test_what_does_not_is_said_with_its_path(writer, reader, path, reason) -> None:
    found = unreadable(writer, reader)
    assert any(finding.path == path and reason in finding.reason for finding in found), found


@pytest.mark.parametrize("schema", FAULTS, ids=str)
def test_what_is_no_schema_is_refused(schema) -> None:
    with pytest.raises(ConfigError):
        unreadable({"properties": {"a": TEXT}, "minimum": 1}, schema)


def test_alternatives_within_alternatives_end_at_a_bound() -> None:
    writer = {"allOf": [{"anyOf": [{"minimum": edge}, {"maximum": -edge}]} for edge in range(30)]}
    assert "too many" in unreadable(writer, {"type": "number", "multipleOf": 7})[0].reason


def test_a_verdict_has_both_directions() -> None:
    narrow, wide = closed(a=WHOLE), closed(a=NUMBER)
    assert compatibility(narrow, wide, "json").verdict == "backward"
    assert compatibility(wide, narrow, "json").verdict == "forward"
    assert compatibility(wide, wide, "json").verdict == "full"
    assert compatibility(closed(a=TEXT), wide, "json").verdict == "none"


SCALARS = (None, True, False, 0, 1, 2, -3, 1.5, 2.0, "", "a", "ab", "b")
NAMES = ("a", "b", "ab")
TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")


def value(chance: random.Random, depth: int = 2) -> Any:
    kind = chance.randrange(6) if depth else 5
    if kind == 0:
        return [value(chance, depth - 1) for _ in range(chance.randrange(4))]
    if kind == 1:
        return {name: value(chance, depth - 1) for name in NAMES if chance.random() < 0.5}
    return chance.choice(SCALARS)


def schema(chance: random.Random, depth: int = 2) -> Any:
    """Return a schema with few keywords, of which some hold schemas while there is depth."""
    if chance.random() < 0.08:
        return chance.random() < 0.7
    choices = KEYWORDS + (DEEP_KEYWORDS if depth else ())
    names = chance.sample(choices, chance.randrange(4))
    found = {name: keyword(chance, name, depth) for name in names}
    if chance.random() < 0.6:
        found["type"] = chance.choice(TYPES) if chance.random() < 0.7 else chance.sample(TYPES, 2)
    return found


KEYWORDS = (
    *("enum", "const", "minimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern", "minItems"),
    *("maxItems", "uniqueItems", "minProperties", "maxProperties", "required"),
)
DEEP_KEYWORDS = (
    *("properties", "patternProperties", "additionalProperties", "prefixItems", "items", "allOf", "anyOf", "oneOf"),
    *("not", "contains", "propertyNames", "if", "then"),
)


def keyword(chance: random.Random, name: str, depth: int) -> Any:  # noqa: C901, PLR0911  # one case for each
    """Return what a keyword may hold."""
    match name:
        case "enum":
            return [value(chance) for _ in range(chance.randrange(1, 4))]
        case "const":
            return value(chance)
        case "type":
            return chance.sample(TYPES, 3)
        case "multipleOf":
            return chance.choice((0.5, 1, 2))
        case "pattern":
            return chance.choice(("^a", "b$"))
        case "uniqueItems":
            return chance.random() < 0.7
        case "required":
            return chance.sample(NAMES, chance.randrange(3))
        case "properties":
            return {name: schema(chance, depth - 1) for name in NAMES if chance.random() < 0.5}
        case "patternProperties":
            return {chance.choice(("^a", "b$")): schema(chance, depth - 1)}
        case "prefixItems" | "allOf" | "anyOf" | "oneOf":
            return [schema(chance, depth - 1) for _ in range(chance.randrange(1, 4))]
        case _ if name in DEEP_KEYWORDS:
            return schema(chance, depth - 1)
    return chance.randrange(4)


def changed(chance: random.Random, one: Any) -> Any:
    """Return the schema with a little of it left out, replaced or put among alternatives."""
    if not isinstance(one, dict) or not one or chance.random() < 0.15:
        return chance.choice((one, {chance.choice(("anyOf", "allOf", "oneOf")): [one, schema(chance, 1)]}))
    name = chance.choice(sorted(one))
    rest = {other: held for other, held in one.items() if other != name}
    inner = one[name]
    if chance.random() < 0.4:
        return rest
    if name in {"properties", "patternProperties"}:
        if not inner:
            return rest
        part = chance.choice(sorted(inner))
        return {**rest, name: {**inner, part: changed(chance, inner[part])}}
    if name in {"prefixItems", "allOf", "anyOf", "oneOf"}:
        return {**rest, name: [changed(chance, inner[0]), *inner[1:]]}
    return {**rest, name: changed(chance, inner) if name in DEEP_KEYWORDS else keyword(chance, name, 0)}


def pair(chance: random.Random) -> tuple[Any, Any]:
    one = schema(chance)
    other = changed(chance, one)
    return (one, other) if chance.random() < 0.5 else (other, one)


@seed(SEED)
@settings(max_examples=20_000 if IS_LONG else 500, deadline=None)
@given(st.integers(0, 2**63).map(random.Random))
def test_a_document_that_may_be_written_is_taken_when_nothing_is_found(chance) -> None:
    writer, reader = pair(chance)
    while unreadable(writer, reader):
        writer, reader = pair(chance)
    written, taken = jsonschema_rs.Draft202012Validator(writer), jsonschema_rs.Draft202012Validator(reader)
    for _ in range(50):
        document = value(chance, 3)
        assert taken.is_valid(document) or not written.is_valid(document), (writer, reader, document)


@seed(SEED)
@settings(max_examples=20_000 if IS_LONG else 300, deadline=None)
@given(st.integers(0, 2**63).map(random.Random))
def test_another_implementation_never_disproves_it(chance) -> None:
    writer, reader = pair(chance)
    while unreadable(writer, reader):
        writer, reader = pair(chance)
    try:
        answer = jsonschema_rs.canonicalize(reader).covers(jsonschema_rs.canonicalize(writer))
    except ValueError:  # it does not model everything
        return
    assert answer != jsonschema_rs.canonical.Containment.NO, (writer, reader)


@seed(SEED)
@settings(max_examples=2000 if IS_LONG else 200, deadline=None)
@given(st.integers(0, 2**63).map(random.Random))
def test_every_schema_reads_what_it_wrote_itself(chance) -> None:
    one = schema(chance)
    assert unreadable(one, json.loads(json.dumps(one))) == ()


@seed(SEED)
@settings(max_examples=2000 if IS_LONG else 200, deadline=None)
@given(st.integers(0, 2**63).map(random.Random))
def test_any_document_is_compared_or_refused(chance) -> None:
    one, other = ({chance.choice(KEYWORDS + DEEP_KEYWORDS): value(chance), **value_object(chance)} for _ in range(2))
    try:
        assert unreadable(one, other) is not None
    except ConfigError as error:
        assert error.fault  # noqa: PT017  # raising is allowed, not required


def value_object(chance: random.Random) -> dict[str, Any]:
    return {chance.choice((*KEYWORDS, *DEEP_KEYWORDS, "type", "$ref", "allOf", "items")): value(chance)}
