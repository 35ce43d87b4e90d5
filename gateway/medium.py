"""The state of the disk under the state folder, told from what it answered.

    state      entered when                                    the node then
    low_space  free space is under `spool.free_bytes_min`      lets no ring grow: the oldest batches make room
    full       a write found no space, or our quota used up    frees the reserve, then the oldest segments of the least
                                                               important lanes; if that is not enough, as `failed`
    read_only  a write found a read-only file system           as `failed`
    failed     a write or sync failed otherwise                acknowledges nothing; holds batches in memory and sends
                                                               them from there

`low_space` is left when 1.25 times as much is free, the others when a write of the same part has succeeded and none has
failed at two looks after it: a disk that takes a little now and then is not well.

Every part that writes (journal, spool, checkpoint) has a fault of its own; the worst of them is the state. Values only:
whoever writes tells what happened, and logs the sentence that comes back when the state has changed.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.errors import StoreError


class State(Enum):
    """From good to bad."""

    OK = "ok"
    LOW_SPACE = "low_space"
    FULL = "full"
    READ_ONLY = "read_only"
    FAILED = "failed"


_RANKS: Final = list(State)
_EXIT_SHARE: Final = 1.25
_EXIT_LOOKS: Final = 2
_DOES: Final = {
    State.LOW_SPACE: "rings grow no further and their oldest batches make room",
    State.FULL: "room is taken from the least important lanes; what finds none waits in memory, unacknowledged",
    State.READ_ONLY: "nothing is acknowledged, batches wait in memory and are sent from there",
    State.FAILED: "nothing is acknowledged, batches wait in memory and are sent from there",
}


class Medium:
    """`state` and why; `changes` counts how often each state was entered."""

    def __init__(self, free_bytes_min: int) -> None:
        self._free_bytes_min = free_bytes_min
        self._faults: dict[str, tuple[State, str]] = {}
        self._mended: dict[str, int] = {}
        self._is_low = False
        self.free_bytes = -1
        self.state = State.OK
        self.changes = dict.fromkeys((state.value for state in State if state is not State.OK), 0)

    @property
    def is_low(self) -> bool:
        """Whether the file system is low on space."""
        return self._is_low

    @property
    def takes_writes(self) -> bool:
        """Whether no part has a fault."""
        return not self._faults

    def fault_of(self, part: str) -> str:
        """Return the fault of a part; empty when it has none."""
        return self._faults[part][1] if part in self._faults else ""

    def failed(self, part: str, error: StoreError) -> str:
        """Note that the disk refused a part; return what to log, empty when nothing new."""
        state = State.FULL if error.is_no_space else State.FAILED
        if error.facts.get("errno") == "EROFS":
            state = State.READ_ONLY
        self._faults[part] = state, error.fault
        self._mended.pop(part, None)
        return self._changed()

    def worked(self, part: str) -> None:
        """Note that something of a part is durable."""
        if part in self._faults:
            self._mended.setdefault(part, 0)

    def looked(self, free_bytes: int) -> str:
        """Note the free space of the file system; return what to log, empty when nothing new."""
        self.free_bytes = free_bytes
        for part in list(self._mended):
            self._mended[part] += 1
            if self._mended[part] >= _EXIT_LOOKS:
                del self._mended[part], self._faults[part]
        self._is_low = free_bytes < self._free_bytes_min * (_EXIT_SHARE if self._is_low else 1)
        return self._changed()

    def status(self) -> dict[str, object]:
        """Return state, fault of each part, free space and counts."""
        faults = {part: fault for part, (_, fault) in self._faults.items()}
        return {"state": self.state.value, "faults": faults, "free_bytes": self.free_bytes, "entered": self.changes}

    def _changed(self) -> str:
        states = [state for state, _ in self._faults.values()] + [State.LOW_SPACE] * self._is_low
        state = max(states, key=_RANKS.index, default=State.OK)
        if state is self.state:
            return ""
        was, self.state = self.state, state
        if state is State.OK:
            return f"the disk is ok again, it was {was.value}"
        self.changes[state.value] += 1
        why = next(
            (fault for found, fault in self._faults.values() if found is state), f"{self.free_bytes} bytes are free"
        )
        return f"the disk is {state.value} ({why}): {_DOES[state]}"
