"""Every option of `gateway.toml`, declared once: name, type, default, bounds, unit and one sentence.

The loader, the reference page, the JSON Schema and `gateway config explain` are all made from these Structs. TOML keys
are the attribute names without a trailing `_ns`: durations are written as text with a unit ("250ms", "30s", "7d") and
kept in nanoseconds; sizes are written as text with a unit ("8MiB", "64kB") or as a number of bytes, and kept in bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import field

from gateway.config.section import DURATION, GIB, KIB, MIB, MS, SIZE, Name, S, Section, option


class Node(Section, frozen=True, kw_only=True):
    """The box itself."""

    id: Annotated[Name, option("Name of this box, unique in the fleet; part of every batch's identity.")]
    state_folder: Annotated[
        str, option("Folder for journal, spool, checkpoints and quarantine; created when missing.")
    ] = "/var/lib/edge-gateway"
    status_socket: Annotated[
        str, option("Unix socket that `gateway status` asks; empty means `gateway.sock` in the state folder.")
    ] = ""

    endurance_tbw: Annotated[
        float,
        option(
            "Terabytes that the flash may be written in its life, by its data sheet; 0 means unknown.", low=0, high=1e6
        ),
    ] = 0.0

    @property
    def socket_path(self) -> Path:
        """The path of the status socket."""
        return Path(self.status_socket) if self.status_socket else Path(self.state_folder) / "gateway.sock"


class Broker(Section, frozen=True, kw_only=True):
    """The local MQTT 5 broker that the sensors publish to."""

    host: Annotated[str, option("Host name or address of the local broker.")] = "127.0.0.1"
    port: Annotated[int, option("TCP port of the local broker.", low=1, high=65535)] = 1883
    client_id: Annotated[
        str,
        option("MQTT client id, names our session at the broker; empty means `edge-gateway-` and the node id."),
    ] = ""
    username: Annotated[str, option("MQTT user name; empty means none is sent.")] = ""
    password_file: Annotated[str, option("File whose first line is the MQTT password; empty means none.")] = ""
    tls_ca: Annotated[str, option("PEM file of the CA that signed the broker's certificate; set, TLS is used.")] = ""
    tls_certificate: Annotated[str, option("PEM file of our client certificate; empty means none is shown.")] = ""
    tls_key: Annotated[str, option("PEM file of the key to `tls_certificate`.")] = ""
    keep_alive_ns: Annotated[
        int,
        option(
            "Silence after which we ping, and twice of which ends the connection.",
            unit=DURATION,
            low=S,
            high=3600 * S,
        ),
    ] = 30 * S
    session_expiry_ns: Annotated[
        int,
        option(
            "How long the broker keeps our session while we are away.",
            unit=DURATION,
            low=60 * S,
            high=365 * 86400 * S,
        ),
    ] = 7 * 86400 * S
    receive_maximum: Annotated[
        int,
        option(
            "Messages that the broker may have sent and we have not acknowledged.",
            unit="messages",
            low=1,
            high=65535,
        ),
    ] = 2000
    packet_bytes_max: Annotated[
        int,
        option(
            "Largest MQTT packet that is accepted; a larger one ends the connection.",
            unit=SIZE,
            low=KIB,
            high=64 * MIB,
        ),
    ] = 8 * MIB
    payload_bytes_max: Annotated[
        int,
        option(
            "Largest payload that is decoded; a larger one goes to quarantine, cut.",
            unit=SIZE,
            low=64,
            high=16 * MIB,
        ),
    ] = MIB
    topic_bytes_max: Annotated[
        int,
        option("Longest topic that is decoded; a longer one goes to quarantine.", unit=SIZE, low=16, high=65535),
    ] = KIB
    qos0_waiting_max: Annotated[
        int,
        option(
            "QoS 0 messages that may wait for the journal; more are shed and counted.",
            unit="messages",
            low=1,
            high=1_000_000,
        ),
    ] = 20_000
    waiting_bytes_max: Annotated[
        int,
        option(
            "Payload bytes that may wait for the journal; past it the broker is not read and QoS 0 is shed.",
            unit=SIZE,
            low=MIB,
            high=GIB,
        ),
    ] = 32 * MIB
    retain_handling: Annotated[
        Literal["always", "new", "never"],
        option("Retained messages on subscribing: always, only for a new subscription, or never."),
    ] = "new"


class Journal(Section, frozen=True, kw_only=True):
    """The log of inputs: a message is acknowledged after it is durable here."""

    commit_interval_ns: Annotated[
        int,
        option("Wait of a message for its group commit while much comes.", unit=DURATION, low=MS, high=10 * S),
    ] = 20 * MS
    commit_interval_max_ns: Annotated[
        int,
        option(
            "Wait while little comes, so that each commit fills a page of flash; never more than the lane's linger.",
            unit=DURATION,
            low=MS,
            high=60 * S,
        ),
    ] = S
    commit_bytes: Annotated[
        int, option("Payload bytes that make a group commit at once.", unit=SIZE, low=KIB, high=16 * MIB)
    ] = 512 * KIB
    segment_bytes: Annotated[
        int, option("Size of a journal file; a new one is begun past it.", unit=SIZE, low=64 * KIB, high=GIB)
    ] = 16 * MIB
    checkpoint_growth: Annotated[
        float,
        option(
            "A checkpoint is taken when the journal has grown to this multiple of the last checkpoint's size.",
            low=1,
            high=1000,
        ),
    ] = 8.0
    checkpoint_bytes_min: Annotated[
        int, option("Journal growth below which no checkpoint is taken.", unit=SIZE, low=64 * KIB, high=GIB)
    ] = 2 * MIB
    checkpoint_interval_ns: Annotated[
        int,
        option("Longest time between checkpoints while there is input.", unit=DURATION, low=S, high=86400 * S),
    ] = 600 * S


class Lane(Section, frozen=True, kw_only=True):
    """A priority class with its own ring and its own sequence. The first lane listed is the most important one."""

    name: Annotated[Name, option("Name of the lane; routes refer to it.")]
    bytes_max: Annotated[int, option("Size of the lane's ring on disk.", unit=SIZE, low=128 * KIB, high=1024 * GIB)] = (
        256 * MIB
    )
    bytes_reserved: Annotated[
        int,
        option("Disk that no other lane may take from this one.", unit=SIZE, low=0, high=1024 * GIB),
    ] = 0
    policy: Annotated[
        Literal["evict_oldest", "thin", "refuse"],
        option(
            "When the ring is full: evict the oldest batches (ledgered), make them coarser first, or refuse"
            " (back-pressure to the broker)."
        ),
    ] = "evict_oldest"
    thin_interval_ns: Annotated[
        int,
        option(
            "With policy thin: one row per topic and interval is left of the oldest batches.",
            unit=DURATION,
            low=MS,
            high=31 * 86400 * S,
        ),
    ] = 10 * S
    thin_levels: Annotated[
        int,
        option("With policy thin: how often batches are made coarser before they are evicted.", low=1, high=4),
    ] = 2
    thin_factor: Annotated[
        int, option("With policy thin: how many times longer the interval of each next level is.", low=2, high=100)
    ] = 6
    expire_after_ns: Annotated[
        int,
        option(
            "Age, by the node's own running time, at which undelivered batches are given up (ledgered); 0 means never.",
            unit=DURATION,
            low=0,
            high=3650 * 86400 * S,
        ),
    ] = 0
    batch_readings_max: Annotated[
        int, option("Readings that seal a batch.", unit="readings", low=1, high=1_000_000)
    ] = 20_000
    batch_bytes_max: Annotated[
        int,
        option(
            "Raw bytes (16 a reading, and text as long as it is) that seal a batch.",
            unit=SIZE,
            low=KIB,
            high=16 * MIB,
        ),
    ] = MIB
    linger_ns: Annotated[
        int,
        option("Age of the oldest reading that seals a batch.", unit=DURATION, low=10 * MS, high=86400 * S),
    ] = S


def thin_lane(lane: str, level: int) -> str:
    """Return the name of the lane that holds a lane's coarser batches of a level, from 1."""
    return f"{lane}.thin{level}"


class Spool(Section, frozen=True, kw_only=True):
    """The durable ring on flash."""

    bytes_max: Annotated[
        int, option("Disk space for all lanes together.", unit=SIZE, low=128 * KIB, high=4096 * GIB)
    ] = GIB
    segment_bytes: Annotated[
        int,
        option(
            "Size of one file of a ring; freed and reserved as a whole.",
            unit=SIZE,
            low=64 * KIB,
            high=256 * MIB,
        ),
    ] = 8 * MIB
    memory_bytes_max: Annotated[
        int,
        option(
            "Batches that are held in memory alone while the disk takes nothing.", unit=SIZE, low=MIB, high=16 * GIB
        ),
    ] = 16 * MIB
    free_bytes_min: Annotated[
        int,
        option("Free space of the file system below which rings grow no further.", unit=SIZE, low=0, high=1024 * GIB),
    ] = 64 * MIB
    lanes: Annotated[tuple[Lane, ...], option("The lanes, most important first.")] = ()


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


class Sample(Section, frozen=True, kw_only=True):
    """Which rows of a topic go on. All that are set apply, in the order of these options."""

    every: Annotated[int, option("Keep one row of this many.", unit="rows", low=1, high=1_000_000)] = 1
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
    ] = field(default_factory=dict)
    silence_ns: Annotated[
        int,
        option(
            "A field under deadband is sent at least this often in event time; 0 means no bound.",
            unit=DURATION,
            low=0,
            high=365 * 86400 * S,
        ),
    ] = 0


class Window(Section, frozen=True, kw_only=True):
    """Tumbling windows in event time: what goes on is one row per topic and window, at the window's start."""

    size_ns: Annotated[int, option("Length of a window.", unit=DURATION, low=MS, high=31 * 86400 * S)]
    lateness_ns: Annotated[
        int,
        option(
            "How far behind a topic's newest reading a reading may still come.",
            unit=DURATION,
            low=0,
            high=86400 * S,
        ),
    ] = 0
    idle_ns: Annotated[
        int,
        option("Silence of a topic after which its windows close.", unit=DURATION, low=100 * MS, high=86400 * S),
    ] = 60 * S
    functions: Annotated[
        tuple[Literal["count", "sum", "min", "max", "mean", "first", "last"], ...],
        option("What is computed of each field; the reading's field is named `field.function`."),
    ] = ("count", "min", "max", "mean")


class Route(Section, frozen=True, kw_only=True):
    """Topic filters → decoder → steps → lane. The first route that matches a topic takes it."""

    name: Annotated[Name, option("Name of the route, for counts and messages.")]
    topics: Annotated[tuple[str, ...], option("MQTT topic filters that this route subscribes to and takes.")]
    lane: Annotated[Name, option("Lane that the readings go to.")]
    decoder: Annotated[
        Literal["json", "cbor", "scalar"],
        option("What the payload is: JSON or CBOR objects, or one bare value."),
    ] = "json"
    qos: Annotated[int, option("QoS of the subscription; 2 is granted as 1.", low=0, high=2)] = 1
    fields: Annotated[
        tuple[str, ...],
        option("Paths of the fields to take; empty means all. Nested names are joined by a dot."),
    ] = ()
    field_count_max: Annotated[int, option("Most fields in one payload.", unit="fields", low=1, high=10_000)] = 256
    depth_max: Annotated[int, option("Deepest nesting in one payload.", low=1, high=64)] = 8
    keep: Annotated[str, option("Expression; rows for which it is not true are filtered. Empty keeps all.")] = ""
    time: Annotated[Time, option("Where readings get their time from.")] = field(default_factory=Time)
    sample: Annotated[Sample, option("Which rows go on.")] = field(default_factory=Sample)
    window: Annotated[Window | None, option("Aggregation; absent means readings go on as they are.")] = None


class Region(Section, frozen=True, kw_only=True):
    """One central site that receives every batch."""

    name: Annotated[Name, option("Name of the region, for cursors and messages.")]
    host: Annotated[str, option("Host name of the region's MQTT 5 broker; its certificate must name it.")]
    port: Annotated[int, option("TCP port of the region's broker.", low=1, high=65535)] = 8883
    tls_ca: Annotated[str, option("PEM file of the only CA that may have signed the broker's certificate.")]
    tls_certificate: Annotated[str, option("PEM file of this node's certificate.")]
    tls_key: Annotated[str, option("PEM file of the key to `tls_certificate`.")]
    topic_prefix: Annotated[str, option("First levels of all topics at the region.")] = "edge/v1"
    acknowledge: Annotated[
        Literal["receiver", "broker"],
        option("What moves the cursor: the receiver's word after its durable write, or the broker's PUBACK."),
    ] = "receiver"
    required: Annotated[
        bool,
        option("Whether batches are kept on disk until this region has them, as far as the ring's size allows."),
    ] = True
    lag_bytes_max: Annotated[
        int,
        option(
            "Disk that batches may take which only this optional region waits for; 0 means no bound but the ring's.",
            unit=SIZE,
            low=0,
            high=1024 * GIB,
        ),
    ] = 0
    in_flight_max: Annotated[
        int, option("Batches sent and not yet acknowledged.", unit="batches", low=1, high=1000)
    ] = 16
    resend_after_ns: Annotated[
        int, option("Age at which a batch in flight is sent again.", unit=DURATION, low=S, high=3600 * S)
    ] = 30 * S
    keep_alive_ns: Annotated[
        int, option("Silence after which the link is probed.", unit=DURATION, low=S, high=3600 * S)
    ] = 30 * S
    backoff_min_ns: Annotated[
        int,
        option(
            "Ceiling of the first random wait before a new connection.",
            unit=DURATION,
            low=10 * MS,
            high=60 * S,
        ),
    ] = 500 * MS
    backoff_max_ns: Annotated[
        int,
        option("Ceiling of all random waits before a new connection.", unit=DURATION, low=S, high=3600 * S),
    ] = 120 * S


class Receiver(Section, frozen=True, kw_only=True):
    """The central side: `gateway region run`."""

    name: Annotated[Name, option("Name of this receiver, part of its MQTT client id.")] = "receiver"
    host: Annotated[str, option("Host name of the region's MQTT 5 broker; its certificate must name it.")] = "localhost"
    port: Annotated[int, option("TCP port of the region's broker.", low=1, high=65535)] = 8883
    tls_ca: Annotated[str, option("PEM file of the only CA that may have signed the broker's certificate.")]
    tls_certificate: Annotated[str, option("PEM file of the receiver's certificate.")]
    tls_key: Annotated[str, option("PEM file of the key to `tls_certificate`.")]
    topic_prefix: Annotated[str, option("First levels of all topics at the region.")] = "edge/v1"
    share_group: Annotated[Name, option("Shared subscription group; receivers of one group divide the batches.")] = (
        "receivers"
    )
    state_folder: Annotated[str, option("Folder for watermarks and sinks.")] = "/var/lib/edge-region"
    sinks: Annotated[
        tuple[Literal["ndjson", "sqlite"], ...],
        option("Where readings go: NDJSON files, and tables beside the watermarks in SQLite."),
    ] = ("sqlite",)
    receive_maximum: Annotated[
        int,
        option(
            "Batches that the broker may have sent and we have not acknowledged.",
            unit="batches",
            low=1,
            high=65535,
        ),
    ] = 64
    batch_bytes_max: Annotated[int, option("Largest batch that is taken.", unit=SIZE, low=KIB, high=64 * MIB)] = (
        32 * MIB
    )


class Gateway(Section, frozen=True, kw_only=True):
    """The whole file. A node needs `[node]`, lanes and routes, and mirrors to its regions; a receiver `[receiver]`."""

    node: Annotated[Node | None, option("The box itself.")] = None
    broker: Annotated[Broker, option("The local broker.")] = field(default_factory=Broker)
    journal: Annotated[Journal, option("The log of inputs.")] = field(default_factory=Journal)
    spool: Annotated[Spool, option("The durable ring.")] = field(default_factory=Spool)
    route: Annotated[tuple[Route, ...], option("The routes, in order of precedence.")] = ()
    region: Annotated[tuple[Region, ...], option("The regions.")] = ()
    receiver: Annotated[Receiver | None, option("The central side.")] = None


NAME_OPTIONS: Final = frozenset(
    {
        "node.id",
        "spool.lanes.name",
        "route.name",
        "route.lane",
        "region.name",
        "receiver.name",
        "receiver.share_group",
    }
)
"""Dotted paths of the options whose text must be a `Name`."""

PATH_OPTIONS: Final = frozenset(
    {
        "node.state_folder",
        "node.status_socket",
        "broker.password_file",
        "broker.tls_ca",
        "broker.tls_certificate",
        "broker.tls_key",
        "region.tls_ca",
        "region.tls_certificate",
        "region.tls_key",
        "receiver.tls_ca",
        "receiver.tls_certificate",
        "receiver.tls_key",
        "receiver.state_folder",
    }
)
"""Dotted paths of the options that name files; relative ones are taken from the folder of the configuration file."""
