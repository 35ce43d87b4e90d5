from __future__ import annotations

import socket
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from gateway.health import notify
from gateway.health.notify import Notifier, Progress, taking_long

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PID = 42


@contextmanager
def supervisor(address: str) -> Iterator[socket.socket]:
    """Listen where a supervisor would."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as link:
        link.settimeout(5.0)
        link.bind(address)
        yield link


def said(link: socket.socket) -> list[str]:
    return link.recv(4096).decode().split("\n")


@pytest.fixture(params=["file", "abstract"])
def heard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Notifier, socket.socket]]:
    name = str(tmp_path / "notify") if request.param == "file" else f"@{tmp_path}"
    with supervisor(name.replace("@", "\0", 1) if name.startswith("@") else name) as link:
        yield Notifier({"NOTIFY_SOCKET": name}, PID), link


def test_a_supervisor_hears_of_start_reload_and_end(heard) -> None:
    notifier, link = heard
    notifier.ready("takes input in")
    assert said(link) == ["READY=1", "STATUS=takes input in"]
    notifier.reloading(5_000_001_999)
    assert said(link)[:2] == ["RELOADING=1", "MONOTONIC_USEC=5000001"]
    notifier.stopping()
    assert said(link)[0] == "STOPPING=1"
    notifier.alive()
    assert said(link) == ["WATCHDOG=1"]


def test_more_time_is_asked_for_in_microseconds_and_feeds_the_watchdog(heard) -> None:
    notifier, link = heard
    notifier.busy("recovering", 60.0)
    assert said(link) == ["EXTEND_TIMEOUT_USEC=60000000", "WATCHDOG=1", "STATUS=recovering"]


def test_a_status_is_one_line_whatever_is_in_it(heard) -> None:
    notifier, link = heard
    notifier.status("one\nREADY=1\n\ttwo" + " x" * 1000)
    (line,) = said(link)
    assert line.startswith("STATUS=one READY=1 two x")
    assert len(line) <= len("STATUS=") + notify.STATUS_CHARACTERS_MAX


def test_without_a_supervisor_nothing_is_said_and_nothing_fails() -> None:
    notifier = Notifier({}, PID)
    notifier.ready()
    assert (notifier.is_heard, notifier.watchdog_s) == (False, 0.0)


def test_a_supervisor_that_is_gone_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}, PID)
    notifier.alive()
    notifier.alive()
    assert len(caplog.records) == 1


def test_a_full_queue_of_the_supervisor_does_not_hold_the_loop(heard) -> None:
    notifier, link = heard
    for _ in range(5000):
        notifier.alive()
    assert said(link) == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    ("environ", "patience_s"),
    [
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 30.0),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "41"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_watchdog_is_meant_for_us_or_not(environ: dict[str, str], patience_s: float) -> None:
    assert Notifier({"NOTIFY_SOCKET": "@x", **environ}, PID).watchdog_s == patience_s


def test_long_work_asks_for_time_as_long_as_it_gets_on(heard, monkeypatch: pytest.MonkeyPatch) -> None:
    notifier, link = heard
    monkeypatch.setattr(notify, "EXTEND_S", 0.001)
    progress = Progress()
    with taking_long(notifier, "recovering", progress):
        assert said(link)[2] == "STATUS=recovering: 0 steps done"
        progress.step()
        while said(link)[2] != "STATUS=recovering: 1 steps done":
            pass
    assert not [thread for thread in threading.enumerate() if thread.name == "notify"]


def test_long_work_that_stands_still_asks_for_nothing(heard, monkeypatch: pytest.MonkeyPatch) -> None:
    notifier, link = heard
    monkeypatch.setattr(notify, "EXTEND_S", 0.001)
    monkeypatch.setattr(notify, "STANDSTILL_S", 0.0)
    progress, was_asked = Progress(), threading.Event()
    monkeypatch.setattr(notifier, "busy", lambda *_: was_asked.set())
    with taking_long(notifier, "recovering", progress):
        assert not was_asked.wait(0.05)
    link.setblocking(False)
    with pytest.raises(BlockingIOError):
        link.recv(1)
