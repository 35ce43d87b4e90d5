"""Leaves out what a sensor, or a forwarder before us, said already: the same key, or the same series and time.

Two ways, one for each route:

- by key: a row whose field `key` holds a value that an earlier row held is left out whole, whatever else it holds; the
  earlier row may be any of the same topic, or of the whole route. A row without the field goes on and is counted;
- by series and time: a reading is left out when there was one of the same topic, field and time, whatever its value.

The first one goes on, later ones do not. Invariant: something goes on exactly when none with its key went on before it
in the last `span` on the node's timeline among the `keys_max` that went on last. `forgotten` counts the keys that had
to be given up for want of room before their span was over: while it does not rise, the filter is exact. A repetition
does not prolong the memory of the first, so what is sent again for ever goes on once a span.

Keys are kept as they are, not as hashes, but for text beyond 64 characters, of which 16 bytes of BLAKE2b stand for it.
Numbers are one key when they are equal (1 and 1.0), true is not 1. Time and memory of a call are bounded: what is over
its span is removed a few keys at a time, and is not taken for known in the meantime.

This is not the redelivery of a broker, which `redelivery` recognises by its packet id before anything is decoded.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from gateway.process.deadband import remembered

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.config import schema
    from gateway.model import Row, Value

    Key: TypeAlias = tuple[str, str | int, Value]
    """By series: topic, field, time in ns. By key: topic or nothing, how to read the value, value."""

_REMOVED_MAX: Final = 64
"""Keys over their span that one row removes at most."""

_COUNTS: Final = 2
"""Length of the record of counts; that of a key is longer."""

_PLAIN: Final = 0
_BOOLEAN: Final = 1
_DIGEST_OF_TEXT: Final = 2
_DIGEST_OF_BYTES: Final = 3

_NOTHING: Final[Row] = {}


class Duplicates:
    """What one route remembers of what went on. `forgotten` and `unkeyed` count keys given up and rows without one."""

    __slots__ = ("_first_at", "_key", "_keys_max", "_of_topic", "_oldest_at", "_span_ns", "forgotten", "unkeyed")

    def __init__(self, options: schema.Duplicates) -> None:
        self._key = options.key
        self._of_topic = options.scope == "topic"
        self._keys_max = options.keys_max
        self._span_ns = options.span_ns
        self._first_at: OrderedDict[Key, int] = OrderedDict()  # the oldest first
        self._oldest_at = 0  # or less: it is brought up to date when that matters
        self.forgotten = 0
        self.unkeyed = 0

    def __len__(self) -> int:
        """Return the number of keys remembered."""
        return len(self._first_at)

    def left(self, topic: str, time_ns: int, row: Row, at: int) -> Row:
        """Return what is left of `row`, which came at `at` and is used up: the row, less what is known, or nothing."""
        if at - self._oldest_at >= self._span_ns:
            self._remove_old(at)
        if self._key:
            value = row.get(self._key)
            if value is None:
                self.unkeyed += 1
                return row
            return row if self._is_new(self._of_value(topic, value), at) else _NOTHING
        known = [name for name in row if not self._is_new((topic, name, time_ns), at)]
        for name in known:
            del row[name]
        return row

    def _of_value(self, topic: str, value: Value) -> Key:
        kept, how = remembered(value), _PLAIN
        if kept is not value:
            how = _DIGEST_OF_TEXT if isinstance(value, str) else _DIGEST_OF_BYTES
        elif value.__class__ is bool:
            how = _BOOLEAN
        return topic if self._of_topic else "", how, kept

    def _is_new(self, key: Key, at: int) -> bool:
        """Return whether the key is not remembered, and remember it then."""
        first_at = self._first_at.get(key)
        if first_at is not None:
            if at - first_at < self._span_ns:
                return False
            del self._first_at[key]
        elif len(self._first_at) >= self._keys_max:
            _, oldest_at = self._first_at.popitem(last=False)
            if at - oldest_at < self._span_ns:
                self.forgotten += 1
        self._first_at[key] = at
        return True

    def _remove_old(self, at: int) -> None:
        for _ in range(min(_REMOVED_MAX, len(self._first_at))):
            key = next(iter(self._first_at))
            if at - self._first_at[key] < self._span_ns:
                self._oldest_at = self._first_at[key]
                return
            del self._first_at[key]

    def state(self) -> Iterator[tuple[object, ...]]:
        """Yield the counts, then each key with the `at` of the first, the oldest first."""
        yield self.forgotten, self.unkeyed
        for key, first_at in self._first_at.items():
            yield first_at, *key

    def restore(self, records: Sequence[Any]) -> None:
        """Go on from the state of duplicates with the same options."""
        topics: dict[str, str] = {}  # one text for all keys of a topic, as it was before
        for record in records:
            if len(record) == _COUNTS:
                self.forgotten, self.unkeyed = record
            else:
                first_at, topic, second, third = record
                self._first_at[topics.setdefault(topic, topic), second, third] = first_at
