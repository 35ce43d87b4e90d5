"""The newest readings of each series, in bounded memory, for whoever opens the series browser.

    encode thread ─▶ note(batch): some rows of it ─▶ series ─▶ a ring of points each ◀── find() ── loop

The loop pays nothing: batches are looked at in the encode thread, which compresses them, and of each batch only some
rows are taken. While nobody looks these are `UNWATCHED_ROWS` of them, one for each of some topics, other topics each
time, so that whoever comes finds something; for `WATCHED_S` after somebody asked these are up to `WATCHED_ROWS`, about
a millisecond of work. A series keeps `POINTS_MAX` numbers, at least `SPACING_NS` apart in their own time: a minute of a
fast sensor, a day of a slow one.

Bounds: `SERIES_MAX` series of `NAME_CHARACTERS_MAX` characters. A new one takes the place of the one that was silent
longest, if that was so for `KEPT_S`, or if the new one is what somebody looks for just now: else more series than there
are places for would drive each other out, and none had a line. All of it takes less than 5 MB, which a test measures.
It is a sample to look at, not a store: nothing of it is kept on disk, and what routes hash or encrypt is hashed or
encrypted here, too.
"""

from __future__ import annotations

import threading
import time
from array import array
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.model import OpenBatch, Row, Value

SERIES_MAX: Final = 1000
POINTS_MAX: Final = 90
NAME_CHARACTERS_MAX: Final = 300
TEXT_CHARACTERS_MAX: Final = 120
SPACING_NS: Final = 500_000_000
LATE_NS_MAX: Final = 60_000_000_000
UNWATCHED_ROWS: Final = 32
WATCHED_ROWS: Final = 600
ROWS_OF_TOPIC: Final = 8
WATCHED_S: Final = 10.0
KEPT_S: Final = 30.0


class Series:
    """One series: its newest value and, where that is a number, the points before it."""

    __slots__ = ("field", "newest", "newest_ns", "seen", "times", "topic", "touched_s", "values")

    def __init__(self, topic: str, field: str) -> None:
        self.topic = topic
        self.field = field
        self.newest: Value = ""
        self.newest_ns = 0
        self.seen = 0
        self.touched_s = 0.0
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

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._series: dict[tuple[str, str], Series] = {}
        self._wanted: list[str] = []
        self._lock = threading.Lock()
        self._watched_until = 0.0
        self._turn = 0
        self.left_out = 0

    def note(self, batch: OpenBatch) -> None:
        """Take some rows of a batch."""
        now_s = self._clock()
        is_watched = now_s < self._watched_until
        self._wanted = self._wanted if is_watched else []
        rows = list(self._some(batch, WATCHED_ROWS, ROWS_OF_TOPIC) if is_watched else self._some(batch, UNWATCHED_ROWS))
        with self._lock:
            for topic, time_ns, row in rows:
                for field, value in row.items():
                    one = self._of(topic, field, now_s)
                    if one is not None:
                        one.add(time_ns, value)

    def find(self, words: str, limit: int) -> tuple[list[dict[str, object]], int]:
        """Return series whose topic and field hold all `words`, by name, at most `limit`, and how many there are."""
        self._watched_until = self._clock() + WATCHED_S
        self._wanted = wanted = words.casefold().split()
        with self._lock:
            found = [one for one in self._series.values() if _holds(one.topic, one.field, wanted)]
            found.sort(key=lambda one: (one.topic, one.field))
            return [one.said() for one in found[:limit]], len(found)

    def _of(self, topic: str, field: str, now_s: float) -> Series | None:
        """Return the series of this name, None where there is no place for it."""
        key = (topic, field)
        one = self._series.pop(key, None)
        if one is None:
            if len(topic) + len(field) > NAME_CHARACTERS_MAX or not self._has_place(topic, field, now_s):
                self.left_out += 1
                return None
            one = Series(topic, field)
        one.touched_s = now_s
        self._series[key] = one  # the newest stand last
        return one

    def _has_place(self, topic: str, field: str, now_s: float) -> bool:
        """Say whether one more series may be there; the one that was silent longest may go for it."""
        if len(self._series) < SERIES_MAX:
            return True
        oldest = next(iter(self._series))
        is_silent = now_s - self._series[oldest].touched_s >= KEPT_S
        if not is_silent and not (self._wanted and _holds(topic, field, self._wanted)):
            return False
        del self._series[oldest]
        return True

    def _some(self, batch: OpenBatch, most: int, of_topic: int = 1) -> Iterator[tuple[str, int, Row]]:
        """Yield at most so many rows, the newest of each topic: of those topics that are in turn, if not of all."""
        topics = len(batch.rows)
        first = self._turn % topics if topics > most else 0
        self._turn = first + most
        each = min(of_topic, max(1, most // max(topics, 1)))
        for topic, (times, rows) in islice(batch.rows.items(), first, first + most):
            yield from ((topic, times[index], rows[index]) for index in range(-min(each, len(rows)), 0))


def _holds(topic: str, field: str, wanted: list[str]) -> bool:
    name = f"{topic} {field}".casefold()
    return all(word in name for word in wanted)


def _short(value: Value) -> Value:
    if isinstance(value, bytes):
        return value[: TEXT_CHARACTERS_MAX // 2].hex()
    return value[:TEXT_CHARACTERS_MAX] if isinstance(value, str) else value
