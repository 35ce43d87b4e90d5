"""Options of a route: what its messages are, which of their readings go on, and where to."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from gateway.config.section import DURATION, MIB, MS, SIZE, Name, S, Section, option


class Time(Section, frozen=True, kw_only=True):
    """Where a route's readings get their time from."""

    field: Annotated[str, option("Path of the payload's time field; empty means the time of arrival.")] = ""
    unit: Annotated[
        Literal["s", "ms", "us", "ns", "iso8601"], option("Unit of a numeric time field, or ISO 8601 text.")
    ] = "ms"
    ahead_ns: Annotated[
        int,
        option(
            "How far a reading's time may lie after its arrival; further goes to quarantine.",
            unit=DURATION,
            low=0,
            high=3650 * 86400 * S,
        ),
    ] = 300 * S


class SenML(Section, frozen=True, kw_only=True):
    """How SenML packs (RFC 8428) become readings."""

    unit: Annotated[bool, option("Keep the unit of each record as a text field `unit`.")] = False


class Protobuf(Section, frozen=True, kw_only=True):
    """How Protobuf messages become readings."""

    descriptor_file: Annotated[
        str, option("File with a descriptor set, as `protoc --descriptor_set_out --include_imports` writes it.")
    ] = ""
    message: Annotated[str, option("Name of the message in it, with its package.")] = ""


class Avro(Section, frozen=True, kw_only=True):
    """How Avro becomes readings."""

    schema_file: Annotated[str, option("File with the Avro schema, in JSON, that payloads were written under.")] = ""
    reader_schema_file: Annotated[
        str, option("File with the Avro schema that they are read as, if it is another. Empty: as they were written.")
    ] = ""
    framing: Annotated[
        Literal["bare", "single-object"],
        option("Whether payloads are bare, or begin with the fingerprint of their schema (single-object encoding)."),
    ] = "bare"


class Sparkplug(Section, frozen=True, kw_only=True):
    """How Sparkplug B becomes readings."""

    rebirth: Annotated[bool, option("Ask an edge node for a new birth where one is missing, or a sequence number.")] = (
        True
    )
    rebirth_interval_ns: Annotated[
        int,
        option("Least time between two such requests to an edge node.", unit=DURATION, low=S, high=86400 * S),
    ] = 60 * S
    nodes_max: Annotated[
        int, option("Edge nodes whose births are remembered.", unit="edge nodes", low=1, high=100_000)
    ] = 1_000
    metrics_max: Annotated[
        int, option("Metrics of all births that are remembered.", unit="metrics", low=1, high=10_000_000)
    ] = 100_000
    historical: Annotated[
        Literal["take", "mark", "leave_out"],
        option("Metrics that an edge node kept while it was offline: mark gives their rows a field that says so."),
    ] = "take"
    transient: Annotated[Literal["take", "leave_out"], option("Metrics that are not meant to be stored.")] = "take"


class Line(Section, frozen=True, kw_only=True):
    """How InfluxDB line protocol becomes readings."""

    precision: Annotated[Literal["s", "ms", "us", "ns"], option("Unit of the times that lines state.")] = "ns"


class Csv(Section, frozen=True, kw_only=True):
    """How CSV becomes readings."""

    columns: Annotated[
        tuple[str, ...], option("Names of the columns, empty for one to leave out; none: the first line has them.")
    ] = ()
    series: Annotated[tuple[str, ...], option("Columns whose cells name the series, joined by a slash.")] = ()
    delimiter: Annotated[str, option("What stands between two cells.")] = ","
    comment: Annotated[str, option("Lines that begin with this are passed over; empty: none.")] = ""


class Field(Section, frozen=True, kw_only=True):
    """What is done with one field right after decoding: rename, then rescale, then protect."""

    name: Annotated[str, option("Path of the field as it was decoded.")]
    rename: Annotated[str, option("Its name from here on; empty keeps the name.")] = ""
    factor: Annotated[float, option("A number is multiplied by this, to change its unit.", low=-1e12, high=1e12)] = 1.0
    offset: Annotated[float, option("And then this is added.", low=-1e12, high=1e12)] = 0.0
    protect: Annotated[
        Literal["none", "remove", "hash", "encrypt"],
        option("Personal data: remove it, or put a keyed hash or the encrypted value in its place."),
    ] = "none"


class Tag(Section, frozen=True, kw_only=True):
    """Fields that are added to every row of some topics as it goes to its lane: what the payload does not say."""

    topics: Annotated[tuple[str, ...], option("Topic filters; the series that a payload names is part of the topic.")]
    fields: Annotated[dict[str, str], option("Field → text; a field that the row has already stays as it is.")]


class Sample(Section, frozen=True, kw_only=True):
    """Which rows of a topic go on. All that are set apply, in the order of these options."""

    share: Annotated[float, option("Share of the topics, or series, that is taken, by hash.", low=0, high=1)] = 1.0
    share_of: Annotated[
        Literal["topics", "series"], option("What the share is of: whole topics, or fields of topics.")
    ] = "topics"
    every: Annotated[int, option("Keep one row of this many.", unit="rows", low=1, high=1_000_000)] = 1
    every_silence_ns: Annotated[
        int,
        option(
            "A row that lies this far in event time from the last that `every` kept is kept, too; 0 means never.",
            unit=DURATION,
            low=0,
            high=365 * 86400 * S,
        ),
    ] = 0
    interval_ns: Annotated[
        int,
        option(
            "Keep at most one row in this much event time; 0 keeps all.",
            unit=DURATION,
            low=0,
            high=365 * 86400 * S,
        ),
    ] = 0
    deadband: Annotated[
        dict[str, float],
        option("Field → least change that is worth a reading; other readings of the field are left out."),
    ] = msgspec.field(default_factory=dict)
    on_change: Annotated[tuple[str, ...], option("Fields whose readings are left out while they do not change.")] = ()
    percent: Annotated[
        dict[str, float],
        option("Field → least change that is worth a reading, in percent of the last one that went on."),
    ] = msgspec.field(default_factory=dict)
    floor: Annotated[
        dict[str, float],
        option("Field under `percent` → least change that is worth a reading, in the field's own unit."),
    ] = msgspec.field(default_factory=dict)
    swinging_door: Annotated[
        dict[str, float],
        option("Field → most that a reading left out may lie beside the straight line between those that go on."),
    ] = msgspec.field(default_factory=dict)
    idle_ns: Annotated[
        int,
        option(
            "How long a swinging door holds a reading back when no other follows.",
            unit=DURATION,
            low=100 * MS,
            high=86400 * S,
        ),
    ] = 60 * S
    silence_ns: Annotated[
        int,
        option(
            "A field under deadband, percent, on_change or swinging_door goes on at least this often in event time; "
            "0 means no bound.",
            unit=DURATION,
            low=0,
            high=365 * 86400 * S,
        ),
    ] = 0


class Duplicates(Section, frozen=True, kw_only=True):
    """What was said before is left out: by a key, or by series and time. Needs memory for what it must remember."""

    key: Annotated[str, option("Field whose value names a row; empty: a reading is named by its series and time.")] = ""
    scope: Annotated[
        Literal["topic", "route"], option("Whether keys are compared within a topic or over the whole route.")
    ] = "topic"
    keys_max: Annotated[
        int, option("Keys remembered, about 240 bytes of memory each.", unit="keys", low=1, high=1_000_000)
    ] = 10_000
    span_ns: Annotated[
        int,
        option(
            "How long a key is remembered, on the node's own clock.", unit=DURATION, low=100 * MS, high=31 * 86400 * S
        ),
    ] = 600 * S


class UnderPressure(Section, frozen=True, kw_only=True):
    """What is left out besides while the node is short of something; see `[pressure]`."""

    when: Annotated[
        tuple[Literal["ring", "link", "memory"], ...],
        option(
            "What is minded: the ring of the route's lane is nearly full; a required region is away; most of the memory"
            " that the node may use is used."
        ),
    ] = ("ring", "link")
    sample: Annotated[Sample, option("Which rows still go on.")] = msgspec.field(default_factory=Sample)


class Limit(Section, frozen=True, kw_only=True):
    """How many messages are taken in; what is over the limit is shed, and counted."""

    messages_per_second: Annotated[float, option("Messages a second, on average.", low=0.001, high=1e6)]
    burst: Annotated[
        int, option("Messages that may come at once after a rest.", unit="messages", low=1, high=1_000_000)
    ] = 100
    scope: Annotated[Literal["topic", "route"], option("Whether this is for each topic, or for the whole route.")] = (
        "topic"
    )


class Window(Section, frozen=True, kw_only=True):
    """Windows in event time: what goes on is one row per topic and window, at the window's start."""

    size_ns: Annotated[int, option("Length of a window; 0 with `gap`.", unit=DURATION, low=0, high=31 * 86400 * S)] = 0
    hop_ns: Annotated[
        int,
        option(
            "A window begins this often, so windows overlap; 0: when the last one ends.",
            unit=DURATION,
            low=0,
            high=31 * 86400 * S,
        ),
    ] = 0
    gap_ns: Annotated[
        int,
        option(
            "Sessions: a window lasts as long as rows follow each other within this; 0: no sessions.",
            unit=DURATION,
            low=0,
            high=86400 * S,
        ),
    ] = 0
    watermark: Annotated[
        Literal["topic", "route"], option("Whose newest time closes windows: the topic's own, or that of any topic.")
    ] = "topic"
    lateness_ns: Annotated[
        int,
        option(
            "How far behind the newest reading a reading may still come.",
            unit=DURATION,
            low=0,
            high=86400 * S,
        ),
    ] = 0
    late: Annotated[
        Literal["drop", "correct"],
        option("What becomes of a later one: counted as late, or a row of its own with the field `late`."),
    ] = "drop"
    idle_ns: Annotated[
        int,
        option("Silence of a topic after which its windows close.", unit=DURATION, low=100 * MS, high=86400 * S),
    ] = 60 * S
    functions: Annotated[
        tuple[
            Literal[
                "count", "sum", "min", "max", "mean", "first", "last", "stddev", "increase", "rate", "twmean",
                "p50", "p90", "p95", "p99",
            ],
            ...,
        ],
        option("What is computed of each field; the reading's field is named `field.function`."),
    ] = ("count", "min", "max", "mean")  # fmt: skip


class Route(Section, frozen=True, kw_only=True):
    """Topic filters → decoder → steps → lane. The first route that matches a topic takes it."""

    name: Annotated[Name, option("Name of the route, for counts and messages.")]
    topics: Annotated[tuple[str, ...], option("MQTT topic filters that this route subscribes to and takes.")]
    lane: Annotated[Name, option("Lane that the readings go to.")]
    decoder: Annotated[
        Literal[
            "json",
            "cbor",
            "msgpack",
            "scalar",
            "raw",
            "line",
            "csv",
            "senml-json",
            "senml-cbor",
            "sparkplug",
            "protobuf",
            "avro",
        ],
        option("What the payload is; see the page of each format."),
    ] = "json"
    rows: Annotated[
        str,
        option("Path to an array in a JSON, CBOR or MessagePack document whose objects are rows; `.`: the document."),
    ] = ""
    schema_file: Annotated[
        str, option("File with a JSON Schema that JSON, CBOR and MessagePack documents must keep. Empty: none.")
    ] = ""
    schema_version: Annotated[
        str,
        option("Version of the route's schema, of any decoder that has one, as rejections and the status name it."),
    ] = ""
    protobuf: Annotated[Protobuf, option("For the decoder protobuf.")] = msgspec.field(default_factory=Protobuf)
    avro: Annotated[Avro, option("For the decoder avro.")] = msgspec.field(default_factory=Avro)
    sparkplug: Annotated[Sparkplug, option("For the decoder sparkplug.")] = msgspec.field(default_factory=Sparkplug)
    line: Annotated[Line, option("For the decoder line.")] = msgspec.field(default_factory=Line)
    csv: Annotated[Csv, option("For the decoder csv.")] = msgspec.field(default_factory=Csv)
    senml: Annotated[SenML, option("For the decoders senml-json and senml-cbor.")] = msgspec.field(
        default_factory=SenML
    )
    qos: Annotated[int, option("QoS of the subscription; 2 is granted as 1.", low=0, high=2)] = 1
    fields: Annotated[
        tuple[str, ...],
        option("Paths of the fields to take; empty means all. Nested names are joined by a dot."),
    ] = ()
    field_count_max: Annotated[int, option("Most fields in one payload.", unit="fields", low=1, high=10_000)] = 256
    depth_max: Annotated[int, option("Deepest nesting in one payload.", low=1, high=64)] = 8
    payload_bytes_max: Annotated[
        int,
        option(
            "Largest payload of the route. 0 means 128 KiB where a payload has many rows, else the broker's.",
            unit=SIZE,
            low=0,
            high=16 * MIB,
        ),
    ] = 0
    limit: Annotated[Limit | None, option("Limit of messages; absent means none.")] = None
    topics_max: Annotated[
        int,
        option(
            "Most topics, or series in payloads; messages of more go to quarantine. 0 means no limit.",
            unit="topics",
            low=0,
            high=1_000_000,
        ),
    ] = 0
    field: Annotated[tuple[Field, ...], option("Changes of single fields, in order.")] = ()
    tag: Annotated[tuple[Tag, ...], option("Fields that are added; where several set one, the first does.")] = ()
    key_file: Annotated[
        str, option("File with the key that fields are hashed and encrypted under: 64 hex digits. Empty: none.")
    ] = ""
    keep: Annotated[str, option("Expression; rows for which it is not true are filtered. Empty keeps all.")] = ""
    keep_fault: Annotated[
        Literal["drop", "keep", "quarantine"],
        option("What becomes of a row for which `keep` cannot be computed."),
    ] = "drop"
    time: Annotated[Time, option("Where readings get their time from.")] = msgspec.field(default_factory=Time)
    sample: Annotated[Sample, option("Which rows go on.")] = msgspec.field(default_factory=Sample)
    duplicates: Annotated[Duplicates | None, option("De-duplication; absent means everything goes on.")] = None
    under_pressure: Annotated[
        UnderPressure | None, option("What is left out besides under pressure; absent means nothing.")
    ] = None
    window: Annotated[Window | None, option("Aggregation; absent means readings go on as they are.")] = None
