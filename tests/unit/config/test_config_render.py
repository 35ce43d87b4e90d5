from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from gateway.cli.config import FOLDER, pages
from gateway.config import json_schema, render, schema
from gateway.config.load import parse
from gateway.config.options import options, quoted, tables
from gateway.config.section import Section
from gateway.config.units import parse_duration

ROOT = Path(__file__).resolve().parents[3]
TEXT = """
[node]
id = "node-1"
[[spool.lanes]]
name = "telemetry"
linger = "1500ms"
[[route]]
name = "sensors"
topics = ["a/#", "b"]
lane = "telemetry"
[route.sample]
deadband = { "odd name" = 0.5 }
"""
DEFINED = [(path, option) for path, table in tables() for option in options(table.section, path)]
LEAVES = [option for _, option in DEFINED if option.section is None]


def loaded(text: str = TEXT):
    return parse(text, "gateway.toml", Path("/etc/edge"))


def test_the_generated_pages_are_what_the_schema_says() -> None:
    for name, text in pages().items():
        assert (ROOT / FOLDER / name).read_text("utf-8") == text, f"{name} is stale: run `make docs`"


@pytest.mark.parametrize("option", [option for _, option in DEFINED], ids=lambda option: option.path)
def test_every_option_is_declared_with_a_sentence_and_its_limits(option) -> None:
    assert option.sentence.endswith(".")
    assert option.sentence[0].isupper() or option.sentence.startswith(("`", "QoS"))
    assert option.attribute.endswith("_ns") == (option.kind == "duration")
    if option.kind in {"duration", "size", "integer", "number"}:
        assert option.low is not None
        assert option.high is not None
        assert option.low < option.high
    if option.kind == "size":
        assert "bytes" in option.key


@pytest.mark.parametrize("option", LEAVES, ids=lambda option: option.path)
def test_every_option_is_in_the_reference_and_the_example(option) -> None:
    section = render.reference().partition(f"]`\n\n{_section_of(option).__doc__}")[2].partition("\n#")[0]
    assert f"| `{option.key}` |" in section
    assert option.sentence in section
    assert re.search(rf"^#?{option.key} = ", render.example(), re.MULTILINE)


def _section_of(option) -> type[Section]:
    parent = option.path.rpartition(".")[0]
    return next(table.section for path, table in tables() if path == parent)


@pytest.mark.parametrize("option", [one for one in LEAVES if not one.required], ids=lambda option: option.path)
def test_a_default_is_written_so_that_it_reads_back(option) -> None:
    written = tomllib.loads(f"x = {option.text(option.default)}")["x"]
    if option.kind == "duration":
        assert parse_duration(written) == option.default
    elif option.kind != "size":
        assert written == (list(option.default) if isinstance(option.default, tuple) else option.default)


def test_the_example_is_a_configuration_with_and_without_its_comments() -> None:
    text = render.example()
    assert loaded(text).config.node == schema.Node(id="node-1")
    whole = loaded(re.sub(r"^#(?! )", "", text, flags=re.MULTILINE)).config
    assert whole.receiver is not None
    assert whole.route[0].window == schema.Window(size_ns=60 * 10**9)
    assert whole.broker == schema.Broker()


def test_explain_shows_every_effective_value_and_its_origin() -> None:
    lines = {line.key: line for line in render.explain(loaded())}
    assert lines["node.id"] == ("node.id", '"node-1"', "gateway.toml:3")
    assert lines["spool.lanes[0].linger"] == ("spool.lanes[0].linger", '"1500ms"', "gateway.toml:6")
    assert lines["route[0].topics"].value == '["a/#", "b"]'
    assert lines["route[0].sample.deadband"] == ("route[0].sample.deadband", '{"odd name" = 0.5}', "gateway.toml:12")
    assert lines["broker.keep_alive"] == ("broker.keep_alive", '"30s"', "default")
    assert not [key for key in lines if key.startswith(("receiver", "route[0].window"))]
    assert "broker.keep_alive = " in render.explained_text(list(lines.values()))


def test_explain_of_a_receiver_shows_nothing_of_a_node() -> None:
    text = '[receiver]\ntls_ca = "a"\ntls_certificate = "b"\ntls_key = "c"\n'
    assert {line.key.partition(".")[0] for line in render.explain(loaded(text))} == {
        "receiver",
        "health",
        "log",
        "audit",
    }


def test_what_explain_shows_is_toml() -> None:
    for line in render.explain(loaded()):
        assert tomllib.loads(f"x = {line.value}")


@pytest.mark.parametrize("text", ["", 'a"b\\c', "line\nbreak\t\r", "\x00\x7f\u2028é😀"])
def test_quoted_text_reads_back_the_same(text) -> None:
    assert tomllib.loads(f"x = {quoted(text)}")["x"] == text


def test_the_json_schema_knows_every_option_and_refuses_others() -> None:
    document = json.loads(json_schema.document())
    assert document["$schema"].endswith("draft/2020-12/schema")
    for path, table in tables():
        part = document["$defs"][table.section.__name__]
        found = options(table.section, path)
        assert part["additionalProperties"] is False
        assert list(part["properties"]) == [option.key for option in found]
        assert part.get("required", []) == [option.key for option in found if option.required]
    references = set(re.findall(r'"#/\$defs/(\w+)"', json_schema.document()))
    assert references == set(document["$defs"])


def test_durations_and_sizes_are_patterned_texts_in_the_json_schema() -> None:
    definitions = json.loads(json_schema.document())["$defs"]
    linger = definitions["Lane"]["properties"]["linger"]
    assert linger["default"] == "1s"
    assert re.search(linger["pattern"], "1.5h")
    assert not re.search(linger["pattern"], "15")
    text, number = definitions["Lane"]["properties"]["bytes_max"]["anyOf"]
    assert re.search(text["pattern"], "8MiB")
    assert number == {"type": "integer", "minimum": 128 * 1024, "maximum": 1024 * 1024**3}
