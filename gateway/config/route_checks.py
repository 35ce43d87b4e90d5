"""What the options of routes must be to each other, and to the lanes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.config import schema
from gateway.config.finding import Finding
from gateway.config.units import duration_text
from gateway.config.values import nearest
from gateway.errors import ExpressionError
from gateway.process.expression import compile_condition
from gateway.process.topics import filter_fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.config.positions import Place

_SUMMARIES: Final = frozenset({"count", "sum", "mean", "stddev", "p50", "p90", "p95", "p99"})
"""Functions whose result is wrong, not just coarse, when sampling by change has left readings out."""

_SIZE_MIN_NS: Final = 1_000_000
_HOPS_MAX: Final = 16
"""Windows that may overlap: each costs as much as one of its own."""

_DOCUMENTS: Final = frozenset({"json", "cbor", "msgpack"})
_TIMED: Final = frozenset({"senml-json", "senml-cbor", "line", "sparkplug"})
_BARE: Final = frozenset({"scalar", "raw"})

_SCHEMATIC: Final = frozenset({"protobuf", "avro"})
_VERSION_CHARACTERS_MAX: Final = 64

_ONE_OF: Final = ("deadband", "percent", "on_change", "swinging_door")
"""Each decides alone which readings of a field go on."""


def route_findings(routes: Sequence[schema.Route], lanes: Sequence[schema.Lane]) -> Iterator[Finding]:
    """Yield everything that is wrong with the routes."""
    yield from _topics(routes)
    for number, route in enumerate(routes):
        yield from _lane_of_route(route, ("route", number), lanes)
        yield from _route(route, ("route", number))


def _topics(routes: Sequence[schema.Route]) -> Iterator[Finding]:
    taken: dict[str, int] = {}
    for number, route in enumerate(routes):
        place: Place = ("route", number, "topics")
        for pattern in route.topics:
            fault = filter_fault(pattern)
            if fault:
                yield Finding(f'the topic filter "{pattern}" cannot be used, {fault}: correct it', (place,))
            first = taken.setdefault(pattern, number)
            if first != number:
                sentence = f'"{pattern}" is taken by the route "{routes[first].name}" before this one: remove it here'
                yield Finding(sentence, (place, ("route", first)))


def _lane_of_route(route: schema.Route, place: Place, lanes: Sequence[schema.Lane]) -> Iterator[Finding]:
    names = [lane.name for lane in lanes]
    if names and route.lane not in names:
        close = nearest(route.lane, names)
        hint = f'did you mean "{close}"?' if close else f"the lanes are {', '.join(names)}"
        rests_on = (("spool", "lanes", number, "name") for number in range(len(lanes)))
        yield Finding(f'no lane is named "{route.lane}"; {hint}', ((*place, "lane"), *rests_on))


def _route(route: schema.Route, place: Place) -> Iterator[Finding]:
    if route.keep:
        try:
            compile_condition(route.keep, route.keep_fault)
        except ExpressionError as error:
            yield Finding(f"column {error.column} of the expression: {error.fault}", ((*place, "keep"),))
    yield from _decoder(route, place)
    yield from _csv(route.csv, (*place, "csv"))
    for decoder, key in (("protobuf", "descriptor_file"), ("protobuf", "message"), ("avro", "schema_file")):
        if route.decoder == decoder and not getattr(getattr(route, decoder), key):
            yield Finding(f"is needed by the decoder {decoder}: set it", ((*place, decoder, key), place))
    yield from _schema_version(route, place)
    if route.duplicates is not None:
        yield from _duplicates(route, route.duplicates, place)
    yield from _fields(route, place)
    yield from _sample(route, route.sample, (*place, "sample"), place)
    if route.under_pressure is not None:
        here: Place = (*place, "under_pressure", "sample")
        yield from _sample(route, route.under_pressure.sample, here, place)
        if route.under_pressure.sample.swinging_door:
            sentence = "holds readings back, which is no relief: use another step"
            yield Finding(sentence, ((*here, "swinging_door"),))
    yield from _window(route, place)


def _duplicates(route: schema.Route, duplicates: schema.Duplicates, place: Place) -> Iterator[Finding]:
    """Look at what names a row; the time of arrival does not, for messages of one commit have the same."""
    if duplicates.key:
        yield from _unknown_field(route, place, (*place, "duplicates", "key"), duplicates.key)
    elif not route.time.field and route.decoder not in _TIMED:
        sentence = (
            "need a key, or a time in the payload, for messages that arrive together have the same time of arrival"
        )
        sentence = f"{sentence}: set key, or time.field"
        yield Finding(sentence, ((*place, "duplicates"), (*place, "time", "field"), place))


def _schema_version(route: schema.Route, place: Place) -> Iterator[Finding]:
    version, here = route.schema_version, (*place, "schema_version")
    if version and not route.schema_file and route.decoder not in _SCHEMATIC:
        yield Finding("is the version of no schema: set schema_file, or remove it", (here, (*place, "schema_file")))
    if len(version) > _VERSION_CHARACTERS_MAX or not version.isprintable():
        yield Finding(f"must be at most {_VERSION_CHARACTERS_MAX} characters that can be printed: shorten it", (here,))


def _fields(route: schema.Route, place: Place) -> Iterator[Finding]:
    for number, one in enumerate(route.field):
        here: Place = (*place, "field", number)
        if one.protect in ("hash", "encrypt") and not route.key_file:
            sentence = f'to {one.protect} "{one.name}" the route needs a key: set key_file'
            yield Finding(sentence, ((*here, "protect"), (*place, "key_file")))


def _decoder(route: schema.Route, place: Place) -> Iterator[Finding]:
    """Look at options that only some decoders have."""
    has_time, is_document = bool(route.time.field), route.decoder in _DOCUMENTS
    misplaced: tuple[tuple[bool, tuple[str, ...], str], ...] = (
        (route.decoder in _BARE and bool(route.fields), ("fields",), "has no fields to take"),
        (route.decoder in _BARE and has_time, ("time", "field"), "has no time field"),
        (route.decoder in _TIMED and has_time, ("time", "field"), "states its times itself"),
        (bool(route.rows) and not is_document, ("rows",), "has no arrays of rows that a path leads to"),
        (bool(route.schema_file) and not is_document, ("schema_file",), "is no document that a JSON Schema is about"),
        (route.senml.unit and not route.decoder.startswith("senml"), ("senml",), "is no SenML"),
        (route.csv != schema.Csv() and route.decoder != "csv", ("csv",), "is no CSV"),
        (route.sparkplug != schema.Sparkplug() and route.decoder != "sparkplug", ("sparkplug",), "is no Sparkplug"),
        (route.avro != schema.Avro() and route.decoder != "avro", ("avro",), "is no Avro"),
        (route.protobuf != schema.Protobuf() and route.decoder != "protobuf", ("protobuf",), "is no Protobuf"),
        (route.line != schema.Line() and route.decoder != "line", ("line",), "is no line protocol"),
    )
    for is_wrong, keys, why in misplaced:
        if is_wrong:
            sentence = f"a payload of the decoder {route.decoder} {why}: remove it"
            yield Finding(sentence, ((*place, *keys), (*place, "decoder")))


def _csv(csv: schema.Csv, place: Place) -> Iterator[Finding]:
    if len(csv.delimiter) != 1 or not csv.delimiter.isascii() or csv.delimiter in '"\r\n':
        yield Finding("must be one ASCII character, and neither a quote nor a new line", ((*place, "delimiter"),))
    for name in csv.series:
        if csv.columns and name not in csv.columns:
            yield Finding(f'"{name}" is not among the columns: add it there', ((*place, "series"), (*place, "columns")))


def _unknown_field(route: schema.Route, place: Place, where: Place, name: str) -> Iterator[Finding]:
    renamed = {field.name: field.rename for field in route.field if field.rename}
    if route.fields and name not in {renamed.get(one, one) for one in route.fields}:
        sentence = f'"{name}" is not among the route\'s fields: add it there, or remove it here'
        yield Finding(sentence, (where, (*place, "fields")))


def _sample(route: schema.Route, sample: schema.Sample, here: Place, place: Place) -> Iterator[Finding]:
    yield from _bands(route, sample, here, place)
    seen: dict[str, str] = {}
    for key in _ONE_OF:
        for name in getattr(sample, key):
            first = seen.setdefault(name, key)
            if first != key:
                sentence = f'"{name}" is in {first} as well, and one of them must decide: remove it from the other'
                yield _of_sample(here, sentence, key, first)
    if sample.silence_ns and not seen:
        sentence = "does nothing without a deadband, percent, on_change or swinging_door: set one"
        yield _of_sample(here, sentence, "silence", *_ONE_OF)
    if sample.every_silence_ns and sample.every == 1:
        yield _of_sample(here, "does nothing while every row goes on: set every", "every_silence", "every")


def _bands(route: schema.Route, sample: schema.Sample, here: Place, place: Place) -> Iterator[Finding]:
    """Look at each field that a change is given for."""
    for key in ("deadband", "percent", "floor", "swinging_door"):
        for name, band in getattr(sample, key).items():
            if band <= 0:
                yield _of_sample(here, f'the {key} of "{name}" is {band:g}: give a change above 0', key)
            yield from _unknown_field(route, place, (*here, key), name)
    for name in sample.on_change:
        yield from _unknown_field(route, place, (*here, "on_change"), name)
    for name in sorted(sample.floor.keys() - sample.percent.keys()):
        sentence = f'"{name}" has a floor and no percent that it belongs to: add that, or remove it'
        yield _of_sample(here, sentence, "floor", "percent")


def _of_sample(here: Place, sentence: str, *keys: str) -> Finding:
    return Finding(sentence, tuple((*here, key) for key in keys))


def _window(route: schema.Route, place: Place) -> Iterator[Finding]:
    window, sample = route.window, route.sample
    if window is None:
        return
    yield from _shape(window, (*place, "window"))
    if sample.interval_ns > window.size_ns > 0:
        interval, size = duration_text(sample.interval_ns), duration_text(window.size_ns)
        sentence = f"one row in {interval} leaves windows of {size} empty: lower it, or lengthen the window"
        yield Finding(sentence, ((*place, "sample", "interval"), (*place, "window", "size")))
    wrong = [name for name in window.functions if name in _SUMMARIES]
    for key in ("deadband", "percent", "on_change"):
        if getattr(sample, key) and wrong:
            sentence = f"would compute {', '.join(wrong)} of what the {key} leaves, not of what was measured"
            hint = f"remove them, or the {key}"
            yield Finding(f"{sentence}: {hint}", ((*place, "window", "functions"), (*place, "sample", key)))
    if sample.swinging_door:
        sentence = "holds readings back until they are too late for a window: remove it, or the window"
        yield Finding(sentence, ((*place, "sample", "swinging_door"), (*place, "window")))


def _shape(window: schema.Window, place: Place) -> Iterator[Finding]:
    """Look at what kind of windows these are."""

    def finding(sentence: str, *keys: str) -> Finding:
        return Finding(sentence, tuple((*place, key) for key in keys))

    if window.gap_ns and (window.size_ns or window.hop_ns):
        yield finding("a session has no fixed length: remove size and hop, or gap", "gap", "size", "hop")
    elif not window.gap_ns and window.size_ns < _SIZE_MIN_NS:
        yield finding("a window needs a size of at least 1ms, or a gap for sessions: set one", "size", "gap")
    elif window.hop_ns and not window.hop_ns <= window.size_ns <= _HOPS_MAX * window.hop_ns:
        size = duration_text(window.size_ns)
        sentence = f"must lie between the size, {size}, and {_HOPS_MAX}th of it: each row goes into all that overlap"
        yield finding(sentence, "hop", "size")
    elif window.hop_ns and window.size_ns % window.hop_ns:
        yield finding("the size must be a multiple of the hop: change one of them", "hop", "size")
