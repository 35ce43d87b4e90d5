"""Looks after the disk while the node works: its state, its free space, what waits for it, and what is due to go.

Every `LOOK_S`, or `RETRY_S` while the disk refuses something: look at the free space, give up what is too old, write
what is held in memory, save the cursors.

On a full file system what costs nothing goes first: a checkpoint is made, for which a reserve file stands on the disk,
and the journal is trimmed to it; then the oldest segments of the least important lanes go, so that the journal can go
on. The reserve comes back when there is space.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from gateway.errors import StoreError
from gateway.medium import Medium, State

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor
    from pathlib import Path

    from gateway.config import schema
    from gateway.disk import Disk
    from gateway.spool.lanes import Spool

log = logging.getLogger(__name__)

LOOK_S: Final = 5.0
"""Time between two saves of the regions' cursors: what a crash makes us send again. A save is one 4 KiB page."""
RETRY_S: Final = 1.0
GRACE_S: Final = 10
"""Time after a start in which a full disk costs no batch that a region waits for: it may fetch it first."""
THIN_S: Final = 0.5
"""Time between two looks for something to make coarser."""

SPOOL: Final = "spool"
CHECKPOINT: Final = "checkpoint"
_RESERVE: Final = "reserve"
_RESERVE_SHARE: Final = 8
_NS: Final = 10**9


class Upkeep:
    """`now` is the node's own time in ns.

    `trim` shortens the journal as far as it can be and says whether that freed anything; None: a checkpoint will.
    `relieve` and what `run` does to the disk happen in the writer thread.
    """

    def __init__(
        self,
        disk: Disk,
        folder: Path,
        spool: Spool,
        config: schema.Gateway,
        writer: Executor,
        now: Callable[[], int],
        trim: Callable[[], bool | None],
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._spool = spool
        self._writer = writer
        self._now = now
        self._trim = trim
        self._reserve = folder / _RESERVE
        self._reserve_bytes = config.journal.segment_bytes
        self._is_reserved = disk.exists(self._reserve)
        self._told = len(spool.report)
        self._began_at = now()
        spool.note_space(is_low=False, may_give=False)
        self.medium = Medium(config.spool.free_bytes_min)
        self.looks = self.thin_looks = 0

    async def run(self) -> None:
        """Work until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self.looks += 1
            try:
                free_bytes = await loop.run_in_executor(self._writer, self._look)
                self._say(self.medium.looked(free_bytes))
                may_give = self._now() - self._began_at >= GRACE_S * _NS
                self._spool.note_space(is_low=self.medium.is_low, may_give=may_give)
                await loop.run_in_executor(self._writer, self._tend)
            except StoreError as error:
                self.failed(SPOOL, error)
            else:
                self.worked(SPOOL)
            self._tell_damage()
            await asyncio.sleep(LOOK_S if self.medium.takes_writes else RETRY_S)

    async def thin(
        self, readers: Executor, unsent: Callable[[], dict[str, tuple[int, int]]], notify: Callable[[], None]
    ) -> None:
        """Make the oldest batches coarser where a ring is nearly full, until cancelled.

        `unsent` tells by lane the stretch, both ends excluded, of which nothing is on its way to a region; `notify`
        says that there is something new to mirror.
        """
        loop = asyncio.get_running_loop()
        while True:
            self.thin_looks += 1
            run = self._spool.thinning(unsent()) if self.medium.takes_writes else None
            if run is None:
                await asyncio.sleep(THIN_S)
                continue
            found = await loop.run_in_executor(readers, self._spool.coarser, run)
            try:
                await loop.run_in_executor(self._writer, self._spool.thin, run, found, self._now())
            except StoreError as error:
                self.failed(SPOOL, error)
            notify()

    def failed(self, part: str, error: StoreError) -> None:
        """Note, and log once, that the disk refused a part."""
        self._say(self.medium.failed(part, error))

    def worked(self, part: str) -> None:
        """Note that the disk takes a part."""
        self.medium.worked(part)

    def relieve(self, error: StoreError) -> bool:
        """Make room for the journal on a full file system; False when there is none to make now.

        A checkpoint lets the journal be trimmed, which costs nothing: so it goes before what the rings hold.
        """
        if not error.is_no_space:
            return False
        try:
            was_trimmed = self._trim()
            return was_trimmed or (was_trimmed is False and self._spool.shrink())
        except StoreError:
            return False

    def relieve_checkpoint(self, error: StoreError) -> bool:
        """Make room for a checkpoint on a full file system, first from the reserve; False when there is none."""
        if not error.is_no_space:
            return False
        try:
            if self._is_reserved:
                self._disk.remove(self._reserve)
                self._is_reserved = False
                return True
            return self._spool.shrink()
        except StoreError:
            return False

    def _look(self) -> int:
        free_bytes = self._disk.free(self._folder)
        if not self._is_reserved and self.medium.takes_writes and not self.medium.is_low:
            self._set_aside(min(self._reserve_bytes, free_bytes // _RESERVE_SHARE))
            free_bytes = self._disk.free(self._folder)
        return free_bytes

    def _set_aside(self, size: int) -> None:
        self._disk.remove(self._reserve)
        handle = self._disk.open(self._reserve, create=True)
        try:
            self._disk.allocate(handle, max(size, 1))
        finally:
            self._disk.close(handle)
        self._is_reserved = True

    def _tend(self) -> None:
        now = self._now()
        self._spool.expire(now)
        if self._spool.is_held:
            self._spool.sync(now)
        self._spool.save_cursors()

    def _tell_damage(self) -> None:
        """Log what the spool has found since the last look."""
        found = self._spool.report[self._told :]
        self._told += len(found)
        for sentence in found:
            log.warning("spool: %s", sentence)

    def _say(self, sentence: str) -> None:
        if sentence:
            log.log(
                logging.WARNING if self.medium.state in (State.OK, State.LOW_SPACE) else logging.ERROR, "%s", sentence
            )
