"""What is to be done with the messages of a topic, worked out once: the compiled route and the topic's place in it.

A `Plan` is a cache entry and may be forgotten at any time. What must be remembered of a topic (samplers, windows) lives
in its `CompiledRoute`, is bounded there, and is part of the pipeline's state.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.decode.contract import INTEGER_MAX, Limits
from gateway.decode.formats import decoder_of
from gateway.errors import DecodeError
from gateway.process.duplicates import Duplicates
from gateway.process.event_time import checked_time, time_reader
from gateway.process.expression import compile_expression
from gateway.process.fields import changes
from gateway.process.route import TopicCache
from gateway.process.sample import Steps
from gateway.process.samplers import Samplers
from gateway.process.topics import series_fault
from gateway.process.window import Windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.batch.builder import LaneBuilder
    from gateway.config import schema
    from gateway.model import Row
    from gateway.process.material import Material
    from gateway.process.sample import Sampler

SERIES_MAX: Final = 50_000
"""Series of one route whose plan is cached, where payloads name series."""


class CompiledRoute:
    """One route, ready to work, with what it remembers of its topics."""

    __slots__ = (
        "ahead_ns",
        "builder",
        "changes",
        "decode",
        "duplicates",
        "is_plain",
        "keep",
        "name",
        "payload_bytes_max",
        "records",
        "samplers",
        "series",
        "time_of",
        "windows",
    )

    def __init__(self, route: schema.Route, builder: LaneBuilder, limits: schema.Broker, material: Material) -> None:
        fields = route.fields
        if fields and route.time.field:
            fields = (*fields, route.time.field)
        self.name = route.name
        self.builder = builder
        self.payload_bytes_max = limits.payload_bytes_max
        self.decode, self.records = decoder_of(route, Limits(fields, route.field_count_max, route.depth_max))
        self.series = TopicCache(partial(self._series_plan, limits.topic_bytes_max), SERIES_MAX)
        self.time_of = time_reader(route.time)
        self.changes = changes(route.field, material.keys.get(route.key_file))
        self.ahead_ns = route.time.ahead_ns
        self.keep = compile_expression(route.keep) if route.keep else None
        steps = Steps(route.sample)
        self.samplers = Samplers(route.name, steps) if steps.are_set else None
        self.duplicates = None if route.duplicates is None else Duplicates(route.duplicates)
        self.windows = None if route.window is None else Windows(route.window)
        steps_set = (self.keep, self.duplicates, self.samplers, self.windows)
        self.is_plain = all(step is None for step in steps_set)

    def take_over(self, old: CompiledRoute) -> None:
        """Go on with what `old`, a route with the same options, remembers."""
        self.duplicates, self.samplers, self.windows = old.duplicates, old.samplers, old.windows

    def _series_plan(self, topic_bytes_max: int, topic: str) -> Plan:
        """Return the plan of a series that a payload names. Raises `DecodeError` when it can be no part of a topic."""
        fault = series_fault(topic, topic_bytes_max)
        if fault:
            raise DecodeError("series_invalid", f"the payload names a series that cannot be used: {fault}")
        return Plan(topic, self)


class Plan:
    """What is to be done with one topic. Without a route there may be a `refusal`: (reason, sentence)."""

    __slots__ = ("refusal", "route", "sampler", "topic")

    def __init__(self, topic: str, route: CompiledRoute | None, refusal: tuple[str, str] | None = None) -> None:
        self.topic = topic
        self.route = route
        self.refusal = refusal
        self.sampler: Sampler | None = None

    def read(
        self, route: CompiledRoute, payload: bytes, arrival_ns: int, *, clock_is_set: bool
    ) -> Sequence[tuple[Plan, int, Row]]:
        """Return the rows of a message that came at `arrival_ns`, each with its series' plan and its time.

        Raises `DecodeError`; then no reading of the message was taken. While our own clock is not set, a time that
        seems to lie ahead proves nothing and is taken.
        """
        if len(payload) > route.payload_bytes_max:
            fault = f"the payload has {len(payload)} bytes, {route.payload_bytes_max} are allowed"
            raise DecodeError("payload_too_large", fault)
        latest_ns = arrival_ns + route.ahead_ns if clock_is_set else INTEGER_MAX
        if route.decode is None:
            return self._read_records(route, payload, arrival_ns, latest_ns)
        row = route.decode(payload)
        time_ns = arrival_ns
        if route.time_of is not None:
            time_ns = route.time_of(row, latest_ns)
            if not row:
                raise DecodeError("no_fields", "the payload holds nothing but its time")
        if (route.is_plain and not route.changes) or self.takes(route, time_ns, row):
            return ((self, time_ns, row),)
        return ()

    def _read_records(
        self, route: CompiledRoute, payload: bytes, arrival_ns: int, latest_ns: int
    ) -> list[tuple[Plan, int, Row]]:
        assert route.records is not None
        found = []
        for series, stated_ns, row in route.records(payload, self.topic, arrival_ns):
            time_ns = arrival_ns if stated_ns is None else checked_time(stated_ns, latest_ns)
            if route.time_of is not None:
                time_ns = route.time_of(row, latest_ns)
                if not row:
                    continue
            plan = route.series[f"{self.topic}/{series}"] if series else self
            found.append((plan, time_ns, row))
        if not found:
            raise DecodeError("no_fields", "the payload holds nothing but times")
        return [one for one in found if one[0].takes(route, one[1], one[2])]

    def takes(self, route: CompiledRoute, time_ns: int, row: Row) -> bool:
        """Change the fields of a row, and make sure that its steps have room to remember it; False: nothing is left.

        Raises `DecodeError`.
        """
        for change in route.changes:
            change(row, self.topic, time_ns)
        if self.sampler is None and route.samplers is not None:
            self.sampler = route.samplers.sampler(self.topic)
        if route.windows is not None and route.windows.is_crowded:
            reason = route.windows.refusal(self.topic, time_ns, row)
            if reason:
                raise DecodeError(reason, f"the windows of the route {route.name} hold as much as they may")
        return bool(row)
