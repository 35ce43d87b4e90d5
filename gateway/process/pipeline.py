"""The deterministic machine: journaled input in, batches and quarantined messages out.

    message ─▶ decode ─▶ time ─▶ keep ─▶ sample ─┬─▶ window ─▶ lane builder ─▶ batch
                 │                               └──────────────────┘
                 └─▶ quarantine, with the reason

It reads no clock, draws no chance and does no input or output; every time comes from the entry that is applied. So the
same entries from the same state give the same batches with the same sequences, which is what lets a restart make again
whatever had not reached the spool. Its state between two entries is all there is: counts, open rows, windows, samplers,
redelivery marks. (After LMAX and TigerBeetle: journal the inputs, run a deterministic machine over them.)

Invariants: after each slice of an entry `ledger.residuals` is (0, 0), and at each seal the ledger in the batch
includes the message that caused it and the batch itself. A slice is bounded by messages and by bytes, so that the loop
is never held for long. No payload and no topic raises: what cannot be used is quarantined and counted.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gateway.batch.builder import LaneBuilder
from gateway.errors import DecodeError
from gateway.ledger import (
    AGGREGATED,
    DECODED,
    DUPLICATE_MESSAGE,
    DUPLICATE_READING,
    EMITTED,
    FILTERED,
    LATE,
    QUARANTINED,
    READ,
    RECEIVED,
    SAMPLED_OUT,
    SEALED,
    SHED,
    SHED_RATE,
    TAGGED,
    UNDER_PRESSURE,
    UNROUTED,
    count,
)
from gateway.model import CLOCK_UNSYNCHRONISED, OWN, MessageGroup, Output, Quarantined
from gateway.pressure import FLUSH
from gateway.process.links import take_in_linked
from gateway.process.material import NO_MATERIAL
from gateway.process.plan import CompiledRoute, Plan
from gateway.process.redelivery import Redelivery
from gateway.process.route import TopicCache, matcher
from gateway.process.state import Part, restore_slice, slices
from gateway.process.topics import topic_refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from gateway.config import schema
    from gateway.model import Entry, Ledger, Row
    from gateway.process.material import Material
    from gateway.process.plan import Taken
    from gateway.process.window import Windows

SLICE_MESSAGES_MAX: Final = 256
SLICE_BYTES_MAX: Final = 32 * 1024
"""A slice ends with the message that passes this many bytes of payload: they may hold thousands of windowed fields."""

SLICE_EMITTED_MAX: Final = 4096
"""A slice of windows that fall due together ends with the topic that passes this many readings."""

PLANS_MAX: Final = 50_000
"""Topics whose plan is cached, routed or not."""

QUARANTINED_BYTES_MAX: Final = 64 * 1024
_DETAIL_CHARACTERS_MAX: Final = 500
KEY_INDEX_BITS: Final = 21
"""Room for the index in its group in the key of a quarantined message."""


class Pipeline:
    """The machine of one node. `ledger` and `open_readings` may be read at any time, all else between two entries."""

    def __init__(
        self,
        routes: Sequence[schema.Route],
        lanes: Sequence[schema.Lane],
        limits: schema.Broker,
        node: str,
        epoch: int,
        material: Material = NO_MATERIAL,
    ) -> None:
        self._limits = limits
        self._epoch = epoch
        self._builders = {lane.name: LaneBuilder(lane, node, epoch) for lane in lanes}
        self._urgent = [builder for builder in self._builders.values() if not builder.linger_ns]
        self._routes = [CompiledRoute(route, self._builders[route.lane], limits, material) for route in routes]
        self._windowed = [route for route in self._routes if route.windows is not None]
        self._holding = [
            route for route in self._routes if route.samplers is not None and route.samplers.steps.hold_back
        ]
        self._asking = [route for route in self._routes if route.decoding.memory is not None]
        self._first_match = matcher([route.topics for route in routes])
        self._plans = TopicCache(self._plan, PLANS_MAX)
        own = next((self._routes[number] for number, route in enumerate(routes) if not route.topics), None)
        self._own_plans = TopicCache(lambda topic: Plan(topic, own), 1)
        self._redelivery = Redelivery(limits.receive_maximum)
        self._at = 0
        self._wall_ns = 0
        self._clock = CLOCK_UNSYNCHRONISED
        self._pressure: tuple[str, ...] = ()
        self._output = Output()
        self.ledger: Ledger = dict.fromkeys((RECEIVED, DECODED, READ), 0)

    @property
    def epoch(self) -> int:
        """The epoch of the batches to come."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        """Let all batches from now on belong to `epoch`."""
        self._epoch = epoch
        for builder in self._builders.values():
            builder.epoch = epoch

    @property
    def sequences(self) -> dict[str, int]:
        """The last sequence that each lane has used, 0 before the first."""
        return {lane: builder.sequence for lane, builder in self._builders.items()}

    @property
    def readings_sealed(self) -> dict[str, int]:
        """Readings in all batches that each lane has made so far."""
        return {lane: builder.readings_sealed for lane, builder in self._builders.items()}

    def resume_after(self, lane: str, sequence: int, readings: int) -> None:
        """Let the lane's next batch be the one after `sequence`, with `readings` before it; for a new epoch."""
        self._builders[lane].resume_after(sequence, readings)

    def route_of(self, topic: str) -> CompiledRoute | None:
        """Return the route that takes a topic."""
        return self._plans[topic].route

    def decoded(self, topic: str, payload: bytes, arrival_ns: int, clock: int) -> list[tuple[str, int, Row, bool]]:
        """Return (topic, time, row, is kept) of what a message would be decoded to, for people. Raises `DecodeError`.

        Nothing is counted and nothing is remembered of it but that its topics exist; so it is empty for a decoder that
        learns from each message.
        """
        plan = self._plans[topic]
        assert plan.route is not None
        if plan.route.decoding.memory is not None:
            return []
        return [
            (place.topic, time_ns, row, is_kept)
            for place, time_ns, row, is_kept in plan.read(plan.route, payload, arrival_ns, clock)
        ]

    def routes_status(self) -> list[dict[str, object]]:
        """Return what each route has done since it was made, in order."""
        return [route.status() for route in self._routes]

    @property
    def has_urgent(self) -> bool:
        """Whether there is a lane that does not linger."""
        return bool(self._urgent)

    @property
    def open_readings(self) -> int:
        """Readings that wait for their batch to be sealed, or that swinging doors hold back."""
        held = sum(route.samplers.open_readings for route in self._holding if route.samplers is not None)
        return held + sum(builder.open_readings for builder in self._builders.values())

    @property
    def deadline(self) -> int | None:
        """The `at` at which a Tick must be journaled: a lane's linger ends, or a topic has been silent too long."""
        due = [builder.due_at for builder in self._builders.values()]
        due += [route.windows.deadline for route in self._windowed if route.windows is not None]
        due += [route.samplers.deadline for route in self._holding if route.samplers is not None]
        return min((at for at in due if at is not None), default=None)

    def linger_ns(self, topic: str) -> int | None:
        """Return how long the lane of a topic may wait for a batch; None for a topic that has no lane."""
        route = self._plans[topic].route
        return None if route is None else route.builder.linger_ns

    def apply(self, entry: Entry, position: int, contexts: Mapping[int, str] | None = None) -> Iterator[Output]:
        """Take in the entry at `position`, in slices, all of them; `contexts` are spans of its messages by index."""
        self._at = max(self._at, entry.at)
        self._wall_ns = entry.wall_ns
        self._clock = entry.clock
        if entry.pressure != self._pressure:
            self._note_pressure(entry.pressure)
        yield from self._fall_due()
        if isinstance(entry, MessageGroup):
            for reason, number in entry.shed.items():
                count(self.ledger, RECEIVED, number)
                count(self.ledger, SHED + reason, number)
            duplicates = set() if entry.connection == OWN else self._redelivery.duplicates(entry)
            for start, stop in _slices(entry.payloads):
                if contexts:
                    take_in = partial(self._take_in, entry, position=position, duplicates=duplicates)
                    routes = map(self.route_of, entry.topics[start:stop])
                    take_in_linked(contexts, (start, stop), take_in, list(routes), self._output)
                else:
                    self._take_in(entry, start, stop, position, duplicates)
                yield self._handed_over()
            if self._urgent:
                yield from self._seal_urgent()
        if FLUSH in entry.pressure:
            for builder in self._builders.values():
                self._seal(builder)
            yield self._handed_over()

    def finish(self, wall_ns: int, at: int, kept: Collection[str] = ()) -> Output:
        """Seal every lane and close every window, but for the routes `kept`, which another pipeline goes on with."""
        self._at = max(self._at, at)
        self._wall_ns = wall_ns
        for route in self._windowed:
            while route.name not in kept and self._expire(route, None) is not None:
                pass
        for route in self._holding:
            while route.name not in kept and self._let_go(route, None):
                pass
        for builder in self._builders.values():
            self._seal(builder)
        return self._handed_over()

    def succeed(self, old: Pipeline, kept: Collection[str] = ()) -> None:
        """Carry on the books of `old`, which has finished, and what its routes `kept` remember; they are the same here.

        The books: counts, sequences, marks of what may be sent again.
        """
        self.ledger = dict(old.ledger)
        self._at, self._wall_ns, self._clock = old._at, old._wall_ns, old._clock
        self._redelivery.restore(list(old._redelivery.state()))
        for lane, builder in self._builders.items():
            if lane in old._builders:
                builder.sequence = old._builders[lane].sequence
                builder.readings_sealed = old._builders[lane].readings_sealed
        memories = {route.name: route for route in old._routes if route.name in kept}
        for route in self._routes:
            if route.name in memories:
                route.take_over(memories[route.name])

    def state_slices(self) -> Iterator[bytes]:
        """Yield all that `restore` needs, bounded as `process.state` says; no entry may be applied meanwhile."""
        return slices(self._parts())

    def restore(self, kept: Iterable[bytes]) -> None:
        """Go on from the state of a pipeline with the same settings. Raises `StoreError` when it cannot be theirs."""
        parts = self._parts()
        for each in kept:
            restore_slice(parts, each)

    def _parts(self) -> dict[str, Part]:
        parts = {"books": Part(self._own_state, self._restore_own)}
        parts["redelivery"] = Part(self._redelivery.state, self._redelivery.restore)
        for lane, builder in self._builders.items():
            parts[f"lane {lane}"] = Part(builder.state, builder.restore)
        for route in self._routes:
            for word, memory in route.memories().items():
                parts[f"{word} {route.name}"] = Part(memory.state, memory.restore)
        return parts

    def _own_state(self) -> Iterator[tuple[object, ...]]:
        yield self._at, self._wall_ns, self._clock, self.ledger

    def _restore_own(self, records: Sequence[Any]) -> None:
        ((self._at, self._wall_ns, self._clock, self.ledger),) = records

    def _plan(self, topic: str) -> Plan:
        refusal = topic_refusal(topic, self._limits.topic_bytes_max)
        if refusal is not None:
            return Plan(topic, None, refusal)
        index = self._first_match(topic)
        return Plan(topic, None if index is None else self._routes[index])

    def _take_in(self, group: MessageGroup, start: int, stop: int, position: int, duplicates: set[int]) -> None:
        """Decide messages `start` to `stop` of a group. The hot path."""
        plans = self._own_plans if group.connection == OWN else self._plans
        ledger, wall_ns = self.ledger, group.wall_ns
        clock = group.clock
        columns = zip(range(start, stop), group.topics[start:stop], group.payloads[start:stop], strict=True)
        for index, topic, payload in columns:
            ledger[RECEIVED] += 1
            if index in duplicates:
                count(ledger, DUPLICATE_MESSAGE)
                continue
            plan = plans[topic]
            route = plan.route
            if route is None:
                self._refuse(plan, group, index, position)
                continue
            if route.rate is not None and not route.rate.admits(topic, self._at):
                count(ledger, SHED_RATE)
                continue
            try:
                rows = plan.read(route, payload, wall_ns, clock)
            except DecodeError as error:
                route.quarantined += 1
                self._quarantine(group, index, position, route.name, error.reason, error.fault)
                continue
            ledger[DECODED] += 1
            self._go_on(route, rows)
        self._output.requests += [request for route in self._asking for request in route.take_requests()]

    def _go_on(self, route: CompiledRoute, rows: Sequence[Taken]) -> None:
        """Take the rows of a message through the steps of their route, and to their lane."""
        ledger, builder, at = self.ledger, route.builder, self._at
        route.messages += 1
        for place, time_ns, row, is_kept in rows:
            readings = len(row)
            ledger[READ] += readings
            route.readings_in += readings
            if not is_kept:
                count(ledger, FILTERED, readings)
            elif not route.has_steps or self._passes(place, route, time_ns, row):
                if route.tags is not None:
                    self._tag(route.tags[place.topic], row)
                text_bytes = 0
                for value in row.values():
                    if value.__class__ is str or value.__class__ is bytes:
                        text_bytes += _text_bytes(value)
                route.readings_out += len(row)
                builder.append(place.topic, time_ns, row, at, text_bytes)
                if builder.is_full:
                    self._seal(builder)

    def _passes(self, plan: Plan, route: CompiledRoute, time_ns: int, row: Row) -> bool:
        """Take a row through the steps of its route; False when nothing of it goes on as a row of its own."""
        ledger, readings = self.ledger, len(row)
        if route.duplicates is not None:
            row = route.duplicates.left(plan.topic, time_ns, row, self._at)
            count(ledger, DUPLICATE_READING, readings - len(row))
            readings = len(row)
            if not row:
                return False
        if plan.sampler is not None and route.samplers is not None:
            readings += route.samplers.open_readings
            row = plan.sampler.thinned(row, time_ns, self._at)
            if route.samplers.steps.hold_back:
                for released in plan.sampler.released():
                    readings -= len(released.row)
                    self._store(route, *released)
            count(ledger, SAMPLED_OUT, readings - len(row) - route.samplers.open_readings)
        if row and route.is_pressed and plan.pressed is not None:
            readings = len(row)
            row = plan.pressed.thinned(row, time_ns, self._at)
            count(ledger, UNDER_PRESSURE, readings - len(row))
        if row and route.windows is not None:
            self._aggregate(route, route.windows, plan.topic, time_ns, row)
            return False
        return bool(row)

    def _note_pressure(self, words: tuple[str, ...]) -> None:
        self._pressure = words
        for route in self._routes:
            route.note_pressure(words)

    def _refuse(self, plan: Plan, group: MessageGroup, index: int, position: int) -> None:
        """Count a message that has no route."""
        if plan.refusal is None:
            count(self.ledger, UNROUTED)
        else:
            self._quarantine(group, index, position, "", *plan.refusal)

    def _quarantine(self, group: MessageGroup, index: int, position: int, route: str, reason: str, detail: str) -> None:
        count(self.ledger, QUARANTINED + reason)
        payload = group.payloads[index]
        self._output.quarantined.append(
            Quarantined(
                key=position << KEY_INDEX_BITS | index,
                wall_ns=group.wall_ns,
                topic=group.topics[index],
                payload=payload[:QUARANTINED_BYTES_MAX],
                route=route,
                reason=reason,
                detail=detail[:_DETAIL_CHARACTERS_MAX],
                cut_bytes=max(0, len(payload) - QUARANTINED_BYTES_MAX),
            )
        )

    def _fall_due(self) -> Iterator[Output]:
        """Close the windows of silent topics, seal the lanes whose linger has ended."""
        for route in self._windowed:
            closed, emitted = 0, self.ledger.get(EMITTED, 0)
            while (number := self._expire(route, self._at)) is not None:
                closed += number
                if closed >= SLICE_MESSAGES_MAX or self.ledger.get(EMITTED, 0) - emitted >= SLICE_EMITTED_MAX:
                    yield self._handed_over()
                    closed, emitted = 0, self.ledger.get(EMITTED, 0)
        for route in self._holding:
            released = 0
            while self._let_go(route, self._at):
                released += 1
                if released % SLICE_MESSAGES_MAX == 0:
                    yield self._handed_over()
        for builder in self._builders.values():
            if builder.due_at is not None and builder.due_at <= self._at:
                self._seal(builder)
        if self._output.batches:
            yield self._handed_over()

    def _seal_urgent(self) -> Iterator[Output]:
        """Seal what an entry brought to lanes that do not linger: not by slice, whose bounds may change."""
        for builder in self._urgent:
            self._seal(builder)
        if self._output.batches:
            yield self._handed_over()

    def _expire(self, route: CompiledRoute, at: int | None) -> int | None:
        """Close some windows of the topics that have been silent longest; return how many, None when none is due."""
        assert route.windows is not None
        if not route.windows.expire(at) and not route.windows.has_due:
            return None
        return self._emit_due(route, route.windows)

    def _let_go(self, route: CompiledRoute, at: int | None) -> bool:
        """Let the reading go on that a swinging door has held longest; False when none is due."""
        assert route.samplers is not None
        released = route.samplers.release(at)
        if released is not None:
            self._store(route, *released)
        return released is not None

    def _aggregate(self, route: CompiledRoute, windows: Windows, topic: str, time_ns: int, row: Row) -> None:
        """Take a row into the windows of its route, and give out what that closes."""
        if windows.take(topic, time_ns, row, self._at):
            count(self.ledger, AGGREGATED, len(row))
            if windows.has_due:
                self._emit_due(route, windows)
        elif windows.corrects:
            count(self.ledger, AGGREGATED, len(row))
            self._emit(route, topic, *windows.correction(time_ns, row))
        else:
            count(self.ledger, LATE, len(row))

    def _emit_due(self, route: CompiledRoute, windows: Windows) -> int:
        closed = windows.due(SLICE_EMITTED_MAX)
        for topic, start_ns, row in closed:
            self._emit(route, topic, start_ns, row)
        return len(closed)

    def _emit(self, route: CompiledRoute, topic: str, time_ns: int, row: Row) -> None:
        count(self.ledger, EMITTED, len(row))
        if row:
            self._store(route, topic, time_ns, row)

    def _store(self, route: CompiledRoute, topic: str, time_ns: int, row: Row) -> None:
        """Bring a row that steps have made or held back to its lane."""
        builder = route.builder
        if route.tags is not None:
            self._tag(route.tags[topic], row)
        route.readings_out += len(row)
        builder.append(topic, time_ns, row, self._at, sum(map(_text_bytes, row.values())))
        if builder.is_full:
            self._seal(builder)

    def _tag(self, tags: Mapping[str, str], row: Row) -> None:
        """Add to a row what the route says of its topic."""
        before = len(row)
        for name, text in tags.items():
            row.setdefault(name, text)
        count(self.ledger, TAGGED, len(row) - before)

    def _seal(self, builder: LaneBuilder) -> None:
        readings = builder.open_readings
        if readings:
            count(self.ledger, SEALED, readings)  # before the ledger is copied: the header counts its own readings
            self._output.batches.append(builder.take(self._wall_ns, self._clock, self.ledger))

    def _handed_over(self) -> Output:
        output, self._output = self._output, Output()
        return output


def _slices(payloads: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of runs of messages that are each bounded by number and by bytes."""
    start = 0
    while start < len(payloads):
        stop = min(start + SLICE_MESSAGES_MAX, len(payloads))
        sizes = list(map(len, payloads[start:stop]))
        if sum(sizes) > SLICE_BYTES_MAX:
            total = 0
            for number, size in enumerate(sizes, start + 1):
                total += size
                if total >= SLICE_BYTES_MAX:
                    stop = number
                    break
        yield start, stop
        start = stop


def _text_bytes(value: object) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode())
    return len(value) if isinstance(value, bytes) else 0
