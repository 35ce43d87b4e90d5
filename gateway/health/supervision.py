"""Feeds the supervisor's watchdog while every part gets on, and tells it in one line how it goes.

When a part is stuck (`standstill`) the watchdog is not fed any more, the log says why, and the supervisor ends the
process and starts it again: the journal has everything. Without a supervisor the log says so all the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from gateway.health.standstill import Standstill

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from gateway.health.notify import Notifier

log = logging.getLogger(__name__)

STUCK_S: Final = 120.0
"""Time without any progress, where there is work and nothing to wait for, after which a part is stuck."""

LOOK_S: Final = 5.0
SENTENCE_S: Final = 10.0
_LOOKS_PER_PATIENCE: Final = 4


async def supervise(
    notifier: Notifier,
    marks: Callable[[], Mapping[str, Hashable | None]],
    sentence: Callable[[], str],
    stuck_s: float = STUCK_S,
) -> None:
    """Look, feed and tell until cancelled. It runs on the loop that it watches: one that hangs feeds nobody."""
    standstill = Standstill(stuck_s)
    look_s = min(LOOK_S, notifier.watchdog_s / _LOOKS_PER_PATIENCE) if notifier.watchdog_s else LOOK_S
    told: set[str] = set()
    next_sentence = 0.0
    while True:
        now = time.monotonic()
        stuck = standstill.look(now, marks())
        if stuck.keys() - told:
            parts = ", ".join(f"{part} for {seconds:.0f} s" for part, seconds in stuck.items())
            log.critical("stuck: %s; the supervisor, if there is one, will start the gateway anew", parts)
        elif told and not stuck:
            log.warning("nothing is stuck any more")
        told = set(stuck)
        if not stuck:
            notifier.alive()
        if notifier.is_heard and now >= next_sentence:
            next_sentence = now + SENTENCE_S
            notifier.status(f"stuck: {', '.join(stuck)}" if stuck else sentence())
        await asyncio.sleep(look_s)
