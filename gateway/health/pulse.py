"""The pulse of a process: how late its loop comes, and how long its writer thread takes to answer.

Four times a second the loop is asked, by a timer, and the writer, by a job that does nothing. A timer that comes late
says for how long something held the loop; the job's way through the thread's queue says how long a write would wait
now. A writer that has not answered for `DEAD_S` is held by the disk, or gone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from gateway.health.histogram import COMMIT_S, LOOP_S, Histogram

if TYPE_CHECKING:
    from concurrent.futures import Executor

LOOK_S: Final = 0.25
DEAD_S: Final = 30.0


class Pulse:
    """Beats while `run` does. All times are of the loop's clock."""

    def __init__(self, writer: Executor) -> None:
        self._writer = writer
        self._asked_at: float | None = None
        self.loop_delay = Histogram(LOOP_S)
        self.writer_answer = Histogram(COMMIT_S)

    async def run(self) -> None:
        """Beat until cancelled."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] | None = None
        while True:
            if answer is None or answer.done():
                self._asked_at = loop.time()
                answer = loop.run_in_executor(self._writer, _nothing)
                answer.add_done_callback(self._answered)
            due = loop.time() + LOOK_S
            await asyncio.sleep(LOOK_S)
            self.loop_delay.observe(loop.time() - due)

    def status(self) -> dict[str, object]:
        """Return both histograms."""
        return {"loop_delay": self.loop_delay.status(), "writer_answer": self.writer_answer.status()}

    def _answered(self, _: asyncio.Future[None]) -> None:
        if self._asked_at is not None:
            self.writer_answer.observe(asyncio.get_running_loop().time() - self._asked_at)
        self._asked_at = None

    def unwell(self) -> str:
        """Return what is wrong; empty when nothing is."""
        if self._asked_at is None:
            return ""
        silent_s = asyncio.get_running_loop().time() - self._asked_at
        if silent_s < DEAD_S:
            return ""
        return f"the writer thread has not answered for {silent_s:.0f} s: the disk holds it"


def _nothing() -> None:
    """Be a job."""
