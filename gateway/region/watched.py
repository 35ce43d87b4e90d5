"""A receiver as those who look at the process see it, also while its store is waited for.

The books (what is missing, lost, dead) are read from the store each `BOOKS_S`, in a thread and on a connection of their
own, and only where somebody can ask: it is a walk over every lane of every node. A receiver that works from topic to
topic of Kafka has its books in the cluster, whose reading costs as much as a start: they are left to
`gateway region status`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from gateway.errors import GatewayError
from gateway.health import certificates
from gateway.model import CLOCK_HOLDOVER, CLOCK_SYNCHRONISED, CLOCK_UNSYNCHRONISED
from gateway.region import chosen
from gateway.region.standing import standing

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.config import schema

BOOKS_S: Final = 15.0

_QUALITIES: Final = {
    CLOCK_UNSYNCHRONISED: "unsynchronised",
    CLOCK_HOLDOVER: "holdover",
    CLOCK_SYNCHRONISED: "synchronised",
}
_NS: Final = 10**9


class Receiving(Protocol):
    """A receiver that runs."""

    def status(self) -> dict[str, Any]:
        """Return what has been done since the start."""

    def unwell(self) -> str:
        """Return why it does not work any more; empty when it does."""

    def unready(self) -> str:
        """Return why nothing is taken in now; empty when it is."""


class Watched:
    """See `gateway.health.contract`. `service` is the receiver once it could be made, `fault` why it could not yet."""

    def __init__(self, options: schema.Receiver, clock: Clock) -> None:
        self.fault = ""
        self.service: Receiving | None = None
        self._options = options
        self._clock = clock
        self._certificates = certificates.of_receiver(options)
        self._books: tuple[float, dict[str, Any]] | None = None

    async def look(self) -> None:
        """Read books and certificates until cancelled."""
        loop = asyncio.get_running_loop()
        has_books = "kafka" not in self._options.sinks
        while True:
            await loop.run_in_executor(None, self._certificates.look)
            if has_books and self.service is not None:
                try:
                    report = await loop.run_in_executor(None, chosen.report, self._options)
                    self._books = loop.time(), standing(report, self._clock.wall_ns())
                except GatewayError:
                    pass  # their age says it, and whoever commits says why
            await asyncio.sleep(BOOKS_S if self._books or not has_books else 1.0)

    def status(self) -> dict[str, object]:
        """Return what has been done since the start, what is missing, and what the process is like."""
        found: dict[str, object] = {
            "name": self._options.name,
            "fault": self.fault,
            "clock": _QUALITIES[self._clock.quality()],
            "certificates": self._certificates.left_s(self._clock.wall_ns() / _NS),
        }
        if self.service is not None:
            found |= self.service.status()
        if self._books is not None:
            read_at, books = self._books
            found |= {"books": books, "books_age_s": round(asyncio.get_running_loop().time() - read_at, 1)}
            outboxes = found.get("outboxes")
            if isinstance(outboxes, dict):
                mine = f"{self._options.name}/"
                found["outboxes"] = {
                    name: {**books["outboxes"].get(mine + name, {}), **facts} for name, facts in outboxes.items()
                }
        return found

    def unwell(self) -> str:
        """Return why the process does not work any more; empty when it does."""
        return "" if self.service is None else self.service.unwell()

    def unready(self) -> str:
        """Return why nothing is taken in now; empty when it is."""
        if self.service is None:
            return f"starting: {self.fault}" if self.fault else "starting"
        return self.service.unready()
