"""Tells a part that is stuck from one that has nothing to do.

Each look brings one mark for each part: something that changes when the part gets on, or None when it has nothing to do
or waits with good reason. A part whose mark has been the same for `limit_s`, at every look, is stuck. So a part needs
no clock and no timer of its own, and the hot path is not touched: marks are counts that are there anyway.

Pure: the time is an argument, in seconds of any clock that does not run backwards. After a gap between two looks that
is longer than the limit (the machine slept, the process was stopped) all parts are given their time anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping


class Standstill:
    """The marks of all parts, and since when they stand still."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._looked_at: float | None = None
        self._since: dict[str, tuple[Hashable, float]] = {}

    def look(self, now: float, marks: Mapping[str, Hashable | None]) -> dict[str, float]:
        """Take in the marks at `now`; return the parts that are stuck, and for how many seconds."""
        if self._looked_at is not None and now - self._looked_at >= self._limit_s:
            self._since.clear()
        self._looked_at = now
        since = {}
        for part, mark in marks.items():
            if mark is not None:
                known = self._since.get(part)
                since[part] = known if known is not None and known[0] == mark else (mark, now)
        self._since = since
        return {part: now - at for part, (_, at) in since.items() if now - at >= self._limit_s}
