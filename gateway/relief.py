"""Measures the node's memory four times a second and acts on what `gateway.memory` says of it.

What is measured is the resident set, without page cache, which the kernel takes back by itself. The budget is
`node.memory_bytes_max`, or the limit of our control group (memory.max of version 2, memory.limit_in_bytes of version 1,
the lowest on the way up), or there is none.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.errors import StoreError
from gateway.ingest.intake import Limits
from gateway.memory import Memory, State

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from gateway.config import schema
    from gateway.ingest.committer import Timeline
    from gateway.ingest.intake import Intake
    from gateway.spool.lanes import Spool

log = logging.getLogger(__name__)

LOOK_S: Final = 0.25
WAITING_SHARE: Final = 8
"""Payloads that wait for the journal may take one part in so many of the budget, whatever `broker` allows."""

_CGROUPS: Final = Path("/sys/fs/cgroup")
_NO_LIMIT: Final = 1 << 60
"""Version 1 writes a number near 2^63 where there is no limit."""


class Relief:
    """`flush` lets open batches be sealed with the next entry."""

    def __init__(
        self,
        node: schema.Node,
        intake: Intake,
        spool: Spool,
        writer: Executor,
        timeline: Timeline,
        flush: Callable[[], None],
    ) -> None:
        self.memory = Memory(_budget_bytes(node))
        self._intake = intake
        self._spool = spool
        self._writer = writer
        self._timeline = timeline
        self._flush = flush

    @property
    def is_tight(self) -> bool:
        """Whether most of the memory is used."""
        return self.memory.state is not State.OK

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._look(asyncio.get_running_loop().time())
            await asyncio.sleep(LOOK_S)

    def _look(self, now_s: float) -> None:
        memory = self.memory
        sentence = memory.look(now_s, _resident_bytes())
        if sentence:
            log.log(logging.ERROR if memory.state is State.SHORT else logging.WARNING, "%s", sentence)
        self._intake.spare_memory(is_short=memory.state is State.SHORT, is_holding=memory.is_holding(now_s))
        if memory.is_release_due(now_s):
            self._flush()
            self._writer.submit(self._release)

    def _release(self) -> None:
        """Give memory back, in the writer thread: batches that are synced need not be held any more."""
        try:
            self._spool.sync(self._timeline.now())
        except StoreError as error:
            log.warning("batches cannot be synced to give their memory back: %s", error)
        _give_back()


def limits(config: schema.Gateway) -> Limits:
    """Return what may wait for the journal."""
    assert config.node is not None
    broker = config.broker
    waiting_bytes_max = within(broker.waiting_bytes_max, _budget_bytes(config.node))
    return Limits(broker.qos0_waiting_max, waiting_bytes_max, config.journal.commit_bytes)


def _budget_bytes(node: schema.Node) -> int:
    return node.memory_bytes_max or limit_bytes()


def within(waiting_bytes_max: int, budget_bytes: int) -> int:
    """Return how many bytes may wait for the journal under a budget; 0 is no budget."""
    return min(waiting_bytes_max, budget_bytes // WAITING_SHARE) if budget_bytes else waiting_bytes_max


def _resident_bytes() -> int:
    """Return the resident set of this process."""
    pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _give_back() -> None:
    """Return what the allocator holds free to the kernel; where the C library cannot, do nothing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def limit_bytes(root: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """Return the lowest memory limit of our control groups, 0 where there is none or none can be read."""
    try:
        lines = own.read_text("ascii").splitlines()
    except OSError:
        return 0
    found = [limit for line in lines for limit in _limits(root, line)]
    return min(found, default=0)


def _limits(root: Path, line: str) -> list[int]:
    """Return the limits on the way up from one line of /proc/self/cgroup, cgroups(7)."""
    _, controllers, path = line.split(":", 2)
    if controllers == "":
        top, name = root, "memory.max"
    elif "memory" in controllers.split(","):
        top, name = root / "memory", "memory.limit_in_bytes"
    else:
        return []
    here = top / path.strip("/")
    texts = [_text(folder / name) for folder in (here, *here.parents) if folder == top or top in folder.parents]
    numbers = [int(text) for text in texts if text.isascii() and text.isdigit()]
    return [number for number in numbers if 0 < number < _NO_LIMIT]


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except OSError:
        return ""
