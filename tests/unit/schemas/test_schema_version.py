"""A route names the version of its schema, and every refusal that the schema is the reason of says it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gateway import cli
from gateway.config import schema
from gateway.config.load import load
from gateway.config.material import read_material
from gateway.decode.contract import Limits
from gateway.decode.formats import decoding_of
from gateway.errors import ConfigError, DecodeError
from gateway.recovery import Settings
from tests.support import catalogue

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "schemas.md").read_text("utf-8")
SITE = """
[node]
id = "node-1"
state_folder = "state"
[[spool.lanes]]
name = "telemetry"
"""
CLIMATE = b'{"properties": {"t": {"maximum": 125}}}'
FILES = {
    "climate.json": CLIMATE,
    "plant.desc": (catalogue.ROOT / "protobuf" / "plant.desc").read_bytes(),
    "climate.avsc": (catalogue.ROOT / "avro" / "climate.avsc").read_bytes(),
}
ROUTES: dict[str, dict[str, object]] = {
    "json": {"schema_file": "climate.json"},
    "avro": {"decoder": "avro", "avro": schema.Avro(schema_file="climate.avsc")},
    "protobuf": {
        "decoder": "protobuf",
        "protobuf": schema.Protobuf(descriptor_file="plant.desc", message="plant.Reading"),
    },
}
REFUSED = {"json": b'{"t": 126}', "avro": b"\x03", "protobuf": b"\x0b"}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a configuration with the example of the page."""
    (example,) = re.findall(r"```toml\n(\[\[route]].*?)```", PAGE, re.DOTALL)
    (tmp_path / "climate.json").write_bytes(CLIMATE)
    (tmp_path / "gateway.toml").write_text(SITE + example)
    return tmp_path / "gateway.toml"


def route(name: str, **options: object) -> schema.Route:
    return schema.Route(name="r", topics=("#",), lane="telemetry", **ROUTES[name], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ROUTES)
def test_a_refusal_names_the_version(name) -> None:
    decoding = decoding_of(route(name, schema_version="1.2"), Limits(), FILES)
    assert decoding.schema.endswith(" version 1.2")
    assert decoding.row is not None
    with pytest.raises(DecodeError) as caught:
        decoding.row(REFUSED[name])
    assert f"({decoding.schema}" in caught.value.fault
    assert caught.value.reason in {"schema_violated", "malformed_avro", "malformed_protobuf"}


@pytest.mark.parametrize("name", ROUTES)
def test_a_route_without_a_version_names_its_schema_by_the_file_alone(name) -> None:
    decoding = decoding_of(route(name), Limits(), FILES)
    assert decoding.schema in FILES
    assert decoding.row is not None
    with pytest.raises(DecodeError) as caught:
        decoding.row(REFUSED[name])
    assert "version" not in caught.value.fault


def test_elements_of_an_array_are_refused_with_the_version_too() -> None:
    decoding = decoding_of(route("json", schema_version="1.2", rows="."), Limits(), FILES)
    assert decoding.records is not None
    with pytest.raises(DecodeError, match=r"climate\.json version 1\.2"):
        decoding.records(REFUSED["json"], "t", 0)


def test_the_trial_of_a_message_shows_the_schema_and_what_it_refuses(site, capsys) -> None:
    assert cli.main(["route", "test", "-c", str(site), "plant/a/climate", '{"t": 20}', '{"t": 126}']) == 1
    said = capsys.readouterr().out
    named = f"{site.parent}/climate.json version 1.2"
    assert said.count(f"  schema   {named}\n") == 2
    assert f"schema_violated: /t: the value is greater than the maximum of 125 ({named}, " in said
    assert cli.main(["route", "test", "--json", "-c", str(site), "plant/a/climate", '{"t": 20}']) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == named


def test_the_status_of_a_route_has_its_schema(site) -> None:
    config = load(site).config
    pipeline = Settings.of(config, read_material(config.route)).pipeline(1)
    assert [each["schema"] for each in pipeline.routes_status()] == [f"{site.parent}/climate.json version 1.2"]


@pytest.mark.parametrize("content", [b"{", b'{"type": "none"}'])
def test_a_schema_that_cannot_be_used_is_named_with_its_route(site, capsys, content) -> None:
    file = site.parent / "climate.json"
    file.write_bytes(content)
    assert cli.main(["check", "-c", str(site)]) == 78
    said = capsys.readouterr().err
    assert 'route "climate"' in said
    assert said.count(str(file)) == 1


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('schema_file = "climate.json"\n', "", r"schema_version: is the version of no schema"),
        ('"1.2"', f'"{"1" * 65}"', "at most 64 characters"),
        ('"1.2"', '"1\\u202e"', "can be printed"),
    ],
)
def test_a_version_of_nothing_or_one_that_cannot_be_shown_is_refused(site, old, new, says) -> None:
    site.write_text(site.read_text().replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load(site)
    assert any(re.search(says, each) for each in caught.value.faults), caught.value.faults
