"""Options of the box itself: its name, its broker, its journal and its rings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

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

    memory_bytes_max: Annotated[
        int,
        option(
            "Memory that the node may use; near it, it takes in less. 0 means the limit of its control group"
            " (systemd's MemoryMax), where there is one.",
            unit=SIZE,
            low=0,
            high=1024 * GIB,
        ),
    ] = 0

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
    regions: Annotated[
        tuple[str, ...], option("Regions that get this lane, standbys aside; empty means all of them.")
    ] = ()
    weight: Annotated[
        int,
        option(
            "Share of a busy line, against the weights of others; 0 means ten times the next lane's.", low=0, high=1000
        ),
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
        option(
            "Age of the oldest reading that seals a batch; 0: each is committed, sealed and sent at once, for alarms.",
            unit=DURATION,
            low=0,
            high=86400 * S,
        ),
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


class Pressure(Section, frozen=True, kw_only=True):
    """When the node is short of something, so that routes with `under_pressure` take in less."""

    ring_high: Annotated[float, option("Share of a lane's ring from which it is under pressure.", low=0.05, high=1)] = (
        0.8
    )
    ring_low: Annotated[float, option("Share of the ring below which it is not any more.", low=0, high=1)] = 0.6
    link_after_ns: Annotated[
        int,
        option(
            "How long a required region must be away for the link to be under pressure.",
            unit=DURATION,
            low=S,
            high=30 * 86400 * S,
        ),
    ] = 600 * S
    link_clear_ns: Annotated[
        int,
        option(
            "How long all required regions must be there until it is not any more.",
            unit=DURATION,
            low=S,
            high=86400 * S,
        ),
    ] = 60 * S
