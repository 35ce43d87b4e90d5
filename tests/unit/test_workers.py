from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from gateway.disk import Disk
from gateway.errors import StoreError
from gateway.workers import Workers, outside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT_S = 10.0


@contextmanager
def pool() -> Iterator[Workers]:
    workers = Workers(1, "writer")
    try:
        yield workers
    finally:
        workers.shutdown()


def test_a_thread_with_nothing_to_do_has_nothing_in_hand() -> None:
    with pool() as workers:
        assert workers.submit(lambda: 7).result(WAIT_S) == 7
        assert (workers.in_hand(), workers.outside_s(time.monotonic()), workers.begun) == ({}, 0.0, 1)


def test_a_job_in_hand_keeps_its_number_while_others_wait() -> None:
    has_begun, may_end = threading.Event(), threading.Event()

    def job() -> None:
        has_begun.set()
        assert may_end.wait(WAIT_S)

    with pool() as workers:
        first = workers.submit(job)
        workers.submit(int)
        assert has_begun.wait(WAIT_S)
        assert list(workers.in_hand().values()) == [1]
        may_end.set()
        first.result(WAIT_S)


def test_a_thread_that_waits_for_the_disk_is_outside_and_not_at_fault() -> None:
    has_begun, may_end = threading.Event(), threading.Event()

    def job() -> None:
        with outside(), outside():
            pass
        with outside():
            has_begun.set()
            assert may_end.wait(WAIT_S)

    with pool() as workers:
        waiting = workers.submit(job)
        assert has_begun.wait(WAIT_S)
        assert workers.in_hand() == {}
        assert workers.outside_s(time.monotonic() + 100) >= 100
        may_end.set()
        waiting.result(WAIT_S)


def test_a_job_that_fails_leaves_nothing_in_hand_and_nobody_outside(tmp_path: Path) -> None:
    with pool() as workers:
        failing = workers.submit(Disk().load, tmp_path / "missing")
        with pytest.raises(StoreError):
            failing.result(WAIT_S)
        assert (workers.in_hand(), workers.outside_s(time.monotonic())) == ({}, 0.0)
