"""`gateway demo` as a stranger runs it: cut, healed, killed, and nothing unaccounted; nothing left behind either."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import wait_for

PROGRAM = str(Path(sys.executable).with_name("gateway"))


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def demo(tmp_path):
    """Start the demo with its temporary folders inside the test's own."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [PROGRAM, "demo", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_the_demo_cuts_and_kills_and_nothing_is_unaccounted(demo, tmp_path) -> None:
    process = demo("--seconds", "12", "--json")
    out, err = process.communicate(timeout=75)
    assert process.returncode == 0, (out, err)
    books = json.loads(out)
    assert books["unaccounted"] == 0, books["differences"]
    assert not any(books["differences"].values())
    assert books["sent"] > 3000
    assert books["duplicates_in_sinks"] == 0
    assert books["sink_rows"]["sqlite"] == books["sink_rows"]["ndjson"] == books["sealed"] > 3000
    assert set(books["quarantined"]) >= {"empty", "not_utf8"}
    for number in ("filtered", "sampled_out", "aggregated", "emitted", "qos0_lost_in_the_kill", "uplink_bytes"):
        assert books[number] > 0, number
    acts = [line.split()[1].rstrip(":") for line in err.splitlines() if line.startswith("==")]
    assert acts == ["start", "flow", "cut", "drain", "kill", "recover", "settle"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_child_outlives_the_demo_however_it_ends(demo, tmp_path, number) -> None:
    process = demo("--seconds", "30")
    assert process.stdout is not None
    while "== flow" not in (line := process.stdout.readline()):
        assert line, process.stderr.read()  # type: ignore[union-attr]
    running = children(process.pid)
    assert len(running) == 4
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    wait_for(lambda: not any(map(is_alive, running)), "no child is left")
    if number != signal.SIGKILL:
        assert (process.returncode, err) == (130, "")
        assert list(tmp_path.iterdir()) == []


def test_a_folder_to_keep_must_be_new(demo, tmp_path) -> None:
    (tmp_path / "file").touch()
    process = demo("--keep", str(tmp_path))
    _, err = process.communicate(timeout=10)
    assert process.returncode == 74
    assert "is not empty" in err


def test_less_than_ten_seconds_is_refused(demo) -> None:
    process = demo("--seconds", "9")
    _, err = process.communicate(timeout=10)
    assert process.returncode == 64
    assert "at least 10" in err
