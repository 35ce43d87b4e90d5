"""A document keeps its contract or is refused with the path and the reason, whatever it holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ConfigError, DecodeError
from gateway.schemas.contract import Contract

SCHEMA = {
    "type": "object",
    "properties": {
        "t": {"type": "number", "minimum": -40, "maximum": 125},
        "state": {"enum": ["on", "off"]},
        "at": {"type": "object", "properties": {"x/y": {"type": "integer"}}, "required": ["x/y"]},
        "serial": {"type": "string", "pattern": "^(a*)*b$"},
    },
    "required": ["t"],
    "additionalProperties": False,
}
CONTRACT = Contract(json.dumps(SCHEMA).encode(), "climate v1")

BROKEN: list[tuple[Any, str, str]] = [
    ({"t": "warm"}, "/t:", "number"),
    ({"t": 126}, "/t:", "maximum"),
    ({"t": 1, "state": "idle"}, "/state:", "/properties/state/enum"),
    ({"t": 1, "at": {"x/y": 1.5}}, "/at/x~1y:", "integer"),
    ({"t": 1, "at": {}}, "/at:", "x/y"),
    ({"state": "on"}, "/:", "required"),
    ({"t": 1, "more": 2}, "/:", "more"),
    ([1], "/:", "object"),
    (None, "/:", "object"),
    ({"t": 1, "serial": "a" * 50_000}, "/serial:", "pattern"),
]


def test_a_document_that_keeps_it_passes() -> None:
    CONTRACT.check({"t": 21.5, "state": "on", "at": {"x/y": 3}})


@pytest.mark.parametrize(("document", "path", "reason"), BROKEN, ids=[path for _, path, _ in BROKEN])
def test_a_document_that_breaks_it_is_refused_with_path_and_reason(document, path, reason) -> None:
    with pytest.raises(DecodeError) as caught:
        CONTRACT.check(document)
    assert caught.value.reason == "schema_violated"
    assert caught.value.fault.startswith(path)
    assert reason in caught.value.fault
    assert "climate v1" in caught.value.fault
    assert len(caught.value.fault) < 1000


def test_a_fault_does_not_repeat_the_value() -> None:
    with pytest.raises(DecodeError) as caught:
        CONTRACT.check({"t": "a secret"})
    assert "secret" not in caught.value.fault


@pytest.mark.parametrize("document", [{1: 2}, {"t": object()}, {"t": 1, "\ud800": 1}, {"at": {"x/y": {2}}}], ids=repr)
def test_what_json_cannot_hold_is_refused(document) -> None:
    with pytest.raises(DecodeError):
        CONTRACT.check(document)


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)) | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(("t", "at", "x/y", "state", "q")), inner),
        max_leaves=8,
    )
)
def test_any_document_passes_or_is_refused(document) -> None:
    try:
        CONTRACT.check(document)
    except DecodeError as error:
        assert error.reason in {"schema_violated", "unsupported_type"}  # noqa: PT017  # raising is allowed, not required


def test_a_document_that_is_nested_deep_is_decided_too() -> None:
    recursive = Contract(b'{"additionalProperties": {"$ref": "#"}, "type": "object"}', "deep")
    document: dict[str, Any] = {}
    for _ in range(200):
        document = {"a": document}
    recursive.check(document)
    document = {"a": 1}
    for _ in range(200):
        document = {"a": document}
    with pytest.raises(DecodeError, match=r"^/a/a/a"):
        recursive.check(document)
    for _ in range(200_000):
        document = {"a": [document]}
    with pytest.raises(DecodeError) as caught:
        recursive.check(document)
    assert caught.value.reason == "too_deep"


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        (b"{", "not JSON"),
        (b'"x"', "neither an object"),
        (b'{"type": "text"}', "JSON Schema"),
        (b'{"$ref": "http://127.0.0.1:9/schema.json"}', "127.0.0.1"),
        (b'{"$ref": "file:///etc/hostname"}', "hostname"),
        (b'{"$ref": "#/$defs/a"}', "/$defs/a"),
        (b'{"$schema": "http://127.0.0.1:9/meta.json"}', "meta"),
        (b'{"pattern": "(a)\\\\1"}', "regex"),
        (b'{"pattern": "(a{1000}){1000}"}', "regex"),
        (b'{"type": "object", "type": "array"}', "twice"),
        (b'{"minimum": 1e999}', "number"),
        (b"[" * 100_000, "deeper"),
        (b'{"not":' * 100 + b"{}" + b"}" * 100, "deeper"),
        (b'{"title": "' + b"x" * 300_000 + b'"}', "bytes"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_schema_that_cannot_be_a_contract_is_refused_and_nothing_is_fetched(schema, fault) -> None:
    with pytest.raises(ConfigError) as caught:
        Contract(schema, "some.json")
    assert fault in caught.value.fault


@pytest.mark.parametrize("draft", ["draft-04/schema#", "draft-06/schema#", "draft-07/schema#"])
def test_older_drafts_are_known_without_being_fetched(draft) -> None:
    contract = Contract(json.dumps({"$schema": f"http://json-schema.org/{draft}", "type": "integer"}).encode(), "x")
    contract.check(3)
    with pytest.raises(DecodeError):
        contract.check("3")
