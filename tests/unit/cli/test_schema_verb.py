"""`gateway schema check`: what it says of a change, and with which exit code."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

import pytest

from gateway.cli import schema
from gateway.errors import ConfigError
from tests.support import catalogue

if TYPE_CHECKING:
    from pathlib import Path

NARROW = {"type": "object", "properties": {"t": {"type": "integer"}}, "additionalProperties": False}
WIDE = {"type": "object", "properties": {"t": {"type": "number"}}, "additionalProperties": False}


def checked(folder: Path, old: object, new: object, *options: str, suffix: str = ".json") -> int:
    for name, document in (("old", old), ("new", new)):
        (folder / f"{name}{suffix}").write_text(json.dumps(document), "utf-8")
    parser = argparse.ArgumentParser()
    schema.register(parser)
    return schema.run(
        parser.parse_args(["check", str(folder / f"old{suffix}"), str(folder / f"new{suffix}"), *options])
    )


def test_a_change_is_named_with_what_speaks_against_it(tmp_path, capsys) -> None:
    assert checked(tmp_path, NARROW, WIDE) == 0
    said = capsys.readouterr().out
    assert said.splitlines() == [
        "backward compatible",
        "backward: yes, the new schema reads what the old one wrote",
        "forward: no, the old schema reads what the new one writes not always:",
        "  /properties/t/type: a number with a fraction may be written, and is not taken",
    ]


@pytest.mark.parametrize(
    ("required", "old", "new", "code"),
    [
        ("backward", NARROW, WIDE, 0),
        ("forward", NARROW, WIDE, 1),
        ("full", NARROW, WIDE, 1),
        ("backward", WIDE, NARROW, 1),
        ("forward", WIDE, NARROW, 0),
        ("full", WIDE, WIDE, 0),
    ],
)
def test_the_exit_code_answers_what_is_required(tmp_path, required, old, new, code) -> None:
    assert checked(tmp_path, old, new, "--require", required) == code


def test_json_holds_the_verdict_and_the_findings(tmp_path, capsys) -> None:
    assert checked(tmp_path, "string", "int", "--json", suffix=".avsc") == 1
    found = json.loads(capsys.readouterr().out)
    reason = "string may be written, and cannot be read as int"
    assert found["format"] == "avro"
    assert found["compatible"] == "none"
    assert found["backward"] == [{"path": "", "reason": reason}]


def test_text_of_a_schema_cannot_command_a_terminal(tmp_path, capsys) -> None:
    checked(tmp_path, {}, {"properties": {"\x1b[2J": {"type": "string"}}})
    assert "\x1b" not in capsys.readouterr().out


def test_a_file_that_is_no_schema_is_named(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"new\.json: this is no JSON Schema"):
        checked(tmp_path, {}, {"type": "text"})
    with pytest.raises(ConfigError, match=r"old\.avsc: this is no Avro schema"):
        checked(tmp_path, {}, "int", suffix=".avsc")


def test_two_formats_are_not_compared_unless_one_is_named(tmp_path) -> None:
    (tmp_path / "a.avsc").write_text('"int"')
    (tmp_path / "b.json").write_text('"int"')
    parser = argparse.ArgumentParser()
    schema.register(parser)
    files = ["check", str(tmp_path / "a.avsc"), str(tmp_path / "b.json")]
    with pytest.raises(ConfigError, match="two formats"):
        schema.run(parser.parse_args(files))
    assert schema.run(parser.parse_args([*files, "--format", "avro"])) == 0


def of_protobuf(folder: Path, *options: str, old: str, new: str) -> int:
    """Compare two bodies of a message R, each in a folder of its own below one that has a file that both import."""
    (folder / "shared.proto").write_text('syntax = "proto3"; message Shared { int32 x = 1; }')
    paths = []
    for name, body in (("old", old), ("new", new)):
        (folder / name).mkdir(exist_ok=True)
        path = folder / name / "r.proto"
        path.write_text(f'syntax = "proto3"; import "shared.proto"; message R {{ {body} Shared s = 9; }}')
        paths.append(str(path))
    parser = argparse.ArgumentParser()
    schema.register(parser)
    return schema.run(parser.parse_args(["check", *paths, *options]))


def test_texts_of_protobuf_are_compared_with_what_they_import(tmp_path, capsys) -> None:
    assert of_protobuf(tmp_path, old="int32 t = 1; int32 h = 2;", new="int64 t = 1;") == 1
    assert capsys.readouterr().out.splitlines() == [
        "not compatible",
        "backward: no, the new schema reads what the old one wrote not always:",
        "  /R: h = 2 is gone and its number not reserved: it may be used for something else",
        "forward: no, the old schema reads what the new one writes not always:",
        "  /R/t: int64 may be written, and int32 cannot hold 9223372036854775807, which is read as another number",
    ]
    assert of_protobuf(tmp_path, old="int32 t = 1; int32 h = 2;", new="int64 t = 1; reserved 2;") == 0


def test_one_message_of_protobuf_or_the_wire_alone_can_be_asked_for(tmp_path) -> None:
    change = {"old": "int32 t = 1;", "new": "int32 temperature = 1;"}
    assert of_protobuf(tmp_path, **change) == 1
    assert of_protobuf(tmp_path, "--format", "protobuf-wire", "--require", "full", **change) == 0
    assert of_protobuf(tmp_path, "--message", "Shared", "--require", "full", **change) == 0
    with pytest.raises(ConfigError, match=r"old.r\.proto: the descriptor set has no message 'X', it has R, Shared"):
        of_protobuf(tmp_path, "--message", "X", **change)


def test_a_descriptor_set_is_compared_with_a_text(tmp_path) -> None:
    folder = catalogue.ROOT / "protobuf"
    parser = argparse.ArgumentParser()
    schema.register(parser)
    files = [str(folder / "plant.desc"), str(folder / "plant.proto")]
    assert schema.run(parser.parse_args(["check", *files, "--require", "full"])) == 0
    broken = tmp_path / "broken.desc"
    broken.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"broken\.desc: the file is no descriptor set"):
        schema.run(parser.parse_args(["check", files[0], str(broken)]))


def test_imports_that_are_not_there_or_lead_elsewhere_are_refused(tmp_path) -> None:
    parser = argparse.ArgumentParser()
    schema.register(parser)
    for name in ("missing.proto", "../secret.proto"):
        (tmp_path / "a.proto").write_text(f'import "{name}";')
        with pytest.raises(ConfigError, match=r"a\.proto: there is no file"):
            schema.run(parser.parse_args(["check", str(tmp_path / "a.proto"), str(tmp_path / "a.proto")]))
    with pytest.raises(FileNotFoundError):
        schema.run(parser.parse_args(["check", str(tmp_path / "b.proto"), str(tmp_path / "b.proto")]))


def test_a_message_is_named_of_protobuf_only(tmp_path) -> None:
    with pytest.raises(ConfigError, match="--message is for Protobuf"):
        checked(tmp_path, NARROW, WIDE, "--message", "R")
