"""What the node is short of, with hysteresis, in words that are journaled with each input: a replay sees the same.

    ring:<lane>   the lane's ring is filled beyond `ring_high` with what required regions wait for; until it is below
                  `ring_low`
    link          some required region has been away for `link_after`; until all have been there for `link_clear`
    memory        most of the memory that the node may use is used, see `gateway.memory`
    flush         stands for one entry: what is open is sealed with it, because a radio has gone up

Routes may thin out what they take while such a word stands (`under_pressure`): before a lane has to evict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config import schema

FLUSH: Final = "flush"
LINK: Final = "link"
MEMORY: Final = "memory"
RING: Final = "ring"


class Pressure:
    """The gauge. `words` is what stands now."""

    def __init__(self, options: schema.Pressure) -> None:
        self._options = options
        self._rings: set[str] = set()
        self._is_away = False
        self._changed_at: int | None = None
        self.words: tuple[str, ...] = ()

    def look(self, at: int, fill: Mapping[str, float], *, is_linked: bool, is_tight: bool = False) -> None:
        """Take in what is to be seen at `at` (ns of the node's own time): `fill` maps lane → share of its ring."""
        options = self._options
        for lane, share in fill.items():
            if share >= options.ring_high:
                self._rings.add(lane)
            elif share < options.ring_low:
                self._rings.discard(lane)
        self._look_at_link(at, is_linked=is_linked)
        rings = sorted(f"{RING}:{lane}" for lane in self._rings)
        self.words = (*rings, *[LINK] * self._is_away, *[MEMORY] * is_tight)

    def _look_at_link(self, at: int, *, is_linked: bool) -> None:
        if is_linked != self._is_away:
            self._changed_at = None  # it is as it was
            return
        if self._changed_at is None:
            self._changed_at = at
        if at - self._changed_at >= (self._options.link_clear_ns if is_linked else self._options.link_after_ns):
            self._is_away, self._changed_at = not is_linked, None


def presses(when: tuple[str, ...], lane: str, words: tuple[str, ...]) -> bool:
    """Say whether a route into `lane` that minds `when` ("ring", "link", "memory") is under pressure."""
    return (RING in when and f"{RING}:{lane}" in words) or any(one in when and one in words for one in (LINK, MEMORY))
