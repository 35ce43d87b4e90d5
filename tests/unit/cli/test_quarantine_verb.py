"""`gateway quarantine`: what it says, what it refuses, and its exit codes. The broker is in integration."""

from __future__ import annotations

import json
import socket
from base64 import b64decode
from pathlib import Path

import pytest

from gateway import cli
from gateway.model import Quarantined
from gateway.quarantine import Quarantine

HOSTILE = "plant/\x1b[31m\u202e"
CONFIG = """
[node]
id = "node-1"
state_folder = "{state}"
[broker]
port = {port}
[[spool.lanes]]
name = "telemetry"
[[route]]
name = "sensors"
topics = ["sensors/#"]
lane = "telemetry"
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a state folder with four messages in quarantine."""
    folder = tmp_path / "state"
    folder.mkdir()
    kept = Quarantine(folder / "quarantine.sqlite")
    ages = (10**9, 2 * 10**9, 3 * 10**9, 4 * 10**9)
    kept.keep(
        [
            Quarantined(1, ages[0], "plant/a", b'{"v": \n', "json", "malformed_json", "it ends too early"),
            Quarantined(2, ages[1], HOSTILE, bytes(range(40)), "json", "not_utf8", "byte 0"),
            Quarantined(3, ages[2], "plant/big", b"x" * 8, "", "payload_too_large", "", cut_bytes=992),
            Quarantined(4, ages[3], "hall/+/a", b"7", "", "topic_invalid", "it holds a wildcard"),
        ]
    )
    kept.close()
    return folder


def run(state: Path, *words: str) -> int:
    try:
        return cli.main(["quarantine", *words, "--state", str(state)])
    except SystemExit as end:
        return int(end.code or 0)


def listed(state: Path, capsys) -> list[int]:
    capsys.readouterr()
    assert run(state, "ls", "--json", "--limit", "0") == 0
    return [one["key"] for one in json.loads(capsys.readouterr().out)["messages"]]


def test_messages_are_listed_in_order_with_counts_by_reason(state, capsys) -> None:
    assert run(state, "ls") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["key", "1", "2", "3", "4"]
    assert lines[1].split(maxsplit=6)[1:] == [
        "1970-01-01T00:00:01Z",
        "plant/a",
        "json",
        "malformed_json",
        "7",
        "it ends too early",
    ]
    assert "1,000" in lines[3]
    assert lines[-1].split() == ["messages", "4"]
    assert ["not_utf8", "1"] in [line.split() for line in lines]


def test_a_topic_of_any_length_leaves_room_for_the_rest_of_the_line(state, capsys) -> None:
    kept = Quarantine(state / "quarantine.sqlite")
    kept.keep([Quarantined(5, 5 * 10**9, "plant/" + "x" * 1000, b"", "json", "empty", "the payload is empty")])
    kept.close()
    run(state, "ls")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) < 200
    assert "plant/xxx" in lines[5]
    assert "x…  json" in lines[5]
    run(state, "show", "5")
    assert "plant/" + "x" * 1000 in capsys.readouterr().out


def test_a_topic_cannot_command_the_terminal(state, capsys) -> None:
    run(state, "ls")
    run(state, "show", "2")
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert r"plant/\x1b[31m\u202e" in said


def test_a_limit_keeps_the_newest_and_says_how_many_there_are(state, capsys) -> None:
    run(state, "ls", "--limit", "1", "--topic", "plant/#")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("3 ")
    assert lines[2].startswith("… the newest 1 of 3")
    assert lines[-1].split() == ["messages", "3"]


def test_a_text_is_shown_as_text_and_bytes_as_a_dump(state, capsys) -> None:
    assert run(state, "show", "1") == 0
    assert capsys.readouterr().out.endswith('payload  7 bytes\n\n{"v": \n')
    assert run(state, "show", "2") == 0
    dump = capsys.readouterr().out.splitlines()[-3:]
    assert dump[0] == "000000  00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 0e 0f  ................"
    assert dump[2] == "000020  20 21 22 23 24 25 26 27                            !\"#$%&'"


def test_show_writes_the_bytes_themselves(state, capsysbinary) -> None:
    assert run(state, "show", "2", "--raw") == 0
    assert capsysbinary.readouterr().out == bytes(range(40))


def test_show_says_everything_as_json(state, capsys) -> None:
    assert run(state, "show", "3", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert b64decode(said.pop("payload")) == b"x" * 8
    assert said == {
        "key": 3,
        "wall_ns": 3 * 10**9,
        "topic": "plant/big",
        "route": "",
        "reason": "payload_too_large",
        "detail": "",
        "kept_bytes": 8,
        "payload_bytes": 1000,
        "text": "x" * 8,
    }
    assert run(state, "show", "3") == 0
    assert "1,000 bytes, of which the first 8 are kept" in capsys.readouterr().out


def test_a_message_that_is_not_there_ends_with_1(state, capsys) -> None:
    assert run(state, "show", "9") == 1
    assert run(state, "purge", "9", "1") == 1
    said = capsys.readouterr()
    assert "no message 9" in said.err
    assert said.out.splitlines() == ["1 message removed", "no message 9 is in quarantine"]
    assert listed(state, capsys) == [2, 3, 4]


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (("2", "3"), [1, 4]),
        (("--reason", "not_utf8"), [1, 3, 4]),
        (("--topic", "plant/#", "--reason", "malformed_json"), [2, 3, 4]),
        (("--all",), []),
        (("--older-than", "1d"), []),
        (("--older-than", "36500d"), [1, 2, 3, 4]),
    ],
    ids=repr,
)
def test_purge_removes_what_is_named_and_nothing_else(state, words, left, capsys) -> None:
    assert run(state, "purge", "--json", *words) == 0
    assert json.loads(capsys.readouterr().out) == {"removed": 4 - len(left), "unknown": []}
    assert listed(state, capsys) == left


@pytest.mark.parametrize(
    "words",
    [
        ("purge",),
        ("purge", "1", "--all"),
        ("purge", "--all", "--reason", "empty"),
        ("purge", "--older-than", "7"),
        ("redrive",),
        ("ls", "--topic", "a/#/b"),
        ("ls", "--limit", "-1"),
        ("show", "one"),
    ],
    ids=repr,
)
def test_what_may_be_a_slip_is_refused_and_removes_nothing(state, words, capsys) -> None:
    assert run(state, *words) == 64
    assert listed(state, capsys) == [1, 2, 3, 4]


def test_a_folder_that_is_not_there_is_told_and_one_without_a_quarantine_is_empty(tmp_path, capsys) -> None:
    assert run(tmp_path / "gone", "ls") == 66
    assert "gone" in capsys.readouterr().err
    assert run(tmp_path, "ls") == 0
    assert run(tmp_path, "purge", "--all") == 0
    assert run(tmp_path, "show", "1") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_told_with_its_exit_code(state, capsys) -> None:
    (state / "quarantine.sqlite").write_bytes(b"this is no database" * 100)
    assert run(state, "ls") == 74
    assert "moves a damaged file aside" in capsys.readouterr().err


def test_a_redrive_needs_a_configuration_and_a_broker_and_else_removes_nothing(state, tmp_path, capsys) -> None:
    assert run(state, "redrive", "--all") == 78
    assert "-c FILE" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    config = tmp_path / "gateway.toml"
    config.write_text(CONFIG.format(state=state, port=port), "utf-8")
    assert cli.main(["quarantine", "redrive", "--all", "-c", str(config)]) == 69
    assert f"cannot connect to 127.0.0.1:{port}" in capsys.readouterr().err
    assert listed(state, capsys) == [1, 2, 3, 4]


def test_what_can_never_be_published_is_named_without_asking_a_broker(state, tmp_path, capsys) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(CONFIG.format(state=state, port=1), "utf-8")
    assert cli.main(["quarantine", "redrive", "3", "4", "9", "--json", "-c", str(config)]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["published"] == 0
    assert {one["key"]: one["why"] for one in said["left"]} == {
        3: "its payload was cut when it was kept",
        4: "no message may have its topic: it holds a wildcard",
    }
    assert said["unknown"] == [9]
    assert listed(state, capsys) == [1, 2, 3, 4]
