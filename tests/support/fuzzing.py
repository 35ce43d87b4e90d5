"""Hostile inputs for every decoder and for the compiler of expressions, and what is asked of each answer.

A target takes bytes and says what became of them. `Fuzzer` mutates what it knows, tries it, and keeps what was answered
in a way not seen before, so that it works its way behind the first checks. For every input:

- nothing is raised but the target's own error, and what is returned keeps the contract of decoders;
- a second one of its kind, which was given the same inputs, answers the same;
- the CPU time and the peak of memory of the call are within `MOST_NS` and `MOST_BYTES` and so much more for each byte.

The inputs follow from the seed alone.
"""

from __future__ import annotations

import gc
import os
import random
import re
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import isfinite
from typing import get_args, get_type_hints

from gateway.config import schema
from gateway.decode.contract import FIELD_CHARACTERS_MAX, RECORDS_MAX, Limits, Record
from gateway.decode.formats import DOCUMENTS, decoding_of
from gateway.decode.sparkplug.decoder import Sparkplug
from gateway.errors import DecodeError, ExpressionError
from gateway.process.expression import compile_condition
from tests.support import fuzz_seeds
from tests.support.fuzz_seeds import CATALOGUE, CONTRACT_FILE, EXTREMES, HEAVY, NO_MESSAGES, SEEDS, TOKENS

ARRIVAL_NS = 1_780_000_000 * 10**9
TOPIC = "fuzz/line1/sensor7"
SPARKPLUG = "sparkplug"
EXPRESSION = "expression"
SPARKPLUG_TOPICS = tuple(
    f"spBv1.0/group/{kind}/edge{'/device' * (kind[0] == 'D')}"
    for kind in ("NBIRTH", "NDATA", "DBIRTH", "DDATA", "DDEATH", "NDEATH")
)
ROOMY = Limits()
LIMITS = (ROOMY, Limits(field_count_max=4, depth_max=2), Limits(fields=("value", "a", "t", "temperature")))
"""Inputs are tried under these in turn."""

IS_LONG = bool(os.environ.get("GATEWAY_LONG"))
INPUT_BYTES_MAX = (64 if IS_LONG else 4) * 1024
HEAVY_SHARE = 0.005
MOST_NS, MOST_NS_EACH = 20_000_000, 5_000
"""A compiled pattern is what takes longest of what is short."""
MOST_BYTES, MOST_BYTES_EACH = 256 * 1024, 256
EXPRESSION_BYTES_EACH = 4096
"""Trees of code are large, but those who configure write few, and none of more than 1000 characters."""
TRIES = 5
"""A call that takes too long is repeated so often: what the machine did beside it is no fault of it."""
ROUND = 1000
KNOWN_MAX, KNOWN_BYTES_MAX = 2000, 2048
"""What is built upon: short inputs, because most of the long ones are only slow."""

REASON = re.compile(r"[a-z][a-z0-9_]*")

Answer = tuple[str, object]
"""("refused", (reason, sentence)) or ("taken", what was returned)."""
Attempt = Callable[[bytes], Answer]


@dataclass(frozen=True)
class Target:
    """What is tried: `make` returns one that has seen nothing.

    `judge` holds an answer against the contract and returns what kind of answer it is.
    """

    name: str
    make: Callable[[Limits], Attempt]
    judge: Callable[[Answer, Limits], str]
    seeds: tuple[bytes, ...]
    bytes_max: int = INPUT_BYTES_MAX
    most_bytes_each: int = MOST_BYTES_EACH


@dataclass
class Report:
    """What the worst inputs took: (CPU ns or bytes of memory, bytes of the input).

    `ns_each` and `peak_each` are the most for each byte, of inputs of 1 KiB and more.
    """

    inputs: int = 0
    slowest: tuple[int, int] = (0, 0)
    ns_each: float = 0.0
    peak: tuple[int, int] = (0, 0)
    peak_each: float = 0.0
    kinds: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        return (
            f"{self.inputs:,} inputs, {len(self.kinds)} kinds of answers; "
            f"slowest {self.slowest[0] / 1e6:.2f} ms ({self.slowest[1]} bytes), at most {self.ns_each:.0f} ns/byte; "
            f"peak {self.peak[0] / 1024:.0f} KiB ({self.peak[1]} bytes), at most {self.peak_each:.0f} bytes/byte"
        )


def targets() -> dict[str, Target]:
    """Return everything that reads what others wrote, by name; decoders as routes get them."""
    routes = {name: _route(name) for name in all_formats()}
    for name in DOCUMENTS:
        routes[f"{name} rows"] = _route(name, rows=".")
        routes[f"{name} inner rows"] = _route(name, rows="e.a")
        routes[f"{name} contract"] = _route(name, schema_file=CONTRACT_FILE)
    single = schema.Avro(schema_file="climate.avsc", framing="single-object")
    routes["avro single-object"] = schema.Route(name="fuzz", topics=("#",), lane="fuzz", decoder="avro", avro=single)
    found = {name: Target(name, _decoder(route), _judge_rows, seeds_of(name)) for name, route in routes.items()}
    found[SPARKPLUG] = Target(SPARKPLUG, _sparkplug, _judge_rows, seeds_of(SPARKPLUG))
    found[EXPRESSION] = Target(
        EXPRESSION, _expression, _judge_expression, seeds_of(EXPRESSION), 2000, EXPRESSION_BYTES_EACH
    )
    return found


def _route(name: str, **options: object) -> schema.Route:
    return schema.Route(
        name="fuzz", topics=("#",), lane="fuzz", decoder=name, **fuzz_seeds.OPTIONS.get(name, {}), **options
    )


def all_formats() -> list[str]:
    """Return the names of all formats that a route can have."""
    return list(get_args(get_args(get_type_hints(schema.Route, include_extras=True)["decoder"])[0]))


def seeds_of(name: str) -> tuple[bytes, ...]:
    """Return payloads to begin with: the format's own, and those of the catalogue in the same encoding."""
    format_name = name.partition(" ")[0]
    encoding = next((word for word in ("json", "cbor", "msgpack") if word in format_name), "")
    files = sorted(path for path in CATALOGUE.glob("*/*") if not path.name.endswith(NO_MESSAGES))
    wanted = [path for path in files if format_name == path.parent.name or (encoding and path.suffix == f".{encoding}")]
    topic = b"\x01" if name == SPARKPLUG else b""
    return (*SEEDS.get(format_name, ()), *(topic + path.read_bytes() for path in wanted))


def _decoder(route: schema.Route) -> Callable[[Limits], Attempt]:
    def make(limits: Limits) -> Attempt:
        decoding = decoding_of(route, limits, fuzz_seeds.FILES)
        decode, records = decoding.row, decoding.records
        if records is not None:
            return attempt_of(lambda data: records(data, TOPIC, ARRIVAL_NS))
        assert decode is not None
        return attempt_of(lambda data: [Record("", None, decode(data))])

    return make


def _sparkplug(limits: Limits) -> Attempt:
    """The first byte says on which topic the others come; a birth is known before."""
    decoder = Sparkplug(limits)
    decoder.decode(fuzz_seeds.BIRTH, SPARKPLUG_TOPICS[0], ARRIVAL_NS)

    def decoded(data: bytes) -> object:
        topic = SPARKPLUG_TOPICS[data[0] % len(SPARKPLUG_TOPICS)] if data else TOPIC
        records = decoder.decode(data[1:], topic, ARRIVAL_NS)
        decoder.take_requests()
        return records

    return attempt_of(decoded)


def _expression(_: Limits) -> Attempt:
    def evaluated(data: bytes) -> object:
        keep = compile_condition(data.decode("utf-8", "surrogateescape"), "quarantine")
        results: list[object] = []
        for row in fuzz_seeds.ROWS:
            try:
                results.append(keep(row, TOPIC, ARRIVAL_NS, 2))
            except DecodeError as error:
                results.append(error.reason)
        return results

    return attempt_of(evaluated)


def attempt_of(work: Callable[[bytes], object]) -> Attempt:
    def attempt(data: bytes) -> Answer:
        try:
            return "taken", work(data)
        except DecodeError as error:
            return "refused", (error.reason, str(error))
        except ExpressionError as error:
            return "refused", (error.column, str(error))

    return attempt


def _judge_rows(answer: Answer, limits: Limits) -> str:
    """Hold records against what `gateway.decode.contract` promises."""
    how, what = answer
    if how == "refused":
        reason, fault = what
        assert REASON.fullmatch(reason), reason
        assert 0 < len(fault) < 1000
        return reason
    assert 1 <= len(what) <= RECORDS_MAX
    kinds = set()
    for series, time_ns, row in what:
        series.encode()
        assert time_ns is None or time_ns.__class__ is int
        assert 1 <= len(row) <= limits.field_count_max
        for name, value in row.items():
            assert name.__class__ is str and len(name) <= FIELD_CHARACTERS_MAX  # noqa: PT018  # the hot path
            name.encode()
            kinds.add(_kind_of(value))
    return f"{len(what).bit_length()} {sorted(kinds)}"


def _kind_of(value: object) -> str:
    kind = value.__class__
    if kind is int:
        assert -(2**63) <= value < 2**63
    elif kind is float:
        assert isfinite(value)
    elif kind is str:
        value.encode()
    else:
        assert kind is bool or kind is bytes, kind
    return kind.__name__


def _judge_expression(answer: Answer, _: Limits) -> str:
    how, what = answer
    if how == "refused":
        column, fault = what
        assert column >= 1
        assert 0 < len(fault) < 1000
        return fault.split(":")[0][:40]
    assert all(one is True or one is False or REASON.fullmatch(one) for one in what), what
    return str(what)


class Fuzzer:
    """Tries a target with inputs that follow from `seed`."""

    def __init__(self, target: Target, seed: int) -> None:
        self.target = target
        self.report = Report()
        self._chance = random.Random(f"{target.name} {seed}")
        self._known = list(target.seeds)
        self._turns = [(limits, target.make(limits), target.make(limits)) for limits in LIMITS]

    def run(self, inputs: int) -> Report:
        """Try so many inputs, the seeds first. Raises `AssertionError`, and what the target should not raise."""
        coming = self._inputs()
        while self.report.inputs < inputs:
            size = min(ROUND, inputs - self.report.inputs)
            self._round([next(coming) for _ in range(size)])
        return self.report

    def _inputs(self) -> Iterator[bytes]:
        for seed in (*self.target.seeds, *HEAVY):
            for _ in LIMITS:
                yield seed[: self.target.bytes_max]
        while True:
            yield self._mutated()

    def _round(self, inputs: list[bytes]) -> None:
        gc.collect()
        gc.disable()  # its pauses are no fault of the call in which they fall
        try:
            answers = [self._judged(number, data) for number, data in enumerate(inputs)]
        finally:
            gc.enable()
        self._weigh(inputs, answers)
        self.report.inputs += len(inputs)

    def _judged(self, number: int, data: bytes) -> Answer:
        limits, attempt, _ = self._turns[number % len(LIMITS)]
        try:
            answer = self._timed(attempt, data)
            kind = self.target.judge(answer, limits)
        except BaseException as error:  # what a library written in Rust panics with is no `Exception`
            raise AssertionError(f"{self.target.name}: {data[:200]!r} ({len(data)} bytes)") from error
        if kind not in self.report.kinds:
            self.report.kinds.add(kind)
            if len(data) <= KNOWN_BYTES_MAX:
                self._known.append(data)
                del self._known[len(self.target.seeds) : -KNOWN_MAX]
        return answer

    def _timed(self, attempt: Attempt, data: bytes) -> Answer:
        clock = time.thread_time_ns
        took, most = 1 << 63, MOST_NS + MOST_NS_EACH * len(data)
        for _ in range(TRIES):
            began = clock()
            answer = attempt(data)
            took = min(took, clock() - began)
            if took <= most:
                break
        assert took <= most, f"it took {took} ns"
        self.report.slowest = max(self.report.slowest, (took, len(data)))
        if len(data) >= 1024:
            self.report.ns_each = max(self.report.ns_each, took / len(data))
        return answer

    def _weigh(self, inputs: list[bytes], answers: list[Answer]) -> None:
        """Give the same inputs to the others, and see how much memory they take."""
        tracemalloc.start(1)
        try:
            for number, (data, answer) in enumerate(zip(inputs, answers, strict=True)):
                attempt = self._turns[number % len(LIMITS)][2]
                before = tracemalloc.get_traced_memory()[0]
                tracemalloc.reset_peak()
                again = attempt(data)
                taken = tracemalloc.get_traced_memory()[1] - before
                assert again == answer, f"{self.target.name}: {data[:200]!r} was answered in two ways"
                most = MOST_BYTES + self.target.most_bytes_each * len(data)
                assert taken <= most, f"{self.target.name}: {taken} bytes for {len(data)} bytes {data[:200]!r}"
                self.report.peak = max(self.report.peak, (taken, len(data)))
                if len(data) >= 1024:
                    self.report.peak_each = max(self.report.peak_each, taken / len(data))
        finally:
            tracemalloc.stop()

    def _mutated(self) -> bytes:
        chance = self._chance
        data = bytearray(
            chance.choice(HEAVY if chance.random() < HEAVY_SHARE else self._known)[: self.target.bytes_max]
        )
        for _ in range(1 + int(chance.expovariate(0.7))):
            chance.choice(MUTATIONS)(self, data)
        return bytes(data[: self.target.bytes_max])

    def _place(self, data: bytearray) -> int:
        return int(self._chance.random() * (len(data) + 1))

    def _span(self, data: bytearray, most: int = 64) -> slice:
        start = self._place(data)
        return slice(start, start + 1 + int(self._chance.random() * most))

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self._place(data[1:])] ^= 1 << self._chance.randrange(8)

    def _set(self, data: bytearray) -> None:
        if data:
            data[self._place(data[1:])] = self._chance.randrange(256)

    def _remove(self, data: bytearray) -> None:
        del data[self._span(data)]

    def _cut(self, data: bytearray) -> None:
        del data[self._place(data) :]

    def _insert(self, data: bytearray) -> None:
        at = self._place(data)
        data[at:at] = self._chance.choice(TOKENS)

    def _replace(self, data: bytearray) -> None:
        data[self._span(data, 8)] = self._chance.choice(TOKENS)

    def _extreme(self, data: bytearray) -> None:
        numbers = list(re.finditer(rb"-?\d+(?:\.\d+)?", data))[:200]
        if numbers:
            found = self._chance.choice(numbers)
            data[found.start() : found.end()] = self._chance.choice(EXTREMES)

    def _repeat(self, data: bytearray) -> None:
        """Write a part many times: what takes more than its share of time shows."""
        span = self._span(data)
        part = bytes(data[span])
        times = min(1 << self._chance.randrange(14), self.target.bytes_max // max(len(part), 1))
        data[span] = part * times
        del data[self.target.bytes_max :]

    def _splice(self, data: bytearray) -> None:
        other = self._chance.choice(self._known)
        start = self._place(bytearray(other))
        data[self._place(data) :] = other[start:]


MUTATIONS = (
    *(Fuzzer._flip, Fuzzer._set, Fuzzer._remove, Fuzzer._insert, Fuzzer._replace, Fuzzer._extreme, Fuzzer._splice) * 4,
    *(Fuzzer._cut, Fuzzer._repeat),
)
