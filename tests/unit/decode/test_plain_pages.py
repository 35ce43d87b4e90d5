"""What the pages on JSON, CBOR and bare values say is so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cbor2
import pytest

from gateway.decode import cbor, scalar
from gateway.decode import json as json_format
from gateway.decode.contract import Limits
from gateway.errors import DecodeError

PAGES = Path(__file__).resolve().parents[3] / "docs" / "decoders"


def test_the_example_of_json_becomes_the_fields_of_its_table() -> None:
    page = (PAGES / "json.md").read_text("utf-8")
    text = re.findall(r"```json\n(.*?)```", page, re.DOTALL)[0]
    table = re.findall(r"^\| (`.+`) \| (.+) \|$", page, re.MULTILINE)
    wanted = [
        (name.strip(" `"), json.loads(value))
        for names, values in table
        for name, value in zip(names.split(","), values.split(","), strict=True)
    ]
    assert wanted
    assert list(json_format.decoder(Limits())(text.encode()).items()) == wanted
    assert list(cbor.decoder(Limits())(cbor2.dumps(json.loads(text))).items()) == wanted


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b"21.5", 21.5),
        (b" -3e1 ", -30.0),
        (b"42", 42),
        (b"true", True),
        (b"on", "on"),
        (b"open the door", "open the door"),
        (b"null", "no_fields"),
        (b"NaN", "not_finite"),
        (b"inf", "not_finite"),
    ],
)
def test_bare_values_are_what_the_page_says(payload: bytes, value: object) -> None:
    assert payload.decode() in (PAGES / "scalar.md").read_text("utf-8")
    try:
        assert scalar.decoder(Limits())(payload) == {"value": value}
    except DecodeError as error:
        assert error.reason == value  # noqa: PT017  # either is an answer
