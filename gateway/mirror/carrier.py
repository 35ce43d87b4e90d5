"""One link to one place, from the attempt to connect to its end, in a task of its own.

A carrier that is only to prove its place holds the link for the hold-down, asks for an answer, and says that it is
`proved`; then it waits for `go` before it carries anything, on the same link.

A link ends here as well when the credentials' files change: nothing new is sent until what is in flight is acknowledged
(`DRAIN_S` at most), and whoever connects next uses the new ones. So it does when the radio's window closes and there is
nothing urgent; and when another place is overdue to have its turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Final

from gateway.errors import BatchError, GatewayError, LinkError, first_of
from gateway.transport import wire
from gateway.transport.contract import Beating, Metered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Executor

    from gateway.mirror.allowance import Allowance
    from gateway.mirror.failover import Failover
    from gateway.mirror.place import Place
    from gateway.mirror.sender import Sender
    from gateway.mirror.session import Session
    from gateway.transport.contract import Link

log = logging.getLogger(__name__)

CREDENTIALS_S: Final = 2.0
"""Time between two looks at the files of credentials."""
DRAIN_S: Final = 5.0
PROBE_S: Final = 10.0
"""Longest wait for the answer of a place that is to carry the mirror again."""
LOOK_S: Final = 1.0
"""Time between two looks at whether the place works."""
_NS: Final = 10**9


class _OnPurpose(Exception):  # noqa: N818  # not an error
    """Ends a link that works: its credentials are others now, or its radio goes down."""


class Carrier:
    """The link; it begins at once. With `hold_down_s` it proves its place first. `tell` says what went elsewhere."""

    def __init__(
        self,
        place: Place,
        sender: Sender,
        session: Session,
        failover: Failover,
        allowance: Allowance,
        readers: Executor,
        tell: Callable[[Link, Place], Awaitable[None]],
        hold_down_s: float | None = None,
    ) -> None:
        self.place = place
        self.proved = asyncio.Event()
        self.go = asyncio.Event()
        self.is_on_purpose = False
        self.up_s = 0.0
        self._sender = sender
        self._session = session
        self._failover = failover
        self._allowance = allowance
        self._readers = readers
        self._tell = tell
        self._hold_down_s = hold_down_s
        self.task = asyncio.create_task(self._run(), name=f"mirror {place.name}")

    async def stop(self) -> None:
        """End the link now."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def _run(self) -> None:
        place = self.place
        try:
            async with place.transport.connected() as link:
                place.connected()
                if self._hold_down_s is not None:
                    await self._prove(link, self._hold_down_s)
                await self._tell(link, place)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._watch_credentials(), name=f"{place.name}: credentials")
                    group.create_task(self._watch_window(), name=f"{place.name}: window")
                    group.create_task(self._watch_health(), name=f"{place.name}: health")
                    group.create_task(self._watch_traffic(link), name=f"{place.name}: traffic")
                    await self._sender.serve(link, place)
        except* _OnPurpose as reasons:
            self.is_on_purpose = True
            log.info("region %s: %s", place.name, reasons.exceptions[0])
        except* GatewayError as errors:
            place.note(first_of(errors))
        finally:
            self.up_s = place.ended()

    async def _prove(self, link: Link, hold_down_s: float) -> None:
        async with asyncio.TaskGroup() as group:
            answered = asyncio.Event()
            listening = group.create_task(self._listen(link, answered))
            await asyncio.sleep(hold_down_s)
            try:
                async with asyncio.timeout(PROBE_S):
                    await link.probe()
                    if self.place.by_receiver and self.place.hearing.answers and isinstance(link, Beating):
                        answered.clear()
                        await link.beat(0)
                        await answered.wait()
            except TimeoutError as error:
                raise LinkError(f"no answer within {PROBE_S:.0f} s") from error
            self.proved.set()
            await self.go.wait()
            listening.cancel()

    async def _listen(self, link: Link, answered: asyncio.Event) -> None:
        """Hear the answer to a heartbeat, until the link fails. What else is said is left out."""
        async for payload in link.words():
            with contextlib.suppress(BatchError):
                word = wire.decode_acknowledgement(payload)
                if word.is_answer and self.place.counts_word_of(word.group):
                    answered.set()

    async def _watch_credentials(self) -> None:
        loop = asyncio.get_running_loop()
        # Files tell nobody that they changed.
        while not await loop.run_in_executor(self._readers, self.place.credentials.have_changed):  # noqa: ASYNC110
            await asyncio.sleep(CREDENTIALS_S)
        await self._sender.drain(DRAIN_S)
        raise _OnPurpose("new credentials, connecting anew")

    async def _watch_window(self) -> None:
        # A clock tells nobody.
        while self._allowance.is_open or self._sender.has_something():  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        await self._sender.drain(DRAIN_S)
        raise _OnPurpose("its window has closed")

    async def _watch_traffic(self, link: Link) -> None:
        """Charge the budget with what the line carries beside the batches: headers, words, pings, what was lost."""
        if not isinstance(link, Metered):
            return
        known = -self._sender.counts["sent_bytes"]
        while True:
            await asyncio.sleep(LOOK_S)
            more = link.traffic() - known - self._sender.counts["sent_bytes"]
            if more > 0:
                known += more
                self._sender.counts["overhead_bytes"] += more
                self._allowance.budget.spend("", more, time.monotonic_ns())

    async def _watch_health(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            now_ns = time.monotonic_ns()
            if self._session.in_flight or self.place.hearing.is_silent(now_ns):
                self._failover.does_not_work(now_ns)
            elif time.monotonic() - self.place.connected_at >= self._failover.stable_ns / _NS:
                self._failover.works()
            if self._failover.is_overdue(now_ns):
                raise LinkError("it acknowledges nothing, and a standby is to have its turn")
