"""What a process says to its audit log: never waiting, never lost without an entry, never secret."""

from __future__ import annotations

import errno

import pytest

from gateway import redaction
from gateway.audit import trail
from gateway.audit.chain import Chain
from gateway.audit.entry import BEGAN
from gateway.audit.trail import SECURITY_PER_MINUTE, WAITING_MAX, Trail, record, record_security
from gateway.disk import Disk
from gateway.repeats import TELL_S
from tests.support.faultdisk import FaultDisk


@pytest.fixture
def at_work(tmp_path):
    made = Trail(Chain(Disk(), tmp_path / "log"))
    trail.install(made)
    yield made
    trail.install(None)


def entries(of: Trail) -> list[tuple[str, dict[str, object]]]:
    return [(entry.kind, entry.what) for entry, _ in of.chain.proof().entries if entry.kind != BEGAN]


def test_what_is_recorded_becomes_entries_in_order(at_work) -> None:
    record("thing.begun", who="uid 0 (root)", batches=3)
    record("thing.done")
    assert at_work.drain()
    assert entries(at_work) == [("thing.begun", {"batches": 3}), ("thing.done", {})]
    (first, second) = [entry.who for entry, _ in at_work.chain.proof().entries][1:]
    assert (first, second.startswith("uid ")) == ("uid 0 (root)", True)


def test_a_disk_that_refuses_keeps_what_was_said_waiting(tmp_path) -> None:
    disk = FaultDisk()
    made = Trail(Chain(disk, tmp_path))
    disk.fail("write", errno.ENOSPC, times=3)
    made.say("thing.done", "me", {})
    assert [made.drain() for _ in range(4)] == [False, False, False, True]
    assert (entries(made), made.waiting) == ([("thing.done", {})], 0)


def test_what_is_too_much_to_wait_is_given_up_and_that_becomes_an_entry(tmp_path) -> None:
    made = Trail(Chain(FaultDisk(), tmp_path))
    for number in range(WAITING_MAX + 7):
        made.say("thing.done", "me", {"number": number})
    assert made.drain()
    assert entries(made)[0] == ("audit.lost", {"entries": 7})
    assert len(entries(made)) == WAITING_MAX + 1


def test_nobody_can_roll_the_log_over_with_refused_tokens(tmp_path, monkeypatch) -> None:
    now_s = 0.0
    monkeypatch.setattr(trail.time, "monotonic", lambda: now_s)
    made = Trail(Chain(FaultDisk(), tmp_path))
    for _ in range(1000):
        made.security("token.refused", "me", {"peer": "console"})
    now_s = TELL_S
    made.drain()
    assert entries(made)[-1] == ("token.refused", {"repeated": 1000 - SECURITY_PER_MINUTE, "seconds": 60})
    assert len(entries(made)) == SECURITY_PER_MINUTE + 1


def test_no_secret_becomes_part_of_an_entry(at_work, monkeypatch) -> None:
    monkeypatch.setattr(redaction, "_known", {})
    redaction.learn(b"hunter2hunter2")
    record_security("token.refused", peer="somebody with hunter2hunter2")
    at_work.drain()
    assert entries(at_work) == [("token.refused", {"peer": f"somebody with {redaction.MASK}"})]


def test_without_a_chain_what_is_recorded_goes_to_the_log_only(caplog) -> None:
    caplog.set_level("INFO")
    record("thing.done", batches=3)
    assert caplog.messages == ["audit: thing.done {'batches': 3}"]
