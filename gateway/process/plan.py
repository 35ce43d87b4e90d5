"""What is to be done with the messages of a topic, worked out once: the compiled route and the topic's place in it.

A `Plan` is a cache entry and may be forgotten at any time. What must be remembered of a topic (samplers, windows) lives
in its `CompiledRoute`, is bounded there, and is part of the pipeline's state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.decode.contract import INTEGER_MAX, Limits
from gateway.decode.formats import FORMATS
from gateway.errors import DecodeError
from gateway.process.duplicates import Duplicates
from gateway.process.event_time import time_reader
from gateway.process.expression import compile_expression
from gateway.process.sample import Steps
from gateway.process.samplers import Samplers
from gateway.process.window import Windows

if TYPE_CHECKING:
    from gateway.batch.builder import LaneBuilder
    from gateway.config import schema
    from gateway.model import Row
    from gateway.process.sample import Sampler


class CompiledRoute:
    """One route, ready to work, with what it remembers of its topics."""

    __slots__ = (
        "ahead_ns",
        "builder",
        "decode",
        "duplicates",
        "is_plain",
        "keep",
        "name",
        "payload_bytes_max",
        "samplers",
        "time_of",
        "windows",
    )

    def __init__(self, route: schema.Route, builder: LaneBuilder, payload_bytes_max: int) -> None:
        fields = route.fields
        if fields and route.time.field:
            fields = (*fields, route.time.field)
        self.name = route.name
        self.builder = builder
        self.payload_bytes_max = payload_bytes_max
        self.decode = FORMATS[route.decoder](Limits(fields, route.field_count_max, route.depth_max))
        self.time_of = time_reader(route.time)
        self.ahead_ns = route.time.ahead_ns
        self.keep = compile_expression(route.keep) if route.keep else None
        steps = Steps(route.sample)
        self.samplers = Samplers(route.name, steps) if steps.are_set else None
        self.duplicates = None if route.duplicates is None else Duplicates(route.duplicates)
        self.windows = None if route.window is None else Windows(route.window)
        steps_set = (self.keep, self.duplicates, self.samplers, self.windows)
        self.is_plain = all(step is None for step in steps_set)


class Plan:
    """What is to be done with one topic. Without a route there may be a `refusal`: (reason, sentence)."""

    __slots__ = ("refusal", "route", "sampler", "topic")

    def __init__(self, topic: str, route: CompiledRoute | None, refusal: tuple[str, str] | None = None) -> None:
        self.topic = topic
        self.route = route
        self.refusal = refusal
        self.sampler: Sampler | None = None

    def read(self, route: CompiledRoute, payload: bytes, arrival_ns: int, *, clock_is_set: bool) -> tuple[int, Row]:
        """Return the time and the row of a message that came at `arrival_ns`. Raises `DecodeError`.

        While our own clock is not set, a time that seems to lie ahead proves nothing and is taken.
        """
        if len(payload) > route.payload_bytes_max:
            fault = f"the payload has {len(payload)} bytes, {route.payload_bytes_max} are allowed"
            raise DecodeError("payload_too_large", fault)
        row = route.decode(payload)
        time_ns = arrival_ns
        if route.time_of is not None:
            time_ns = route.time_of(row, arrival_ns + route.ahead_ns if clock_is_set else INTEGER_MAX)
            if not row:
                raise DecodeError("no_fields", "the payload holds nothing but its time")
        if not route.is_plain:
            self._find_room(route, time_ns, row)
        return time_ns, row

    def _find_room(self, route: CompiledRoute, time_ns: int, row: Row) -> None:
        if self.sampler is None and route.samplers is not None:
            self.sampler = route.samplers.sampler(self.topic)
        if route.windows is not None and route.windows.is_crowded:
            reason = route.windows.refusal(self.topic, time_ns, row)
            if reason:
                raise DecodeError(reason, f"the windows of the route {route.name} hold as much as they may")
