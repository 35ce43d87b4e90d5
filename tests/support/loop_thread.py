"""An event loop in a thread of its own, for peers that must go on while a test, synchronous or not, waits."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Found = TypeVar("Found")
ANSWER_S = 10.0


class LoopThread:
    """Runs callables and coroutines in its loop; leaving it cancels what is still running there."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.wait(self._end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(ANSWER_S)
        self.loop.close()

    def wait(self, coroutine: Coroutine[Any, Any, Found]) -> Found:
        """Run a coroutine in the loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(ANSWER_S)

    def call(self, function: Callable[[], Found]) -> Found:
        """Call a function in the loop and return what it returns."""

        async def called() -> Found:
            return function()

        return self.wait(called())

    async def _end(self) -> None:
        # What a server has just accepted begins first: nobody would close its socket.
        await asyncio.sleep(0)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
