"""When the state of the pipeline is kept, and how: after every batch before it, so the journal may forget its input.

A checkpoint is made between two entries only, and nothing is applied until it is there: so the state stands still while
it is taken slice by slice, and all else goes on. A disk that refuses costs a longer replay, nothing else.

It is due when the journal since the last one has grown to a multiple of the state's size, so that state is at most a
fixed share of what is written; at an age; and sooner on a scarce disk, where trimming the journal makes room.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.errors import StoreError
from gateway.medium import State
from gateway.upkeep import CHECKPOINT, RETRY_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.config import schema
    from gateway.journal.checkpoint import CheckpointStore, CheckpointWriter
    from gateway.journal.format import Checkpoint
    from gateway.journal.writer import JournalWriter
    from gateway.sealing import Sealing
    from gateway.spool.lanes import Spool
    from gateway.upkeep import Upkeep
    from gateway.workers import Threads

FAILED_RETRY_S: Final = 10
"""Time between two attempts while the disk takes no checkpoint."""

_NS: Final = 10**9


class Stores(NamedTuple):
    """What a checkpoint ties together."""

    checkpoints: CheckpointStore
    journal: JournalWriter
    spool: Spool


class Checkpointing:
    """Makes checkpoints of one node. `now` is the node's own time in ns, `last_at` that of the last one."""

    def __init__(
        self,
        options: schema.Journal,
        stores: Stores,
        sealing: Sealing,
        upkeep: Upkeep,
        threads: Threads,
        now: Callable[[], int],
        last_at: int,
    ) -> None:
        self._options = options
        self._stores = stores
        self._sealing = sealing
        self._upkeep = upkeep
        self._threads = threads
        self._now = now
        self._last_at = last_at
        self._has_failed = False

    def is_due(self) -> bool:
        """Whether one should be made before the next entry is applied."""
        options = self._options
        grown, age = self._stores.journal.bytes_since_checkpoint, self._now() - self._last_at
        if self._has_failed:
            return age >= FAILED_RETRY_S * _NS
        if grown >= max(options.checkpoint_bytes_min, options.checkpoint_growth * self._stores.checkpoints.size):
            return True
        # A journal that fills the disk is better trimmed than fed with what the rings hold.
        medium = self._upkeep.medium
        is_scarce = medium.state is State.FULL or 0 <= medium.free_bytes < grown
        return grown > 0 and age >= (RETRY_S * _NS if is_scarce else options.checkpoint_interval_ns)

    def trim(self) -> bool | None:
        """Let the journal go back to the newest checkpoint only, on a full disk; say whether that frees anything.

        None: a checkpoint that is due now will.
        """
        position = self._stores.checkpoints.keep_newest_only()
        if position is not None and self._stores.journal.trim(position):
            return True
        return None if self._stores.journal.bytes_since_checkpoint and not self._has_failed else False

    async def make(self, header: Callable[[int], Checkpoint], slices: Callable[[], Iterable[bytes]]) -> None:
        """Keep the state that `slices` gives, under the header for this moment."""
        loop = asyncio.get_running_loop()
        self._last_at = self._now()
        while True:
            try:
                await self._write(header(self._last_at), slices())
            except StoreError as error:
                if await loop.run_in_executor(self._threads.writer, self._upkeep.relieve_checkpoint, error):
                    continue
                self._has_failed = True
                self._upkeep.failed(CHECKPOINT, error)
            else:
                self._has_failed = False
                self._upkeep.worked(CHECKPOINT)
            return

    async def _write(self, header: Checkpoint, slices: Iterable[bytes]) -> None:
        writer = self._stores.checkpoints.begin(header)
        loop = asyncio.get_running_loop()
        threads = self._threads
        try:
            for state in slices:
                await loop.run_in_executor(threads.encoder, writer.pack, state)
                if writer.is_full:
                    await loop.run_in_executor(threads.writer, writer.flush)
            await self._sealing.drained()
            await loop.run_in_executor(threads.writer, self._finish, writer)
        finally:
            threads.writer.submit(writer.abandon)

    def _finish(self, writer: CheckpointWriter) -> None:
        stores = self._stores
        stores.spool.sync(self._now())
        stores.spool.save_cursors()
        stores.journal.checkpointed(stores.checkpoints.finish(writer))
