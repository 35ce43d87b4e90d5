"""What is to be done with the messages of a topic, worked out once: the compiled route and the topic's place in it.

A `Plan` is a cache entry and may be forgotten at any time. What must be remembered of a topic (samplers, windows) lives
in its `CompiledRoute`, is bounded there, and is part of the pipeline's state.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from gateway.decode.contract import INTEGER_MAX, Limits
from gateway.decode.formats import decoding_of
from gateway.errors import ConfigError, DecodeError
from gateway.model import CLOCK_UNSYNCHRONISED
from gateway.pressure import presses
from gateway.process.duplicates import Duplicates
from gateway.process.event_time import checked_time, time_reader
from gateway.process.expression import compile_condition
from gateway.process.fields import changes
from gateway.process.limits import Rate, Topics
from gateway.process.material import documents_of
from gateway.process.route import TopicCache
from gateway.process.sample import Steps
from gateway.process.samplers import Samplers
from gateway.process.topics import matches, series_fault
from gateway.process.window import Windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeAlias

    from gateway.batch.builder import LaneBuilder
    from gateway.config import schema
    from gateway.model import Row
    from gateway.process.material import Material
    from gateway.process.sample import Sampler

    Taken: TypeAlias = "tuple[Plan, int, Row, bool]"
    """A row with the plan of its series, its time in ns, and whether the route's expression keeps it."""

PAYLOAD_OF_ROWS_BYTES_MAX: Final = 128 * 1024
"""Largest payload of a format with many rows, which is decoded at up to 0.6 µs a byte while everything else waits."""
SERIES_MAX: Final = 50_000
"""Series of one route whose plan is cached, where payloads name series."""


class Memory(Protocol):
    """A step that remembers: `state` yields records, `restore` takes them in runs, in the same order."""

    def state(self) -> Iterator[tuple[object, ...]]:
        """Yield what `restore` needs."""

    def restore(self, records: Sequence[Any]) -> None:
        """Go on from a state."""


class CompiledRoute:
    """One route, ready to work, with what it remembers of its topics.

    `messages` and `quarantined` count messages, `readings_in` what was decoded of them, `readings_out` what went to the
    lane: since the route was made, for people; they are no part of the state.
    """

    __slots__ = (
        "ahead_ns",
        "asks",
        "builder",
        "changes",
        "decode",
        "decoding",
        "duplicates",
        "has_steps",
        "is_bare",
        "is_pressed",
        "keep",
        "lane",
        "messages",
        "name",
        "payload_bytes_max",
        "pressed",
        "quarantined",
        "rate",
        "readings_in",
        "readings_out",
        "records",
        "samplers",
        "series",
        "tags",
        "time_of",
        "topics",
        "under_pressure",
        "windows",
    )

    def __init__(self, route: schema.Route, builder: LaneBuilder, limits: schema.Broker, material: Material) -> None:
        fields = route.fields
        if fields and route.time.field:
            fields = (*fields, route.time.field)
        self.name, self.lane = route.name, route.lane
        self.messages = self.quarantined = self.readings_in = self.readings_out = 0
        self.builder = builder
        taken = Limits(fields, route.field_count_max, route.depth_max)
        try:
            self.decoding = decoding_of(route, taken, material.documents)
        except ConfigError as error:
            unnamed = (path for path in dict.fromkeys(documents_of(route)) if path not in error.fault)
            where = ", ".join((f'route "{route.name}"', *unnamed))
            raise ConfigError(f"{where}: {error.fault}", hint=error.hint) from error
        self.decode, self.records = self.decoding.row, self.decoding.records
        usual = limits.payload_bytes_max if self.records is None else PAYLOAD_OF_ROWS_BYTES_MAX
        self.payload_bytes_max = min(route.payload_bytes_max or usual, limits.payload_bytes_max)
        self.asks = route.sparkplug.rebirth
        self.series = TopicCache(partial(self._series_plan, limits.topic_bytes_max), SERIES_MAX)
        self.time_of = time_reader(route.time)
        self.tags = TopicCache(partial(_tags_of, route.tag), SERIES_MAX) if route.tag else None
        self.changes = changes(route.field, material.keys.get(route.key_file))
        self.ahead_ns = route.time.ahead_ns
        self.keep = compile_condition(route.keep, route.keep_fault) if route.keep else None
        self.rate = None if route.limit is None else Rate(route.limit)
        self.topics = Topics(route.topics_max) if route.topics_max else None
        steps = Steps(route.sample)
        self.samplers = Samplers(route.name, steps) if steps.are_set else None
        self.under_pressure = route.under_pressure
        pressed = None if route.under_pressure is None else Steps(route.under_pressure.sample)
        self.pressed = Samplers(route.name, pressed) if pressed is not None and pressed.are_set else None
        self.is_pressed = False
        self.duplicates = None if route.duplicates is None else Duplicates(route.duplicates)
        self.windows = None if route.window is None else Windows(route.window)
        self.has_steps = bool({"duplicates", "samplers", "pressed", "windows"} & self.memories().keys())
        self.is_bare = not self.has_steps and self.keep is None and self.topics is None and not self.changes

    def status(self) -> dict[str, object]:
        """Return what it has done since it was made, and which schema it has, for people."""
        names = ("name", "messages", "quarantined", "readings_in", "readings_out")
        found = {name: getattr(self, name) for name in names} | {"schema": self.decoding.schema}
        if self.duplicates is not None:
            found |= {"keys_forgotten": self.duplicates.forgotten, "rows_without_key": self.duplicates.unkeyed}
        return found

    def take_over(self, old: CompiledRoute) -> None:
        """Go on with what `old`, a route with the same options, remembers."""
        self.duplicates, self.samplers, self.windows = old.duplicates, old.samplers, old.windows
        self.rate, self.topics, self.pressed = old.rate, old.topics, old.pressed
        self.decoding, self.records = old.decoding, old.records

    def take_requests(self) -> list[tuple[str, bytes]]:
        """Return what the decoder wants published, since the last call."""
        memory = self.decoding.memory
        found = [] if memory is None else memory.take_requests()
        return [(request.topic, request.payload) for request in found] if self.asks else []

    def note_pressure(self, words: tuple[str, ...]) -> None:
        """Take in what the node is short of from now on."""
        minded = self.under_pressure
        self.is_pressed = minded is not None and presses(minded.when, self.lane, words)

    def memories(self) -> dict[str, Memory]:
        """Return everything that has a state, by a word for it."""
        found: dict[str, Memory | None] = {
            "decoder": self.decoding.memory,
            "rate": self.rate,
            "topics": self.topics,
            "duplicates": self.duplicates,
            "samplers": self.samplers,
            "pressed": self.pressed,
            "windows": self.windows,
        }
        return {word: memory for word, memory in found.items() if memory is not None}

    def _series_plan(self, topic_bytes_max: int, topic: str) -> Plan:
        """Return the plan of a series that a payload names. Raises `DecodeError` when it can be no part of a topic."""
        fault = series_fault(topic, topic_bytes_max)
        if fault:
            raise DecodeError("series_invalid", f"the payload names a series that cannot be used: {fault}")
        return Plan(topic, self)


def _tags_of(tags: Sequence[schema.Tag], topic: str) -> dict[str, str]:
    """Return the fields that are added to the rows of a topic."""
    found: dict[str, str] = {}
    for tag in tags:
        if any(matches(pattern, topic) for pattern in tag.topics):
            found = {**tag.fields, **found}
    return found


class Plan:
    """What is to be done with one topic. Without a route there may be a `refusal`: (reason, sentence)."""

    __slots__ = ("pressed", "refusal", "route", "sampler", "topic")

    def __init__(self, topic: str, route: CompiledRoute | None, refusal: tuple[str, str] | None = None) -> None:
        self.topic = topic
        self.route = route
        self.refusal = refusal
        self.sampler: Sampler | None = None
        self.pressed: Sampler | None = None

    def read(self, route: CompiledRoute, payload: bytes, arrival_ns: int, clock: int) -> Sequence[Taken]:
        """Return the rows of a message that came at `arrival_ns`, by a clock in the state `clock`.

        Raises `DecodeError`; then no reading of the message was taken. While our own clock is not set, a time that
        seems to lie ahead proves nothing and is taken.
        """
        if len(payload) > route.payload_bytes_max:
            fault = f"the payload has {len(payload)} bytes, {route.payload_bytes_max} are allowed"
            raise DecodeError("payload_too_large", fault)
        latest_ns = INTEGER_MAX if clock == CLOCK_UNSYNCHRONISED else arrival_ns + route.ahead_ns
        if route.decode is None:
            return self._read_records(route, payload, arrival_ns, latest_ns, clock)
        row = route.decode(payload)
        time_ns = arrival_ns
        if route.time_of is not None:
            time_ns = route.time_of(row, latest_ns)
            if not row:
                raise DecodeError("no_fields", "the payload holds nothing but its time")
        if route.is_bare:
            return ((self, time_ns, row, True),)
        return (self.prepared(route, time_ns, row, clock),)

    def _read_records(
        self, route: CompiledRoute, payload: bytes, arrival_ns: int, latest_ns: int, clock: int
    ) -> list[Taken]:
        assert route.records is not None
        topic = self.topic if route.decoding.origin is None else route.decoding.origin(self.topic)
        found = []
        records = route.records(payload, self.topic, arrival_ns)
        for series, stated_ns, row in records:
            time_ns = arrival_ns if stated_ns is None else checked_time(stated_ns, latest_ns)
            if route.time_of is not None:
                time_ns = route.time_of(row, latest_ns)
                if not row:
                    continue
            plan = route.series[f"{topic}/{series}" if series else topic]
            found.append(plan.prepared(route, time_ns, row, clock))
        if records and not found:
            raise DecodeError("no_fields", "the payload holds nothing but times")
        return found

    def prepared(self, route: CompiledRoute, time_ns: int, row: Row, clock: int) -> Taken:
        """Change the fields of a row, decide whether it is kept, and make sure that its steps can remember it.

        Raises `DecodeError`. The row may be left without fields.
        """
        if route.topics is not None and not route.topics.admits(self.topic):
            raise DecodeError("too_many_topics", f"the route {route.name} has as many topics as it may")
        for change in route.changes:
            change(row, self.topic, time_ns)
        is_kept = bool(row) and (route.keep is None or route.keep(row, self.topic, time_ns, clock))
        if self.sampler is None and route.samplers is not None:
            self.sampler = route.samplers.sampler(self.topic)
        if route.is_pressed and self.pressed is None and route.pressed is not None:
            self.pressed = route.pressed.sampler(self.topic)
        if is_kept and route.windows is not None and route.windows.is_crowded:
            reason = route.windows.refusal(self.topic, time_ns, row)
            if reason:
                raise DecodeError(reason, f"the windows of the route {route.name} hold as much as they may")
        return self, time_ns, row, is_kept
