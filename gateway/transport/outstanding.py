"""Messages on their way over a client library: how many at a time, in which order, and how long nobody may answer.

For links whose library sends one message a call and returns its answer. A link has failed once and for ever: then
everything that waits ends, and whoever asks gets the reason.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence

MOST: Final = 4000
"""Messages on their way at a time."""


class Outstanding:
    """What one link has under way. `silence_s`: the longest that nothing may be answered while something waits."""

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting: set[asyncio.Future[Any]] = set()
        self._room = asyncio.Semaphore(MOST)
        self._answered_at = 0.0
        self.turn = asyncio.Lock()
        """Held by whoever starts a run of messages, so that runs do not mix."""

    def check(self) -> None:
        """Raise `LinkError` when the link has failed."""
        if self._failed.done():
            self._failed.result()

    def fail(self, error: LinkError) -> None:
        """End the link; the first reason counts."""
        if not self._failed.done():
            self._failed.set_exception(error)
            self._failed.exception()  # nobody may be waiting, and that is no fault of its own
        for future in list(self._waiting):
            future.cancel()

    async def words(self) -> AsyncIterator[bytes]:
        """Yield nothing, until the link fails: there is no way back from a receiver."""
        await asyncio.shield(self._failed)
        yield b""

    async def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Future[Any]:
        """Begin the sending of one message when there is room; return what will have its answer."""
        await self._room.acquire()
        if self._failed.done():
            work.close()
            self._room.release()
            self.check()
        if not self._waiting:
            self._answered_at = asyncio.get_running_loop().time()
        future = asyncio.ensure_future(work)
        self._waiting.add(future)
        future.add_done_callback(self._answered)
        await asyncio.sleep(0)  # so that it is written before the next one is
        return future

    async def settled(self, futures: Sequence[asyncio.Future[Any]]) -> None:
        """Wait until all have their answers; raises `LinkError` when the link fails or nobody answers any more."""
        waiting: set[asyncio.Future[Any]] = set(futures)
        while waiting:
            _, waiting = await asyncio.wait(waiting, timeout=self._silence_s)
            if waiting and asyncio.get_running_loop().time() - self._answered_at >= self._silence_s:
                self.fail(LinkError(f"the region acknowledged nothing for {self._silence_s:g} s"))
        self.check()

    def _answered(self, future: asyncio.Future[Any]) -> None:
        self._waiting.discard(future)
        self._room.release()
        self._answered_at = asyncio.get_running_loop().time()
        if not future.cancelled():
            future.exception()  # whoever sent it looks at it, unless it was cancelled meanwhile
