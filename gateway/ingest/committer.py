"""Group commit: the point at which the gateway takes responsibility for a message.

One loop decides when the waiting group is committed (the oldest message is old enough, the group large enough, or the
broker has used up its window), hands it to the writer thread, and only when that says "durable" sends the PUBACKs, all
in one write, and passes the group on to the pipeline. A tick of the pipeline's timeline is an input like any other
and is committed the same way. While the disk refuses, the group is kept, nothing is acknowledged, and the commit is
tried again; the broker holds everything else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from gateway.errors import StoreError
from gateway.health.histogram import COMMIT_S, Histogram
from gateway.model import OWN, MessageGroup, Tick
from gateway.pressure import FLUSH

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    from gateway.channel import Channel
    from gateway.clock import Clock
    from gateway.ingest.intake import Intake, Pending
    from gateway.ingest.pace import Pace
    from gateway.journal.writer import JournalWriter
    from gateway.model import Entry

JOURNAL: Final = "journal"
"""The part of the disk that commits are written to, for its keeper."""

STALL_S: Final = 5.0
"""Time after which a commit that has not come back is a fault of the disk."""

MESSAGE_BYTES: Final = 4096
"""Payload that counts as a message behind the journal, so that its channel is bounded in bytes as well."""

_RETRY_S = 1.0
_STALLED = StoreError(f"the disk has not answered for {STALL_S:.0f} s")
_NS = 1_000_000_000


class Keeper(Protocol):
    """Whoever looks after the disk."""

    def failed(self, part: str, error: StoreError) -> None:
        """Hear that the disk refused."""

    def worked(self, part: str) -> None:
        """Hear that something is durable."""

    def relieve(self, error: StoreError) -> bool:
        """Make room on a full disk, in the writer thread; False when there is none to make."""


class Timeline:
    """The node's own time: nanoseconds that never run backwards and go on after a restart where the journal ended."""

    def __init__(self, clock: Clock, at: int) -> None:
        self.clock = clock
        self._offset = at - clock.monotonic_ns()

    def now(self) -> int:
        """Return the time."""
        return self.clock.monotonic_ns() + self._offset


class Committer:
    """The commit loop. `deadline` is asked for the `at` of the pipeline's next tick, None when there is none.

    `pressure` is asked for what the node is short of. `contexts` are those of traced messages, by position and then by
    index, until the pipeline has taken them; they are not journaled.
    """

    def __init__(
        self,
        journal: JournalWriter,
        intake: Intake,
        inputs: Channel[tuple[int, Entry]],
        timeline: Timeline,
        writer: Executor,
        keeper: Keeper,
        deadline: Callable[[], int | None],
        pace: Pace,
    ) -> None:
        self._journal = journal
        self._intake = intake
        self._inputs = inputs
        self._clock = timeline.clock
        self._timeline = timeline
        self._writer = writer
        self._keeper = keeper
        self._deadline = deadline
        self._pace = pace
        self.pressure: Callable[[], tuple[str, ...]] = tuple
        self._stopping = self._is_flushing = self._is_busy = False
        self.contexts: dict[int, dict[int, str]] = {}
        self._own: deque[tuple[str, list[bytes], asyncio.Future[int]]] = deque()
        self.counts = {"acknowledged": 0, "unacknowledged": 0, "ticks": 0}
        self._commit_s, self._acknowledge_s = Histogram(COMMIT_S), Histogram(COMMIT_S)

    def stop(self) -> None:
        """Let `run` end once everything that was taken in is committed."""
        self._stopping = True
        self._intake.changed.set()

    def flush(self) -> None:
        """Let the pipeline seal what is open, with the next entry."""
        self._is_flushing = True
        self._intake.changed.set()

    def latency(self) -> dict[str, object]:
        """Return how long commits take, and how long the oldest message of each waited from arrival to PUBACK."""
        return {"commit": self._commit_s.status(), "acknowledge": self._acknowledge_s.status()}

    async def insert(self, topic: str, payloads: Sequence[bytes]) -> int:
        """Let messages of the gateway's own be journaled as one group; return its position when it is durable."""
        durable: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._own.append((topic, list(payloads), durable))
        self._intake.changed.set()
        return await durable

    async def run(self) -> None:
        """Commit until `stop`. Never cancel it while the pipeline goes on: it would miss an entry."""
        while not (self._stopping and self._intake.is_empty and not self._own):
            wait_s = 0.0 if self._stopping else self._wait_s()
            if wait_s == 0:
                await self.commit()
                continue
            self._intake.changed.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._intake.changed.wait()
            except TimeoutError:
                pass

    @property
    def is_due(self) -> bool:
        """Whether something is being committed, or should be by now."""
        return self._is_busy or self._wait_s() == 0.0

    async def commit(self) -> None:
        """Commit what waits, acknowledge it, pass it on."""
        self._is_busy = True
        try:
            await self._commit_next()
        finally:
            self._is_busy = False

    async def _commit_next(self) -> None:
        wall_ns, at, clock = self._clock.wall_ns(), self._timeline.now(), self._clock.quality()
        pending: Pending | None = None
        own: asyncio.Future[int] | None = None
        weight = 1
        entry: Entry
        if self._own:
            topic, payloads, own = self._own.popleft()
            weight = messages = len(payloads)
            zeros = [0] * messages
            entry = MessageGroup(wall_ns, at, clock, OWN, False, [topic] * messages, payloads, zeros, zeros, {})
        elif self._intake.is_empty:
            entry = Tick(wall_ns, at, clock)
            self.counts["ticks"] += 1
        else:
            entry, pending = self._intake.take(wall_ns, at, clock)
            weight = _weight(pending)
        entry.pressure = (*self.pressure(), FLUSH) if self._is_flushing else self.pressure()
        self._is_flushing = False
        position = await self._durable(entry)
        if pending is not None:
            self._acknowledge(pending)
            self._acknowledge_s.observe(asyncio.get_running_loop().time() - pending.came_at)
            if pending.contexts:
                self.contexts[position] = pending.contexts
        if own is not None and not own.done():
            own.set_result(position)
        await self._inputs.put((position, entry), weight)

    def _wait_s(self) -> float | None:
        """Return the time until something must be committed; a tick only when the pipeline has seen all input."""
        if self._is_flushing or self._own:
            return 0.0
        wait_s = self._intake.wait_s(asyncio.get_running_loop().time())
        deadline = self._deadline() if self._inputs.is_idle else None
        if wait_s is None and deadline is not None:
            return max(0.0, (deadline - self._timeline.now()) / _NS)
        return wait_s

    async def _durable(self, entry: Entry) -> int:
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        while True:
            try:
                stalled = loop.call_later(STALL_S, self._keeper.failed, JOURNAL, _STALLED)
                position = await loop.run_in_executor(self._writer, self._commit, entry)
            except StoreError as error:
                self._keeper.failed(JOURNAL, error)
                await asyncio.sleep(_RETRY_S)
                continue
            finally:
                stalled.cancel()
            self._keeper.worked(JOURNAL)
            self._commit_s.observe(loop.time() - began_at)
            self._pace.looked(self._journal.counts["bytes"], loop.time())
            return position

    def _commit(self, entry: Entry) -> int:
        """Commit, on a full file system with what room there is to make. In the writer thread."""
        while True:
            try:
                return self._journal.commit([entry])
            except StoreError as error:
                if not self._keeper.relieve(error):
                    raise

    def _acknowledge(self, pending: Pending) -> None:
        packet_ids = pending.acknowledgements()
        sent = pending.connection.acknowledge(packet_ids)
        self.counts["acknowledged" if sent else "unacknowledged"] += len(packet_ids)


def _weight(pending: Pending) -> int:
    """Return what a group weighs behind the journal: its messages, or more when they are large."""
    return max(len(pending.topics), pending.bytes // MESSAGE_BYTES)
