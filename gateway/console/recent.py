"""The newest readings of each series, in bounded memory, for whoever opens the series browser.

    encode thread ─▶ note(batch): some rows of it ─▶ series ─▶ a ring of points each ◀── find() ── loop

The hot path pays nothing: batches are looked at in the encode thread, beside the work of minutes that compressing them
is, and of each batch only some rows are taken. While nobody looks these are `UNWATCHED_ROWS` of them, one for each of
some topics, other topics each time, so that whoever comes finds something; for `WATCHED_S` after somebody asked these
are up to `WATCHED_ROWS`. A series keeps `POINTS_MAX` numbers, at least `SPACING_NS` apart in their own time: a minute
of a fast sensor, a day of a slow one.

Bounds: `SERIES_MAX` series of `NAME_CHARACTERS_MAX` characters; the one silent longest goes for a new one. All of it
takes less than 5 MB, which a test measures. It is a sample to look at, not a store: nothing of it is kept on disk, and
what routes hash or encrypt is hashed or encrypted here, too.
"""

from __future__ import annotations

import threading
import time
from array import array
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.model import OpenBatch, Row, Value

SERIES_MAX: Final = 1000
POINTS_MAX: Final = 90
NAME_CHARACTERS_MAX: Final = 300
TEXT_CHARACTERS_MAX: Final = 120
SPACING_NS: Final = 500_000_000
LATE_NS_MAX: Final = 60_000_000_000
UNWATCHED_ROWS: Final = 32
WATCHED_ROWS: Final = 2000
WATCHED_ROWS_OF_TOPIC: Final = 8
WATCHED_S: Final = 10.0


class Series:
    """One series: its newest value and, where that is a number, the points before it."""

    __slots__ = ("field", "newest", "newest_ns", "seen", "times", "topic", "values")

    def __init__(self, topic: str, field: str) -> None:
        self.topic = topic
        self.field = field
        self.newest: Value = ""
        self.newest_ns = 0
        self.seen = 0
        self.times = array("q")
        self.values = array("d")

    def add(self, time_ns: int, value: Value) -> None:
        """Take a reading; one that is late is passed over. Far back in time its clock was set, and it begins anew."""
        if self.seen and time_ns <= self.newest_ns:
            if self.newest_ns - time_ns < LATE_NS_MAX:
                return
            del self.times[:], self.values[:]
        self.newest, self.newest_ns = _short(value), time_ns
        self.seen += 1
        if isinstance(value, str | bytes) or (self.times and time_ns - self.times[-1] < SPACING_NS):
            return
        if len(self.times) >= POINTS_MAX:
            del self.times[0], self.values[0]
        self.times.append(time_ns)
        self.values.append(float(value))

    def said(self) -> dict[str, object]:
        """Return it as plain data, times in ms."""
        return {
            "topic": self.topic,
            "field": self.field,
            "value": self.newest,
            "time_ms": self.newest_ns // 1_000_000,
            "times_ms": [time_ns // 1_000_000 for time_ns in self.times],
            "values": list(self.values),
        }


class Recent:
    """The series. `note` is for one thread, everything else for any."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str], Series] = {}
        self._lock = threading.Lock()
        self._watched_until = 0.0
        self._turn = 0
        self.evicted = 0

    def note(self, batch: OpenBatch) -> None:
        """Take some rows of a batch."""
        is_watched = time.monotonic() < self._watched_until
        rows = list(_all(batch, WATCHED_ROWS) if is_watched else self._some(batch, UNWATCHED_ROWS))
        with self._lock:
            for topic, time_ns, row in rows:
                for field, value in row.items():
                    if len(topic) + len(field) <= NAME_CHARACTERS_MAX:
                        self._of(topic, field).add(time_ns, value)

    def find(self, words: str, limit: int) -> tuple[list[dict[str, object]], int]:
        """Return series whose topic and field hold all `words`, by name, at most `limit`, and how many there are."""
        self._watched_until = time.monotonic() + WATCHED_S
        wanted = words.casefold().split()
        with self._lock:
            found = [one for one in self._series.values() if _holds(one, wanted)]
            found.sort(key=lambda one: (one.topic, one.field))
            return [one.said() for one in found[:limit]], len(found)

    def _of(self, topic: str, field: str) -> Series:
        key = (topic, field)
        one = self._series.pop(key, None)
        if one is None:
            one = Series(topic, field)
            if len(self._series) >= SERIES_MAX:
                del self._series[next(iter(self._series))]
                self.evicted += 1
        self._series[key] = one  # the newest stand last
        return one

    def _some(self, batch: OpenBatch, most: int) -> Iterator[tuple[str, int, Row]]:
        """Yield the newest row of at most so many topics, of those that come next in turn."""
        topics = len(batch.rows)
        first = self._turn % topics if topics > most else 0
        self._turn = first + most
        for topic, (times, rows) in islice(batch.rows.items(), first, first + most):
            yield topic, times[-1], rows[-1]


def _all(batch: OpenBatch, most: int) -> Iterator[tuple[str, int, Row]]:
    """Yield the newest rows of each topic, at most so many in all."""
    left = most
    for topic, (times, rows) in batch.rows.items():
        some = min(left, WATCHED_ROWS_OF_TOPIC, len(rows))
        for index in range(len(rows) - some, len(rows)):
            yield topic, times[index], rows[index]
        left -= some
        if not left:
            return


def _holds(one: Series, wanted: list[str]) -> bool:
    name = f"{one.topic} {one.field}".casefold()
    return all(word in name for word in wanted)


def _short(value: Value) -> Value:
    if isinstance(value, bytes):
        return value[: TEXT_CHARACTERS_MAX // 2].hex()
    return value[:TEXT_CHARACTERS_MAX] if isinstance(value, str) else value
