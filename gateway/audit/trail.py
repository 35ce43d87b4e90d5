"""What this process has to say to the audit log: `record` is called by whoever knows, from any thread, and never waits.

What is said waits here, bounded, until `drain` has written it to the chain: in a thread of its own in a daemon, so the
loop is not held by a disk. A disk that refuses keeps it waiting; past the bound the newest is given up, counted, and
the loss becomes an entry itself. What a peer can cause at will (a token that is refused) comes through a bucket for
each kind, so nobody can roll the log over: what is left out is counted and becomes an entry.

Before a process has a chain, and in one that never gets any, what is said goes to the log only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway import __version__, redaction
from gateway.audit import actor
from gateway.audit.chain import FOLDER, Chain
from gateway.audit.entry import told
from gateway.disk import Disk
from gateway.errors import StoreError
from gateway.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from gateway.audit.chain import Mark

log = logging.getLogger(__name__)

WAITING_MAX: Final = 256
RETRY_S: Final = 5.0
"""Time between two attempts while the disk refuses."""
SECURITY_PER_MINUTE: Final = 10
LOST: Final = "audit.lost"
STARTED: Final = "configuration.started"
TAKEN: Final = "configuration.taken"


class Said(NamedTuple):
    """Something that waits to become an entry."""

    kind: str
    who: str
    what: dict[str, Any]
    time_ns: int


class Trail:
    """What waits for one chain. `counts` are for the status."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self._on_said: Callable[[], object] = lambda: None
        self._lock = threading.Lock()
        self._draining = threading.Lock()
        self._waiting: deque[Said] = deque()
        self._lost = 0
        self._security: Repeats[str] = Repeats(SECURITY_PER_MINUTE)
        self._fault = ""
        self.counts = {"entries": 0, "lost": 0, "last": 0}

    def say(self, kind: str, who: str, what: dict[str, object]) -> None:
        """Let this become an entry."""
        with self._lock:
            self._say(kind, who, what)
        self._on_said()

    def security(self, kind: str, who: str, what: dict[str, object]) -> None:
        """Let this become an entry, unless there were many of its kind just now."""
        now_s = time.monotonic()
        with self._lock:
            self._tell_left_out(now_s)
            if self._security.admits(kind, now_s):
                self._say(kind, who, what)
        self._on_said()

    async def run(self) -> None:
        """Write what is said, in a thread, until cancelled; then `close` writes the rest."""
        loop, said = asyncio.get_running_loop(), asyncio.Event()
        self._on_said = lambda: loop.call_soon_threadsafe(said.set)
        try:
            while True:
                await asyncio.to_thread(self.drain)
                said.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_S):
                        await said.wait()
        finally:
            self._on_said = lambda: None

    def drain(self) -> bool:
        """Write all that waits; False when the disk refuses. May be called from any thread."""
        with self._draining:
            while True:
                with self._lock:
                    self._tell_left_out(time.monotonic())
                    said = self._waiting[0] if self._waiting else None
                    lost = self._lost
                if said is None:
                    return True
                try:
                    if lost:
                        self._append(Said(LOST, actor.of_process(), {"entries": lost}, said.time_ns))
                        with self._lock:
                            self._lost -= lost
                    mark = self._append(said)
                except StoreError as error:
                    if error.fault != self._fault:
                        log.error("the audit log cannot be written, it is tried again: %s", error)  # noqa: TRY400
                    self._fault = error.fault
                    return False
                self._fault = ""
                with self._lock:
                    self._waiting.popleft()
                self.counts["last"] = mark.number

    def last_configuration(self) -> str:
        """Return the hash of the configuration that was last started with or taken up; empty when none is known."""
        try:
            found = self.chain.proof().entries
        except StoreError as error:
            log.warning("the audit log cannot be read: %s", error)
            return ""
        kinds = (STARTED, TAKEN)
        return next((str(entry.what.get("sha256", "")) for entry, _ in reversed(found) if entry.kind in kinds), "")

    @property
    def waiting(self) -> int:
        """How much is not written yet."""
        return len(self._waiting)

    def _append(self, said: Said) -> Mark:
        mark = self.chain.append(*said)
        self.counts["entries"] += 1
        return mark

    def _tell_left_out(self, now_s: float) -> None:
        for one in self._security.due(now_s):
            self._say(one.kind, actor.of_process(), {"repeated": one.lines, "seconds": round(one.span_s)})

    def _say(self, kind: str, who: str, what: dict[str, object]) -> None:
        if len(self._waiting) >= WAITING_MAX:
            self._lost += 1
            self.counts["lost"] += 1
            return
        masked = redaction.masked_all(told(what))
        assert isinstance(masked, dict)
        self._waiting.append(Said(kind, redaction.masked(who), masked, time.time_ns()))


_at_work: list[Trail] = []


def opened(folder: Path, bytes_max: int, sha256: str) -> Trail:
    """Let this process have the log in a state folder, and note its start unless the configuration is the last one."""
    made = Trail(Chain(Disk(), folder / FOLDER, bytes_max))
    install(made)
    if made.last_configuration() != sha256:
        record(STARTED, sha256=sha256, version=__version__)
    return made


def install(trail: Trail | None) -> None:
    """Let `record` and `record_security` of this process go to a trail; None: to the log only."""
    _at_work[:] = [] if trail is None else [trail]


@contextlib.asynccontextmanager
async def written(made: Trail) -> AsyncIterator[None]:
    """Let what this process says be written while it is in here, and the rest when it leaves."""
    writing = asyncio.create_task(made.run(), name="audit trail")
    try:
        yield
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        install(None)
        await asyncio.to_thread(made.drain)


def record(kind: str, who: str = "", **what: object) -> None:
    """Say that something was done. `who` is this process where nothing else is known."""
    log.info("audit: %s %s", kind, told(what))
    for trail in _at_work:
        trail.say(kind, who or actor.of_process(), what)


def record_security(kind: str, who: str = "", **what: object) -> None:
    """Say that something was refused which may be an attack: a certificate, a token. Peers may cause it at will."""
    log.warning("security: %s %s", kind, told(what))
    for trail in _at_work:
        trail.security(kind, who or actor.of_process(), what)
