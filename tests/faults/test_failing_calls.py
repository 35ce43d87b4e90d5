"""The n-th system call of the running daemon fails: EIO and ENOSPC from write, sync, allocation, rename and unlink.

strace answers the call instead of the kernel, so it was never made; and once for each call in a row, as a dying medium
does. After each: the daemon has not ended by itself, acknowledges again without a restart, and in the end every message
that was published is at the region exactly once. While every sync fails nothing is acknowledged, and a SIGKILL in the
middle loses nothing.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.disksite import DiskBench, disk_bench
from tests.support.injected import Injection, hits, start_under

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sensors import Stream

pytestmark = pytest.mark.root

IS_LONG = bool(os.environ.get("GATEWAY_LONG"))
CALLS = {
    "fdatasync": ("EIO", "ENOSPC"),
    "pwrite64": ("EIO", "ENOSPC"),
    "fallocate": ("ENOSPC", "EIO"),
    "rename": ("EIO",),
    "fsync": ("EIO",),
    "unlink": ("EIO",),
}
"""Call → errors; the short form tries the first."""

STARTING = ("fdatasync", "pwrite64", "fallocate", "rename", "fsync")
"""Not unlink: one of a start removes the socket of the run before, and the test asks for the status."""

WHEN = ["1", "2", "3..5"] + [str(n) for n in range(3, 13)] + ["1..2", "2..9"] if IS_LONG else ["1", "2", "3..5"]
STARTS = range(1, 13 if IS_LONG else 3)


def errors(call: str) -> tuple[str, ...]:
    """Return the errors that a call is made to fail with."""
    return CALLS[call] if IS_LONG else CALLS[call][:1]


def fail_some(bench: DiskBench, call: str, error: str, when: str) -> None:
    """Let some calls fail, wait until they have, and see that the daemon acknowledges again."""
    first, _, last = when.partition("..")
    wanted = int(last or first) - int(first) + 1
    with Injection(bench.site.daemon.pid, bench.folder, f"{call}:error={error}:when={when}") as injection:
        injection.wait_for_hits(wanted)
        bench.wait_acknowledged(20)


@pytest.mark.parametrize("calls", [("fdatasync", "pwrite64", "fallocate"), ("rename", "fsync", "unlink")])
def test_each_call_that_fails_costs_no_message_and_no_restart(tmp_path: Path, calls: tuple[str, ...]) -> None:
    with disk_bench(tmp_path) as bench:
        stream = bench.start()
        for call in calls:
            for error in errors(call):
                for when in WHEN:
                    fail_some(bench, call, error, when)
        bench.wait_healed()
        bench.check_everything_arrived_once(stream)


@pytest.mark.parametrize("rule", ["fdatasync:error=EIO", "pwrite64:error=ENOSPC"])
def test_while_every_call_fails_nothing_is_acknowledged_and_afterwards_all_arrives(tmp_path: Path, rule: str) -> None:
    words = os.strerror(getattr(errno, rule.partition("=")[2]))
    with disk_bench(tmp_path) as bench:
        stream = bench.start()
        with Injection(bench.site.daemon.pid, tmp_path, rule):
            bench.wait_for_fault("failed", "full")
            bench.check_nothing_acknowledged(2.5)
            named = {sentence: times for sentence, times in bench.named().items() if words in sentence}
            assert set(named.values()) == {1}, named
        bench.wait_acknowledged(200)
        bench.wait_healed()
        kill_in_the_middle(bench, stream, rule)


def kill_in_the_middle(bench: DiskBench, stream: Stream, rule: str) -> None:
    """Let every call fail again, kill the daemon meanwhile, and see that all is there after the next start."""
    with Injection(bench.site.daemon.pid, bench.folder, rule):
        bench.wait_for_fault("failed", "full")
        bench.check_nothing_acknowledged(0.5)
        bench.site.daemon.kill()
    bench.restart()
    bench.wait_acknowledged(200)
    bench.check_everything_arrived_once(stream)


def test_a_start_gets_through_whatever_call_fails_in_it(tmp_path: Path) -> None:
    with disk_bench(tmp_path) as bench:
        stream = bench.start()
        trace = tmp_path / "strace.start"
        failed = 0
        for call in STARTING:
            for error in errors(call):
                for n in STARTS:
                    bench.site.daemon.kill()
                    start_under(bench.site.daemon, trace, f"{call}:error={error}:when={n}")
                    bench.restart()
                    failed += hits(trace)
        assert failed >= len(STARTING), "the calls of a start do not fail as ordered"
        bench.site.daemon.kill()
        start_under(bench.site.daemon, trace)
        bench.restart()
        bench.wait_acknowledged(200)
        bench.check_everything_arrived_once(stream)


def test_a_fault_of_a_checkpoint_is_cleared_also_when_no_message_comes_any_more(tmp_path) -> None:
    with disk_bench(tmp_path) as bench:
        stream = bench.start()
        with Injection(bench.site.daemon.pid, tmp_path, "rename:error=EIO"):
            bench.wait_for_fault("failed")
            stream.stop()
        bench.wait_healed(30)
        bench.check_everything_arrived_once(stream)
