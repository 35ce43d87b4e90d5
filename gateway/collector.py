"""Python's search for cyclic garbage, arranged so that it does not hold the loop when the state is large.

A full collection walks everything that is alive: 0.4 s with 300,000 topics in memory, several times a minute while they
come. The pipeline's state has no cycles and needs none of it; what does have cycles is what is left of a connection. So
no full collection comes by itself. Twice a second we look at what has come to the oldest generation: much is set aside
with `gc.freeze` and not walked again, little is collected once a minute. What became garbage after it was set aside is
found every few hours, at the price of one walk over everything.

With 500 series nothing much is ever set aside, so all garbage is found within a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

OBJECTS_MAX: Final = 20_000
"""Objects that one collection may walk: 6 ms on a slow core."""

LOOK_S: Final = 0.5
COLLECT_S: Final = 60.0
COLLECT_ALL_S: Final = 6 * 3600.0

_YOUNG: Final = (700, 10)
_NEVER: Final = 1 << 30
_OLDEST: Final = 2


@contextlib.contextmanager
def standing_still() -> Iterator[None]:
    """Collect nothing inside and set aside what is alive then: for a start, which makes much and throws little away."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(*_YOUNG, _NEVER)
        gc.enable()


class Collector:
    """Decides each time it is asked to `look`; `now` is in seconds of any clock that does not run backwards."""

    def __init__(self, now: float) -> None:
        self._collected_at = now
        self._collected_all_at = now

    def look(self, now: float) -> None:
        """Set aside, collect, or neither."""
        if now - self._collected_all_at >= COLLECT_ALL_S:
            self._collected_all_at = self._collected_at = now
            gc.unfreeze()
            gc.collect()
            gc.freeze()
        elif len(gc.get_objects(generation=_OLDEST)) > OBJECTS_MAX:
            gc.freeze()
        elif now - self._collected_at >= COLLECT_S:
            self._collected_at = now
            gc.collect()


async def collect() -> None:
    """Look twice a second until cancelled."""
    loop = asyncio.get_running_loop()
    collector = Collector(loop.time())
    while True:
        await asyncio.sleep(LOOK_S)
        collector.look(loop.time())
