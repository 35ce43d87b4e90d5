"""`gateway schema check`: what it says of a change, and with which exit code."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

import pytest

from gateway.cli import schema
from gateway.errors import ConfigError

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
