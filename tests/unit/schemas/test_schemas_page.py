"""The page on schemas says what is so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gateway.errors import DecodeError
from gateway.schemas.compatibility import compatibility
from gateway.schemas.contract import Contract

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "schemas.md").read_text("utf-8")
JSON_PART, AVRO_PART = PAGE.split("### Avro")
ROW = re.compile(r"^\| `(.+?)` \| `(.+?)` \| (\w+) \|$", re.MULTILINE)


def test_its_examples_of_json_schema_are_as_compatible_as_it_says() -> None:
    examples = ROW.findall(JSON_PART)
    assert len(examples) == 6
    for old, new, verdict in examples:
        assert compatibility(json.loads(old), json.loads(new), "json").verdict == verdict, (old, new)


def test_its_examples_of_avro_are_as_compatible_as_it_says() -> None:
    examples = ROW.findall(AVRO_PART)
    assert len(examples) == 5
    for old, new, verdict in examples:
        assert compatibility(json.loads(old), json.loads(new), "avro").verdict == verdict, (old, new)


def test_its_example_of_a_broken_contract_is_what_is_said() -> None:
    (said,) = re.findall(r"^/t: .*$", PAGE, re.MULTILINE)
    contract = Contract(b'{"properties": {"t": {"maximum": 125}}}', "climate-1.json")
    with pytest.raises(DecodeError) as caught:
        contract.check({"t": 126})
    assert caught.value.fault == said
