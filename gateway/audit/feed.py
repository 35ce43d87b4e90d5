"""Hands the entries of the audit log on to the journal, once each, and so to a lane and the regions.

The chain is written first, by whoever acts; this follows behind, in order. A run of entries goes in as one group of the
node's own messages and is noted when the journal has it. Killed in between, the same entries go in again, and the
route leaves out what has a number that it knows (`schema.Audit.routes`). From there on they are readings like all
others: in the ledger, in batches with a content hash, at each region once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.audit.chain import FOLDER, Chain, Mark
from gateway.audit.entry import hash_of, parsed, split
from gateway.config.schema.audit import AUDIT_TOPIC
from gateway.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from gateway.config import schema
    from gateway.disk import Disk

log = logging.getLogger(__name__)

__all__ = ["FOLDER", "Feed", "feed_of", "payload_of"]

LOOK_S: Final = 1.0
ENTRIES_MAX: Final = 100
UNREADABLE: Final = "audit.unreadable"


class Feed:
    """`insert` brings payloads under a topic into the journal and returns when they are durable."""

    def __init__(
        self, chain: Chain, insert: Callable[[str, Sequence[bytes]], Awaitable[int]], *, is_on: bool = True
    ) -> None:
        self._is_on = is_on
        self._chain = chain
        self._insert = insert
        self._handed_on: Mark | None = None
        self.counts = {"handed_on": 0}

    async def run(self) -> None:
        """Work until cancelled."""
        fault = ""
        while self._is_on:
            try:
                went = await self._hand_on()
                fault = ""
            except StoreError as error:
                if error.fault != fault:
                    log.warning("the audit log cannot be handed on, it is tried again: %s", error)
                fault, went = error.fault, 0
            if went < ENTRIES_MAX:
                await asyncio.sleep(LOOK_S)

    async def _hand_on(self) -> int:
        """Hand on what is new, a bounded number of entries; return how many."""
        found = await asyncio.to_thread(self._new)
        if not found:
            return 0
        await self._insert(AUDIT_TOPIC, [payload_of(number, line) for number, line in found])
        number, line = found[-1]
        mark = Mark(number, hash_of(split(line)[1]))
        await asyncio.to_thread(self._chain.note_handed_on, mark)
        self._handed_on = mark
        self.counts["handed_on"] = number
        return len(found)

    def _new(self) -> list[tuple[int, bytes]]:
        if self._handed_on is None:
            self._handed_on = self._chain.handed_on() or Mark(0, "")
            self.counts["handed_on"] = self._handed_on.number
        return list(islice(self._chain.entries(self._handed_on.number), ENTRIES_MAX))


def feed_of(
    options: schema.Audit, disk: Disk, folder: Path, insert: Callable[[str, Sequence[bytes]], Awaitable[int]]
) -> Feed:
    """Return the feed of the log in a node's state folder; it does nothing where the entries stay on the box."""
    return Feed(Chain(disk, folder / FOLDER, options.bytes_max), insert, is_on=bool(options.lane))


def payload_of(number: int, line: bytes) -> bytes:
    """Return the message that an entry goes in as; the route makes one row of it, at the time of the entry."""
    content = split(line)[1]
    entry = parsed(content)
    kind, time_ns = (UNREADABLE, time.time_ns()) if entry is None else (entry.kind, entry.time_ns)
    text = content.decode("utf-8", "backslashreplace")
    return msgspec.json.encode({"number": number, "kind": kind, "entry": text, "time_ns": time_ns})
