"""What a long run is judged by: books that agree to the reading, and figures that did not grow."""

from __future__ import annotations

import contextlib
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import pyarrow.parquet as pq

from gateway.region import watermarks
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.site import Site

FIELDS = 4
"""Readings of each message of a load with a rate: its number and three values."""
FILES_S = 300.0
WARM_SHARE = 0.2
GROWN_SHARE = 0.05
GROWN_MB = 3.0
GROWN_FILES = 2
GROWN_THREADS = 2
"""Pools of threads make theirs when they are first needed."""
LATER_SHARE = 0.5
LATER_MS = 5.0


class Check(NamedTuple):
    """One line of the verdict; `is_passed` None only tells."""

    what: str
    said: str
    is_passed: bool | None

    def __str__(self) -> str:
        """Return the line."""
        word = {True: "passed", False: "FAILED", None: "noted"}[self.is_passed]
        return f"{word:7} {self.what}: {self.said}"


def books(site: Site, status: dict, sent: int, *, has_files: bool) -> list[Check]:
    """Hold daemon, receiver and files against what was sent; the receiver may still have the last batches in hand."""

    def is_committed() -> bool:
        return sum(lane.received for lane in watermarks.report(site.region_state).lanes) >= FIELDS * sent

    with contextlib.suppress(AssertionError):
        wait_for(is_committed, "the receiver has everything", FILES_S, 1.0)
    ledger = status["ledger"]
    taken = ledger["message.received"] - ledger.get("message.duplicate", 0)
    others = {
        key: number for key, number in ledger.items() if number and key.startswith(("message.quar", "message.sh"))
    }
    report = watermarks.report(site.region_state)
    received = sum(lane.received for lane in report.lanes)
    lost = sum(sum(lane.lost.values()) + lane.missing for lane in report.lanes)
    checks = [
        Check(
            "ledger of the node", f"{taken:,} taken of {sent:,}, {others or 'none shed'}", taken == sent and not others
        ),
        Check("residuals of the node", f"{status['residual']}", not any(status["residual"].values())),
        Check("books of the receiver", f"{received:,} readings of {FIELDS * sent:,}", received == FIELDS * sent),
        Check(
            "lost or missing at the receiver",
            f"{lost}, unaccounted {report.unaccounted}",
            not lost + report.unaccounted,
        ),
    ]
    if has_files:
        rows = rows_in_files(site.region_state, FIELDS * sent)
        checks.append(Check("rows in the Parquet files", f"{rows:,} of {FIELDS * sent:,}", rows == FIELDS * sent))
    return checks


def rows_in_files(folder: Path, expected: int) -> int:
    """Return how many readings the finished Parquet files hold, after waiting for the last one."""

    def count() -> int:
        return sum(pq.read_metadata(path).num_rows for path in folder.rglob("*.parquet"))

    try:
        wait_for(lambda: count() >= expected, "the last Parquet file", FILES_S, 2.0)
    except AssertionError:
        return count()
    return count()


def growth(samples: list[dict]) -> list[Check]:
    """Compare the last third of the run with the first one, the first fifth left out."""
    warm = samples[int(len(samples) * WARM_SHARE) :]
    third = len(warm) // 3
    if not third:
        return [Check("growth", "the run is too short to tell", is_passed=None)]
    checks = []
    for key, share, room in (
        ("daemon_rss_mb", GROWN_SHARE, GROWN_MB),
        ("daemon_files", 0.0, GROWN_FILES),
        ("daemon_threads", 0.0, GROWN_THREADS),
        ("receiver_rss_mb", None, None),
        ("broker_rss_mb", None, None),
    ):
        checks.append(_grown(key, [one[key] for one in warm[:third]], [one[key] for one in warm[-third:]], share, room))
    calm = [one for one in warm if one["is_calm"]]
    third = len(calm) // 3
    if third:
        for key in ("alarm_p50_ms", "alarm_p99_ms"):
            first, last = [one[key] for one in calm[:third]], [one[key] for one in calm[-third:]]
            checks.append(_grown(key, first, last, LATER_SHARE, LATER_MS))
    return checks


def _grown(key: str, first: list[float], last: list[float], share: float | None, room: float | None) -> Check:
    before, after = median(first), median(last)
    is_passed = None if share is None or room is None else after <= before * (1 + share) + room
    return Check(key, f"{before:g} in the first third, {after:g} in the last", is_passed)
