"""SIGHUP with its sender: the loop's own handlers do not say who sent a signal, `sigwaitinfo` does.

The signal is blocked in every thread, and one thread waits for it. Threads begin with the mask of their maker, and some
packages begin theirs when they are imported: so it is `held` before. What comes meanwhile is kept by the kernel, as
one. A thread that does not block it would end the process. In the end the mask is what it was: children inherit it.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Keep SIGHUP from this thread and those that it begins; until `Hangups` it waits, in the end it is forgotten."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.sigtimedwait({signal.SIGHUP}, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Hangups:
    """Calls `on_hangup(uid, pid)` in the loop for each SIGHUP, where that is `held`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_hangup: Callable[[int, int], None]) -> None:
        self._loop = loop
        self._on_hangup = on_hangup
        self._is_ending = False
        self._held = contextlib.ExitStack()
        self._thread = threading.Thread(target=self._wait, name="hangup", daemon=True)

    def __enter__(self) -> Self:
        self._held.enter_context(held())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ending = True
        assert self._thread.ident is not None
        signal.pthread_kill(self._thread.ident, signal.SIGHUP)
        self._thread.join()
        self._held.close()

    def _wait(self) -> None:
        while True:
            found = signal.sigwaitinfo({signal.SIGHUP})
            if self._is_ending:
                return
            self._loop.call_soon_threadsafe(self._on_hangup, found.si_uid, found.si_pid)
