"""`gateway route test` shows what a configuration makes of messages, `gateway replay` of what was recorded."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from gateway import cli
from gateway.config import schema
from gateway.disk import Disk
from gateway.journal.writer import JournalWriter
from gateway.model import CLOCK_SYNCHRONISED, QOS1, MessageGroup, Tick

SITE = """
[node]
id = "node-1"
state_folder = "{state}"
[[spool.lanes]]
name = "telemetry"
[[route]]
name = "temps"
topics = ["plant/+/t"]
lane = "telemetry"
keep = "t > -40"
[route.sample]
deadband = {{t = 0.5}}
[[route]]
name = "counted"
topics = ["counted/#"]
lane = "telemetry"
[route.window]
size = "10s"
idle = "30s"
functions = ["count"]
"""
S = 10**9
NOON = 1_780_000_000 * S


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(SITE.format(state=tmp_path / "state"))
    return path


def said(capsys, *words: str) -> tuple[int, str]:
    code = cli.main(list(words))
    captured = capsys.readouterr()
    assert captured.err == ""
    return code, captured.out


def test_each_message_is_shown_step_by_step(site, capsys) -> None:
    payloads = ['{"t": 20}', '{"t": 20.1}', '{"t": -50}', '{"t"']
    code, text = said(capsys, "route", "test", "-c", str(site), "plant/a/t", *payloads)
    assert code == 1
    first, second, third, fourth = text.strip().split("message ")[1:]
    assert "route    temps" in first
    assert first.count('{"t": 20}') == 2, "decoded, and goes on in the lane"
    assert "reading.sampled_out 1" in second
    assert "goes on" not in second
    assert "(filtered by keep)" in third
    assert "refused  malformed_json" in fourth


def test_steps_with_a_memory_show_it(site, capsys) -> None:
    words = [
        "route",
        "test",
        "--json",
        "-c",
        str(site),
        "--every",
        "6s",
        "counted/x",
        '{"v": 1}',
        '{"v": 2}',
        '{"v": 3}',
    ]
    code, text = said(capsys, *words)
    assert code == 0
    batches = [json.loads(line)["batches"] for line in text.splitlines()]
    assert batches[0] == []
    closed, *_ = [one for each in batches for one in each]  # one or two, as the time of day has it
    assert closed["rows"][0]["fields"] in ({"v.count": 1}, {"v.count": 2})


def test_payloads_are_text_files_or_hex(site, capsys, tmp_path) -> None:
    file = tmp_path / "payload"
    file.write_bytes(b'{"t": 7}')
    for words in (["@" + str(file)], ["--hex", b'{"t": 7}'.hex()]):
        code, text = said(capsys, "route", "test", "--json", "-c", str(site), "plant/a/t", *words)
        assert code == 0
        assert json.loads(text)["rows"][0]["fields"] == {"t": 7}


def test_a_topic_that_no_route_takes_is_said(site, capsys) -> None:
    code, text = said(capsys, "route", "test", "-c", str(site), "other", "5")
    assert code == 1
    assert "none: no filter takes this topic" in text
    assert "message.unrouted 1" in text


def journal(folder: Path, seconds: int) -> None:
    writer = JournalWriter(Disk(), folder, schema.Journal(segment_bytes=1 << 20), 0)
    for second in range(seconds):
        at = second * S
        topics = ["plant/a/t", "counted/x", "other"]
        payloads = [b'{"t": %d}' % (second % 7), b'{"v": 1}', b"5"]
        writer.commit(
            [
                MessageGroup(NOON + at, at, CLOCK_SYNCHRONISED, 1, False, topics, payloads, [1, 2, 3], [QOS1] * 3, {}),
                Tick(NOON + at, at, CLOCK_SYNCHRONISED),
            ]
        )
    writer.close()


def test_a_new_configuration_is_tried_beside_another(site, capsys, tmp_path) -> None:
    journal(tmp_path / "recorded", 100)
    new = tmp_path / "new.toml"
    new.write_text(site.read_text().replace('size = "10s"', 'size = "20s"').replace("t = 0.5", "t = 3"))
    words = ["-c", str(new), "--against", str(site), "--capture", str(tmp_path / "recorded"), "--json"]
    code, text = said(capsys, "replay", *words)
    assert code == 0
    tried, other = json.loads(text)
    assert (tried["configuration"], other["configuration"]) == (str(new), str(site))
    assert tried["messages"] == other["messages"] == 300
    assert tried["ledger"]["message.unrouted"] == 100
    routes = [{one["name"]: one["readings_out"] for one in side["routes"]} for side in (tried, other)]
    assert routes[0]["temps"] < routes[1]["temps"] == 100
    windows = [second // 20 for second in range(100)], [second // 10 for second in range(100)]
    assert [one["counted"] for one in routes] == [len(set(each)) for each in windows]
    lanes = [side["lanes"]["telemetry"] for side in (tried, other)]
    assert lanes[0]["link_bytes"] < lanes[1]["link_bytes"]
    assert lanes[0]["readings"] == sum(routes[0].values())


def test_a_replay_is_shown_for_people(site, capsys, tmp_path) -> None:
    journal(tmp_path / "state" / "journal", 100)
    code, text = said(capsys, "replay", "-c", str(site))
    assert code == 0
    assert text.startswith("300 messages with ")
    assert "100 messages have no route" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["counted", "100", "0", "100", "10"] in lines


def test_what_holds_no_messages_is_an_error(site, capsys, tmp_path) -> None:
    assert cli.main(["replay", "-c", str(site), "--journal", str(tmp_path)]) == 78
    assert "holds no messages" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["route", "test", "a", "7b227", "--hex"], "not hex digits"),
        (["route", "test", "a", "{}", "--every", "soon"], "not a duration"),
        (["capture", "there", "--for", "5"], "without its unit"),
        (["capture", "there", "--bytes", "5Q"], "no size"),
        (["capture", "there", "--messages", "0"], "at least 1"),
        (["capture", "there", "--topic", "a/#/b"], "no topic filter"),
    ],
)
def test_words_that_mean_nothing_are_told_with_the_usage(site, capsys, words, sentence) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([*words, "-c", str(site)])
    assert caught.value.code == 64
    assert sentence in capsys.readouterr().err


def test_a_capture_of_nothing_says_so_and_leaves_no_folder(site, capsys, tmp_path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        site.write_text(f"{SITE.format(state=tmp_path)}\n[broker]\nport = {nobody.getsockname()[1]}\n")
        code = cli.main(["capture", "-c", str(site), str(tmp_path / "captured"), "--for", "300ms"])
    assert (code, capsys.readouterr().out) == (1, "nothing came, so nothing was recorded\n")
    assert not (tmp_path / "captured").exists()
