"""How large a document may be is decided before a schema sees it, exactly as when it is made into a row."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import schema
from gateway.decode.contract import Limits
from gateway.decode.flatten import check_extent, flatten
from gateway.decode.formats import decoding_of
from gateway.errors import DecodeError

EXTENT = {"too_deep", "too_many_fields"}
DOCUMENTS = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(
        st.none() | st.integers(0, 3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    ),
    max_size=3,
)

BRANCHES = 2
SELF_REFERRING = {
    "$defs": {
        "node": {
            "anyOf": [
                {"type": "object", "properties": {"c": {"$ref": "#/$defs/node"}}, "required": [f"x{number}"]}
                for number in range(BRANCHES)
            ]
        }
    },
    "$ref": "#/$defs/node",
}


def refusal(act, *arguments) -> str:
    try:
        act(*arguments)
    except DecodeError as error:
        return error.reason
    return ""


@settings(max_examples=300)
@given(DOCUMENTS, st.integers(1, 4), st.integers(1, 6))
def test_the_extent_is_that_of_the_row(document, depth_max, field_count_max) -> None:
    of_row = refusal(flatten, document, Limits((), field_count_max, depth_max))
    of_extent = refusal(check_extent, document, depth_max, field_count_max)
    assert (of_row in EXTENT) == (of_extent in EXTENT)


@pytest.mark.parametrize(("path", "around"), [("", "{}"), (".", "[{}]"), ("d.e", '{{"d":{{"e":[{}]}}}}')])
def test_a_schema_that_refers_to_itself_is_not_held_against_what_is_too_deep(path, around) -> None:
    route = schema.Route(name="a", topics=("a",), lane="a", rows=path, schema_file="tree.json")
    decoding = decoding_of(route, Limits(depth_max=8), {"tree.json": json.dumps(SELF_REFERRING).encode()})
    nested = '{"c":' * 100 + "1" + "}" * 100
    payload = around.format(nested).encode()
    with pytest.raises(DecodeError, match="nested deeper") as caught:
        decoding.row(payload) if decoding.row else decoding.records(payload, "a", 0)
    assert caught.value.reason == "too_deep"


@pytest.mark.parametrize(("path", "around"), [("", "{}"), (".", "[{}]"), ("d.e", '{{"d":{{"e":[{}]}}}}')])
def test_a_row_as_deep_as_allowed_is_held_against_the_schema_wherever_it_lies(path, around) -> None:
    route = schema.Route(name="a", topics=("a",), lane="a", rows=path, schema_file="any.json")
    nested = '{"c":' * 3 + "1" + "}" * 3
    for document, reason in (({}, ""), ({"not": {}}, "schema_violated")):
        decoding = decoding_of(route, Limits(depth_max=3), {"any.json": json.dumps(document).encode()})
        arguments = (around.format(nested).encode(), "a", 0)
        assert refusal(decoding.row or decoding.records, *arguments[: 1 if decoding.row else 3]) == reason
