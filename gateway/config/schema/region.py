"""Options of a region, as the box sees it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import field

from gateway.config.schema.peer import Peer
from gateway.config.section import DURATION, GIB, SIZE, S, Section, option


class Link(Section, frozen=True, kw_only=True):
    """What the line to a region may carry, and when."""

    bytes_per_second: Annotated[
        int, option("Rate of sending; 0 means as fast as it goes.", unit=SIZE, low=0, high=GIB)
    ] = 0
    bytes_per_day: Annotated[
        int, option("Bytes of a day, UTC, after which only urgent lanes go; 0: any.", unit=SIZE, low=0, high=1024 * GIB)
    ] = 0
    bytes_per_month: Annotated[
        int,
        option("Bytes of a month, UTC, after which only urgent lanes go; 0: any.", unit=SIZE, low=0, high=1024 * GIB),
    ] = 0
    connect: Annotated[
        tuple[str, ...],
        option("When the radio goes up: cron expressions, five fields, UTC; empty means it is always up."),
    ] = ()
    connect_for_ns: Annotated[
        int, option("How long the radio then stays up.", unit=DURATION, low=S, high=86400 * S)
    ] = 600 * S
    flush: Annotated[
        bool, option("Whether open batches are sealed when the radio goes up, so that they travel with the others.")
    ] = True
    urgent_lanes: Annotated[
        tuple[str, ...], option("Lanes that no budget and no window holds back; empty means the first lane.")
    ] = ()


class Region(Peer, frozen=True, kw_only=True):
    """One central site that receives every batch."""

    link: Annotated[Link, option("The line.")] = field(default_factory=Link)
    acknowledge: Annotated[
        Literal["receiver", "broker"],
        option("Whose word moves the cursor: the receiver's after its durable write (mqtt only), or the broker's."),
    ] = "receiver"
    receiver_group: Annotated[
        str, option("Share group whose receivers' word counts; empty means any that writes to our topic.")
    ] = ""
    heartbeat_ns: Annotated[
        int,
        option(
            "Silence of the receiver after which it is asked for a word, about 600 bytes on the line; 0 means never.",
            unit=DURATION,
            low=0,
            high=86400 * S,
        ),
    ] = 300 * S
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
    failover_for: Annotated[
        str,
        option("Name of the region that this one stands by for; it then gets only what that one does not take."),
    ] = ""
    failover_after_ns: Annotated[
        int,
        option(
            "How long a region may not do its work until its next standby does.", unit=DURATION, low=S, high=86400 * S
        ),
    ] = 120 * S
    hold_down_ns: Annotated[
        int,
        option(
            "How long a region must hold a link before its standby gives the work back; up to half as long again.",
            unit=DURATION,
            low=S,
            high=86400 * S,
        ),
    ] = 300 * S
    backlog_share: Annotated[
        float,
        option("Share of the line for what has piled up, while newer batches go past it.", low=0.01, high=0.99),
    ] = 0.3
