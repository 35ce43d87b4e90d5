"""Threads whose work can be watched: which job each has in hand, and whether it waits for something outside.

A thread that is deep in a system call on a disk which hangs, or waits for a database, is not at fault, and a restart
would not help it. So code that may hang through no fault of ours says so with `outside`; `gateway.disk` does around
every operation. What is left, a job that never ends and is not outside, is a wedge.
"""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

HANG_S: Final = 5.0
"""Time outside after which whoever waits for that thread is excused."""

P = ParamSpec("P")
T = TypeVar("T")

_outside: dict[int, float] = {}
"""By thread: since when it is outside, in seconds of the monotonic clock."""


@contextlib.contextmanager
def outside() -> Iterator[None]:
    """Mark what is done inside as waiting for a disk, a database or a network."""
    thread = threading.get_ident()
    before = _outside.get(thread)
    _outside[thread] = before or time.monotonic()
    try:
        yield
    finally:
        if before is None:
            _outside.pop(thread, None)


class Workers(ThreadPoolExecutor):
    """A pool of `size` threads that knows what they do."""

    def __init__(self, size: int, name: str) -> None:
        super().__init__(size, name)
        self.name = name
        self.begun = 0
        self.busy_s = 0.0
        """Seconds spent in jobs, waits outside included."""
        self._jobs: dict[int, int] = {}

    def submit(self, work: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> Future[T]:
        """Queue a job."""
        return super().submit(self._do, work, *arguments, **named)

    def _do(self, work: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> T:
        thread = threading.get_ident()
        self.begun += 1  # two threads may get one number: they still change it
        self._jobs[thread] = self.begun
        began_s = time.perf_counter()
        try:
            return work(*arguments, **named)
        finally:
            del self._jobs[thread]
            self.busy_s += time.perf_counter() - began_s

    def in_hand(self) -> dict[int, int]:
        """Return thread → number of the job that it is busy with, where that is not outside."""
        return {thread: number for thread, number in list(self._jobs.items()) if thread not in _outside}

    def outside_s(self, now_s: float) -> float:
        """Return how long the one that is outside longest has been there; 0.0 when none is."""
        since = [_outside[thread] for thread in list(self._jobs) if thread in _outside]
        return max(0.0, now_s - min(since)) if since else 0.0


class Threads(NamedTuple):
    """The pools of a node."""

    writer: Workers
    encoder: Workers
    readers: Workers
