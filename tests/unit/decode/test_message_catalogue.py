"""Every message of the catalogue decodes to what is written beside it: see tests/fixtures/messages/README.md."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path

import pytest

from gateway.decode import cbor, csv, line, msgpack, rows, senml, senml_cbor
from gateway.decode import json as json_format
from gateway.decode.contract import Limits, Record
from gateway.errors import DecodeError

CATALOGUE = Path(__file__).resolve().parents[2] / "fixtures" / "messages"
ENDING = ".expected.json"
PARSERS = {".json": json_format.parse, ".cbor": cbor.parse, ".msgpack": msgpack.parse}


def decode_rows(path, payload, expected) -> list[Record]:
    decoder = rows.decoder(PARSERS[path.suffix], Limits(), tuple(expected.get("path", ())))
    return decoder(payload, "topic", 0)


def decode_msgpack(_, payload, expected) -> list[Record]:  # noqa: ARG001  # as all of the table are called
    return [Record("", None, msgpack.decoder(Limits())(payload))]


def decode_senml(_, payload, expected) -> list[Record]:
    decoder = senml.decoder(Limits(), unit=expected.get("unit", False))
    return decoder(payload, "topic", expected.get("arrival_ns", 0))


def decode_senml_cbor(_, payload, expected) -> list[Record]:
    decoder = senml_cbor.decoder(Limits(), unit=expected.get("unit", False))
    return decoder(payload, "topic", expected.get("arrival_ns", 0))


def decode_line(_, payload, expected) -> list[Record]:
    return line.decoder(Limits(), precision=expected.get("precision", "ns"))(payload, "topic", 0)


def decode_csv(_, payload, expected) -> list[Record]:
    options = {key: expected[key] for key in ("columns", "series", "delimiter", "comment") if key in expected}
    return csv.decoder(Limits(), **options)(payload, "topic", 0)


DECODERS = {
    "line": decode_line,
    "csv": decode_csv,
    "msgpack": decode_msgpack,
    "rows": decode_rows,
    "senml-json": decode_senml,
    "senml-cbor": decode_senml_cbor,
}
MESSAGES = sorted(path for name in DECODERS for path in (CATALOGUE / name).iterdir() if not path.name.endswith(ENDING))


def named(path: Path) -> str:
    return str(path.relative_to(CATALOGUE))


def expected_of(path: Path) -> dict:
    return json.loads(path.with_name(path.name + ENDING).read_text("utf-8"))


def value_of(written) -> object:
    return b64decode(written["base64"]) if isinstance(written, dict) else written


def as_list(records) -> list:
    return [(series, time_ns, [(k, type(v), v) for k, v in row.items()]) for series, time_ns, row in records]


@pytest.mark.parametrize("path", MESSAGES, ids=named)
def test_each_message_of_the_catalogue_decodes_to_what_is_written_beside_it(path) -> None:
    expected = expected_of(path)
    decode = DECODERS[path.parent.name]
    if "refused" in expected:
        with pytest.raises(DecodeError) as caught:
            decode(path, path.read_bytes(), expected)
        assert caught.value.reason == expected["refused"]
        return
    wanted = [
        (record["series"], record["time_ns"], {name: value_of(value) for name, value in record["row"].items()})
        for record in expected["records"]
    ]
    assert as_list(decode(path, path.read_bytes(), expected)) == as_list(wanted)


@pytest.mark.parametrize("name", DECODERS)
def test_the_catalogue_has_messages_of_each_format_and_no_expectation_without_one(name) -> None:
    files = {path.name for path in (CATALOGUE / name).iterdir()}
    messages = {file for file in files if not file.endswith(ENDING)}
    assert messages
    assert files - messages == {file + ENDING for file in messages}


def test_the_packs_of_the_rfc_say_the_same_in_json_and_in_cbor() -> None:
    resolved = expected_of(CATALOGUE / "senml-json" / "rfc8428-resolved.json")["records"]
    assert expected_of(CATALOGUE / "senml-json" / "rfc8428-multiple-measurements.json")["records"] == resolved
    in_json = expected_of(CATALOGUE / "senml-json" / "rfc8428-multiple-at-times.json")["records"]
    assert expected_of(CATALOGUE / "senml-cbor" / "rfc8428-section-6.cbor")["records"] == in_json


@pytest.mark.parametrize("page", ["msgpack", "senml"])
def test_each_example_of_a_page_is_a_message_of_the_catalogue(page) -> None:
    text = (CATALOGUE.parents[2] / "docs" / "decoders" / f"{page}.md").read_text("utf-8")
    shown = [name for name in text.replace(")", "\n").splitlines() if "tests/fixtures/messages/" in name]
    places = [line.split("tests/fixtures/messages/")[1] for line in shown]
    assert places
    for place in places:
        payload = (CATALOGUE / place).read_bytes()
        text_of_payload = payload.hex(" ") if page == "msgpack" or place.endswith(".cbor") else payload.decode().strip()
        assert " ".join(text_of_payload.split()) in " ".join(text.split()), place
