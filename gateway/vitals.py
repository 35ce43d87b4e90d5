"""The signs of life of a node: for each task and thread something that changes while it gets on.

`gateway.health.standstill` judges them. None stands where there is nothing to do, and where waiting is what the rules
ask for: a disk that hangs or refuses, a ring that refuses, a region or a broker that is away, a stage behind that is
full and has a mark of its own.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from gateway.workers import HANG_S

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from gateway.channel import Channel
    from gateway.ingest.committer import Committer
    from gateway.journal.writer import JournalWriter
    from gateway.mirror.driver import MirrorDriver
    from gateway.transport.subscriber import Subscriber
    from gateway.upkeep import Upkeep
    from gateway.workers import Threads


class Vitals:
    """The parts that are looked at. `applied` tells how far the pipeline is, `refusing` which lane refuses."""

    def __init__(
        self,
        threads: Threads,
        committer: Committer,
        journal: JournalWriter,
        channels: Sequence[Channel[Any]],
        subscriber: Subscriber,
        upkeep: Upkeep,
        mirrors: Sequence[MirrorDriver],
    ) -> None:
        self._threads = threads
        self._committer = committer
        self._journal = journal
        self._inputs, *self._sealed = channels
        self._subscriber = subscriber
        self._upkeep = upkeep
        self._mirrors = mirrors
        self.applied: Callable[[], int] = lambda: 0
        self.refusing: Callable[[], str] = str

    def marks(self) -> dict[str, Hashable | None]:
        """Return part → mark."""
        threads, now_s = self._threads, time.monotonic()
        is_writer_held = threads.writer.outside_s(now_s) >= HANG_S
        is_reader_held = threads.readers.outside_s(now_s) >= HANG_S
        is_held = (
            is_writer_held
            or threads.encoder.outside_s(now_s) >= HANG_S
            or not self._upkeep.medium.takes_writes
            or bool(self.refusing())
        )
        marks: dict[str, Hashable | None] = {
            f"thread {pool.name} {number}": job
            for pool in threads
            for number, job in enumerate(job for _, job in sorted(pool.in_hand().items()))
        }
        marks["subscriber"] = None if self._subscriber.is_connected else self._subscriber.last_connection
        is_committing = self._committer.is_due and not self._inputs.is_full
        marks["committer"] = self._journal.counts["commits"] if is_committing and not is_held else None
        is_behind = not self._inputs.is_idle and not any(channel.is_full for channel in self._sealed)
        marks["pipeline"] = (self.applied(), threads.encoder.begun) if is_behind and not is_held else None
        for channel in self._sealed:
            marks[channel.name] = None if is_held or channel.is_idle else channel.finished
        marks["upkeep"] = None if is_writer_held else self._upkeep.looks
        marks["thin"] = None if is_writer_held or is_reader_held else self._upkeep.thin_looks
        for mirror in self._mirrors:
            marks[f"mirror {mirror.name}"] = None if is_reader_held else mirror.looks
            marks[f"sender {mirror.name}"] = None if is_reader_held else mirror.sending
        return marks
