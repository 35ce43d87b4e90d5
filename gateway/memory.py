"""The node's memory against its budget: looked at by us, so that we give way before the kernel kills.

    state   entered at   left below   the node then
    tight   80 %         75 %         gives back what it can: batches are synced, and the free heap goes back to the
                                      kernel; `memory` stands as pressure, and routes may take in less
    short   90 %         85 %         as well sheds QoS 0, counted as `message.shed.memory`, and lets the local broker
                                      wait with the rest

While `short` the broker is read for one second in ten all the same: a budget that is simply too small must slow a site
down, not stop it. Values only; `gateway.relief` measures and acts.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class State(Enum):
    """From good to bad."""

    OK = "ok"
    TIGHT = "tight"
    SHORT = "short"


CYCLE_S: Final = 10.0
OPEN_S: Final = 1.0
"""While short, the part of a cycle in which the broker is read."""

RELEASE_S: Final = 5.0
"""Time between two attempts to give memory back."""

_ENTER: Final = {State.TIGHT: 0.80, State.SHORT: 0.90}
_LEAVE: Final = {State.TIGHT: 0.75, State.SHORT: 0.85}
_DOES: Final = {
    State.TIGHT: "what can be given back is",
    State.SHORT: "QoS 0 is shed, and the local broker waits most of the time",
}


class Memory:
    """`budget_bytes` 0 is none. `state`, what was seen last, and how often each state was entered."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.rss_bytes = 0
        self.state = State.OK
        self.entered = {State.TIGHT.value: 0, State.SHORT.value: 0}
        self._short_since_s = 0.0
        self._released_s: float | None = None

    def look(self, now_s: float, rss_bytes: int) -> str:
        """Note the resident memory; return what to log, empty when nothing new."""
        self.rss_bytes = rss_bytes
        if not self.budget_bytes:
            return ""
        was, share = self.state, rss_bytes / self.budget_bytes
        ranks = list(State)
        self.state = max(
            (one for one in _ENTER if share >= (_LEAVE if ranks.index(was) >= ranks.index(one) else _ENTER)[one]),
            key=ranks.index,
            default=State.OK,
        )
        if self.state is was:
            return ""
        if self.state is State.SHORT:
            self._short_since_s = now_s
        if ranks.index(self.state) > ranks.index(was):
            self.entered[self.state.value] += 1
        said = f"{rss_bytes / 2**20:.0f} of {self.budget_bytes / 2**20:.0f} MiB are used"
        doing = _DOES.get(self.state)
        return f"memory is {self.state.value}, {said}" + (f": {doing}" if doing else f", it was {was.value}")

    def is_holding(self, now_s: float) -> bool:
        """Say whether the local broker is not read now."""
        return self.state is State.SHORT and (now_s - self._short_since_s) % CYCLE_S < CYCLE_S - OPEN_S

    def is_release_due(self, now_s: float) -> bool:
        """Say whether memory should be given back now; says so once in a while."""
        if self.state is State.OK or (self._released_s is not None and now_s - self._released_s < RELEASE_S):
            return False
        self._released_s = now_s
        return True

    def status(self) -> dict[str, object]:
        """Return state, bytes and counts."""
        return {
            "state": self.state.value,
            "rss_bytes": self.rss_bytes,
            "budget_bytes": self.budget_bytes,
            "entered": self.entered,
        }
