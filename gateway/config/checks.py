"""What options must be to each other: combinations that no single option shows to be wrong.

`findings` looks at a whole file whose options are each fine, or have been replaced by a default where they are not. So
a finding names every place that it rests on, the one to correct first: the loader leaves out the findings that rest on
something it has reported already.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gateway.config import schema
from gateway.config.finding import Finding, twice
from gateway.config.region_checks import (
    peer_findings,
    prefix_findings,
    region_findings,
    registry_findings,
    standby_findings,
)
from gateway.config.route_checks import route_findings
from gateway.config.units import size_text
from gateway.config.values import nearest
from gateway.health import listen
from gateway.transport import address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.config.positions import Place

HEADER_ALLOWANCE_BYTES: Final = 16 * 1024
"""Room for a batch's header, its names and its frame beside `batch_bytes_max` in a segment."""

RING_SEGMENTS_MIN: Final = 2
"""A ring frees whole segments, so it needs one to write while it frees another."""

NAME_CHARACTERS_MAX: Final = 64

AUDIT_PAYLOAD_BYTES: Final = 16 * 1024
"""An entry of the audit log as a message: its text within a document that may escape each of its quotes."""

MEMORY_BYTES_MIN: Final = 48 * 1024 * 1024
"""What the program alone takes, and little more."""

SOCKET_PATH_BYTES_MAX: Final = 107
"""Of `sun_path`, unix(7)."""


def findings(config: schema.Gateway) -> Iterator[Finding]:
    """Yield everything that is wrong between the options of `config`."""
    yield from _roles(config)
    if config.node is not None:
        yield from _node(config.node)
    yield from _broker(config.broker)
    yield from _lanes(config)
    yield from twice("route", [route.name for route in config.route], ("route",))
    yield from twice("region", [region.name for region in config.region], ("region",))
    yield from route_findings(config.route, config.spool.lanes)
    for number, region in enumerate(config.region):
        yield from region_findings(region, ("region", number))
    yield from standby_findings(config.region)
    yield from _audit(config)
    yield from _trace(config)
    if config.pressure.ring_low >= config.pressure.ring_high:
        sentence = "must lie below ring_high, or the pressure would come and go with every batch: lower it"
        yield Finding(sentence, (("pressure", "ring_low"), ("pressure", "ring_high")))
    if config.receiver is not None:
        yield from _receiver(config.receiver)
    yield from _health(config)
    yield from _console(config)


def _console(config: schema.Gateway) -> Iterator[Finding]:
    options, listen_place = config.console, ("console", "listen")
    pems = {"tls_certificate": options.tls_certificate, "tls_key": options.tls_key, "tls_ca": options.tls_ca}
    for name in (name for name, path in pems.items() if any(pems.values()) and not path):
        yield Finding("is needed where TLS is spoken: only clients with a certificate are let in", (("console", name),))
    if not options.listen:
        if options != schema.Console():
            yield Finding("is needed by the other options of the console", (listen_place,))
        return
    if config.node is None:
        yield Finding("belongs to a node: a receiver has no console", (listen_place,))
        return
    try:
        found = listen.address(options.listen, is_guarded=any(pems.values()))
    except ValueError as error:
        yield Finding(str(error), (listen_place,))
        return
    if found.path in {str(config.node.socket_path), config.health.listen} - {""}:
        yield Finding("is the socket of something else already: name another path", (listen_place,))
    if found.port and options.listen == config.health.listen:
        yield Finding("is where health.listen is already: name another port", (listen_place, ("health", "listen")))
    if options.token_file and not found.path and not any(pems.values()):
        sentence = "means nothing on a port without TLS, where nothing can be changed: listen on a Unix socket"
        yield Finding(sentence, (("console", "token_file"), listen_place))


def _health(config: schema.Gateway) -> Iterator[Finding]:
    place: Place = ("health", "listen")
    if not config.health.listen:
        return
    try:
        path = listen.address(config.health.listen).path
    except ValueError as error:
        yield Finding(str(error), (place,))
        return
    if path and config.node is not None and path == str(config.node.socket_path):
        yield Finding("is the socket of `gateway status` already: name another path", (place,))


def _receiver(receiver: schema.Receiver) -> Iterator[Finding]:
    sinks: Place = ("receiver", "sinks")
    connect: Place = ("receiver", "postgresql", "connect")
    forwards: Place = ("receiver", "forward")
    yield from prefix_findings(receiver.topic_prefix, ("receiver", "topic_prefix"))
    yield from twice("forward", [forward.name for forward in receiver.forward], forwards)
    for number, forward in enumerate(receiver.forward):
        yield from peer_findings(forward, (*forwards, number))
    if "postgresql" in receiver.sinks:
        others = {"ndjson", "sqlite"} & set(receiver.sinks)
        if others:
            sentence = f"postgresql holds the watermarks as well, and {min(others)} needs them in SQLite"
            yield Finding(f"{sentence}: remove one of the two", (sinks,))
        if not receiver.postgresql.connect:
            yield Finding("is needed by the sink postgresql: say how to connect", (connect, sinks))
    elif receiver.postgresql != schema.Postgresql():
        yield Finding('means nothing without sinks = ["postgresql"]: remove it', (("receiver", "postgresql"), sinks))
    if "parquet" not in receiver.sinks and receiver.parquet != schema.Parquet():
        yield Finding("means nothing without the sink parquet: add it, or remove it", (("receiver", "parquet"), sinks))
    if receiver.source != "kafka" and receiver.kafka != schema.KafkaSource():
        kafka: Place = ("receiver", "kafka")
        yield Finding('means nothing without source = "kafka": remove it', (kafka, ("receiver", "source")))
    topic = receiver.kafka.topic
    fault = _pattern_fault(topic) if topic.startswith("^") else ""
    if fault:
        yield Finding(f'"{topic}" is no regular expression, {fault}: correct it', (("receiver", "kafka", "topic"),))
    yield from _stream(receiver)


def _audit(config: schema.Gateway) -> Iterator[Finding]:
    place: Place = ("audit", "lane")
    lane = config.audit.lane
    for number, route in enumerate(config.route):
        if route.name == schema.AUDIT_ROUTE:
            yield Finding(f'"{route.name}" is the route of the audit log: choose another', (("route", number, "name"),))
        if lane and route.lane == lane:
            sentence = f'"{lane}" is the lane of the audit log, which it has for itself: choose another'
            yield Finding(sentence, (("route", number, "lane"), place))
    if not lane:
        return
    if config.node is None:
        yield Finding("means nothing without [node]: a receiver keeps its entries, remove it", (place, ("node",)))
    elif lane not in (names := [one.name for one in config.spool.lanes]):
        close = nearest(lane, names)
        hint = f'did you mean "{close}"?' if close else f'add [[spool.lanes]] with name = "{lane}"'
        yield Finding(f'no lane is named "{lane}"; {hint}', (place, ("spool", "lanes")))
    if config.broker.payload_bytes_max < AUDIT_PAYLOAD_BYTES:
        least, given = size_text(AUDIT_PAYLOAD_BYTES), size_text(config.broker.payload_bytes_max)
        sentence = f"{given} is less than an entry of the audit log may have, {least}: raise it"
        yield Finding(sentence, (("broker", "payload_bytes_max"), place))


def _trace(config: schema.Gateway) -> Iterator[Finding]:
    trace = config.trace
    if trace is None or not trace.endpoint:
        return
    if config.receiver is not None and "kafka" in config.receiver.sinks:
        sentence = "means nothing for a receiver from topic to topic, whose events carry the node's context: remove it"
        yield Finding(sentence, (("trace",), ("receiver", "sinks")))
    place: Place = ("trace", "endpoint")
    if not trace.endpoint.startswith(("http://", "https://")):
        yield Finding("is no address of a collector: begin it with http:// or https://", (place,))
    elif "@" in trace.endpoint:
        yield Finding("holds a user name: remove it, what is secret belongs into token_file", (place,))
    elif trace.token_file and trace.endpoint.startswith("http://"):
        sentence = "would go over the line for all to read: use https://, or remove it"
        yield Finding(sentence, (("trace", "token_file"), place))


def _pattern_fault(pattern: str) -> str:
    """Return what is wrong with a regular expression; empty when nothing is."""
    try:
        re.compile(pattern)
    except re.error as error:
        return str(error)
    return ""


def _stream(receiver: schema.Receiver) -> Iterator[Finding]:
    """Look at a receiver that works from one topic of Kafka to another."""
    sinks: Place = ("receiver", "sinks")
    place: Place = ("receiver", "kafka", "sink")
    options = receiver.kafka.sink
    if "kafka" not in receiver.sinks:
        if options != schema.KafkaSink():
            yield Finding("means nothing without the sink kafka: add it, or remove it", (place, sinks))
        return
    if receiver.source != "kafka":
        sentence = 'kafka is written in the transaction that moves the source\'s offsets: set source = "kafka"'
        yield Finding(f"{sentence}, or hand on with [[receiver.forward]]", (sinks,))
    if len(receiver.sinks) > 1 or receiver.forward:
        sentence = "kafka is written in a transaction of its own kind, which nothing else can be part of"
        yield Finding(f"{sentence}: let other receivers, with another share_group, do the rest", (sinks,))
    if receiver.kafka.topic.startswith("^"):
        sentence = "the sink kafka keeps its state by partition, so the batches must come from one topic: name it"
        yield Finding(sentence, (("receiver", "kafka", "topic"), sinks))
    fault = address.fault(options.topic)
    if fault:
        yield Finding(f'the address "{options.topic}" {fault}: correct it', ((*place, "topic"),))
    yield from registry_findings(options.registry, options.events, (*place, "registry"))


def _roles(config: schema.Gateway) -> Iterator[Finding]:
    node: Place = ("node",)
    lanes: Place = ("spool", "lanes")
    needed: tuple[tuple[Place, str, Sequence[object]], ...] = (
        (("route",), "[[route]]", config.route),
        (lanes, "[[spool.lanes]]", config.spool.lanes),
    )
    if config.node is None and config.receiver is None:
        sentence = "neither [node] nor [receiver] is there: a box needs [node], the central side needs [receiver]"
        yield Finding(sentence, (node, ("receiver",)))
    elif config.node is None:
        for place, table, there in (*needed, (("region",), "[[region]]", config.region)):
            if there:
                yield Finding(
                    f"{table} means nothing without [node]: add [node] with its id, or remove it", (place, node)
                )
    else:
        for place, table, there in needed:
            if not there:
                yield Finding(f"a node needs at least one {table}: add it", (place, node))


def _node(node: schema.Node) -> Iterator[Finding]:
    if 0 < node.memory_bytes_max < MEMORY_BYTES_MIN:
        sentence = f"{size_text(node.memory_bytes_max)} is less than any node needs, {size_text(MEMORY_BYTES_MIN)}"
        yield Finding(f"{sentence}: raise it", (("node", "memory_bytes_max"),))
    path = node.socket_path
    size = len(str(path).encode())
    if size > SOCKET_PATH_BYTES_MAX:
        sentence = f"the path of the status socket, {path}, has {size} bytes and Unix takes {SOCKET_PATH_BYTES_MAX}"
        places: tuple[Place, ...] = (("node", "status_socket"), ("node", "state_folder"))
        yield Finding(f"{sentence}: set node.status_socket to a shorter one", places)


def _broker(broker: schema.Broker) -> Iterator[Finding]:
    def finding(sentence: str, *keys: str) -> Finding:
        return Finding(sentence, tuple(("broker", key) for key in keys))

    if broker.tls_certificate and not broker.tls_key:
        yield finding("is set and tls_key is not: name the key's file", "tls_certificate", "tls_key")
    if broker.tls_key and not broker.tls_certificate:
        yield finding("is set and tls_certificate is not: name the certificate's file", "tls_key", "tls_certificate")
    if broker.tls_certificate and not broker.tls_ca:
        yield finding("is set and tls_ca is not: name the CA's file, it turns TLS on", "tls_certificate", "tls_ca")
    if broker.packet_bytes_max < broker.payload_bytes_max:
        packet, payload = size_text(broker.packet_bytes_max), size_text(broker.payload_bytes_max)
        sentence = f"{packet} is less than payload_bytes_max, {payload}: no such payload could arrive; raise it"
        yield finding(sentence, "packet_bytes_max", "payload_bytes_max")


def _lanes(config: schema.Gateway) -> Iterator[Finding]:
    lanes: Place = ("spool", "lanes")
    spool = config.spool
    yield from twice("lane", [lane.name for lane in spool.lanes], lanes)
    for number, lane in enumerate(spool.lanes):
        yield from _lane(lane, spool, (*lanes, number))
        yield from _lane_regions(lane, config, (*lanes, number, "regions"))
    total = sum(lane.bytes_reserved for lane in spool.lanes)
    if total > spool.bytes_max:
        sentence = f"the lanes' bytes_reserved make {size_text(total)} together, more than {size_text(spool.bytes_max)}"
        rests_on = tuple((*lanes, number, "bytes_reserved") for number in range(len(spool.lanes)))
        yield Finding(f"{sentence}: raise it, or lower theirs", (("spool", "bytes_max"), lanes, *rests_on))


def _lane_regions(lane: schema.Lane, config: schema.Gateway, place: Place) -> Iterator[Finding]:
    known = {region.name: region for region in config.region}
    for name in lane.regions:
        if name not in known:
            close = nearest(name, known)
            hint = f'did you mean "{close}"?' if close else f"the regions are {', '.join(known) or 'none'}"
            yield Finding(f'no region is named "{name}"; {hint}', (place, ("region",)))
        elif known[name].failover_for:
            sentence = f'"{name}" stands by for "{known[name].failover_for}", which is what a lane goes to: name that'
            yield Finding(sentence, (place, ("region",)))


def _lane(lane: schema.Lane, spool: schema.Spool, place: Place) -> Iterator[Finding]:
    segment: Place = ("spool", "segment_bytes")
    largest = lane.batch_bytes_max + HEADER_ALLOWANCE_BYTES
    if largest > spool.segment_bytes:
        sizes = f"{size_text(lane.batch_bytes_max)} and {size_text(HEADER_ALLOWANCE_BYTES)} for its header"
        sentence = f"a batch of {sizes} does not fit a segment of {size_text(spool.segment_bytes)}"
        hint = "lower it, or raise spool.segment_bytes"
        yield Finding(f"{sentence}: {hint}", ((*place, "batch_bytes_max"), segment))
    if lane.bytes_max < RING_SEGMENTS_MIN * spool.segment_bytes:
        sentence = f"a ring of {size_text(lane.bytes_max)} holds fewer than {RING_SEGMENTS_MIN} segments"
        hint = f"of {size_text(spool.segment_bytes)}: raise it, or lower spool.segment_bytes"
        yield Finding(f"{sentence} {hint}", ((*place, "bytes_max"), segment))
    if lane.bytes_max > spool.bytes_max:
        sentence = f"{size_text(lane.bytes_max)} is more than all lanes may have, {size_text(spool.bytes_max)}"
        yield Finding(
            f"{sentence}: lower it, or raise spool.bytes_max", ((*place, "bytes_max"), ("spool", "bytes_max"))
        )
    if lane.bytes_reserved > lane.bytes_max:
        sentence = f"{size_text(lane.bytes_reserved)} is more than the lane may have, {size_text(lane.bytes_max)}"
        yield Finding(f"{sentence}: lower it, or raise bytes_max", ((*place, "bytes_reserved"), (*place, "bytes_max")))
    longest = schema.thin_lane(lane.name, lane.thin_levels)
    if lane.policy == "thin" and len(longest) > NAME_CHARACTERS_MAX:
        sentence = f'its coarser batches would go to the lane "{longest}", longer than {NAME_CHARACTERS_MAX} characters'
        yield Finding(f"{sentence}: shorten the name", ((*place, "name"), (*place, "policy")))
    taken = {one.name for one in spool.lanes} & {schema.thin_lane(lane.name, level) for level in range(1, 5)}
    if lane.policy == "thin" and taken:
        sentence = f'"{min(taken)}" is the name of the lane that its coarser batches go to: name that other lane'
        yield Finding(f"{sentence} otherwise", ((*place, "policy"),))
