"""What the options of a region must be to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.config import schema
from gateway.config.finding import Finding
from gateway.config.units import duration_text
from gateway.config.values import nearest
from gateway.process.topics import topic_fault
from gateway.transport import address, webhook_options, windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.config.positions import Place

HEARTBEAT_NS_MIN: Final = 10**9


def region_findings(region: schema.Region, place: Place) -> Iterator[Finding]:
    """Yield everything that is wrong with a region."""

    def finding(sentence: str, *keys: str) -> Finding:
        return Finding(sentence, tuple((*place, key) for key in keys))

    if region.lag_bytes_max and region.required:
        sentence = "bounds what an optional region may hold back, and this one is required: remove it"
        yield finding(f"{sentence}, or set required = false", "lag_bytes_max", "required")
    yield from peer_findings(region, place)
    yield from _unheard(region, place)
    for number, expression in enumerate(region.link.connect):
        why = windows.fault(expression)
        if why:
            yield finding(f'"{expression}" (number {number + 1}) is no cron expression, {why}: correct it', "link")


def peer_findings(peer: schema.Peer, place: Place) -> Iterator[Finding]:
    """Yield everything that is wrong with how a broker or server is spoken to."""
    if peer.backoff_min_ns > peer.backoff_max_ns:
        low, high = duration_text(peer.backoff_min_ns), duration_text(peer.backoff_max_ns)
        sentence = f"{low} is more than backoff_max, {high}: lower it, or raise that"
        yield Finding(sentence, ((*place, "backoff_min"), (*place, "backoff_max")))
    yield from prefix_findings(peer.topic_prefix, (*place, "topic_prefix"))
    yield from _transport(peer, place)
    yield from _misplaced(peer, place)
    for one, other in (("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")):
        if getattr(peer, one) and not getattr(peer, other):
            yield Finding(f"is set and {other} is not: name that file too", ((*place, one), (*place, other)))


def standby_findings(regions: Sequence[schema.Region]) -> Iterator[Finding]:
    """Yield what is wrong with who stands by for whom."""
    names = {region.name: number for number, region in enumerate(regions)}
    for number, region in enumerate(regions):
        place: Place = ("region", number, "failover_for")
        if not region.failover_for:
            continue
        of = names.get(region.failover_for)
        if of is None:
            close = nearest(region.failover_for, names)
            hint = f'did you mean "{close}"?' if close else "name another [[region]]"
            yield Finding(f'no region is named "{region.failover_for}"; {hint}', (place, ("region",)))
        elif regions[of].failover_for:
            sentence = f'"{region.failover_for}" is a standby itself: name the region that both stand by for'
            yield Finding(sentence, (place, ("region", of, "failover_for")))
        elif regions[of].format != region.format:
            sentence = (
                f'the region that it stands by for has the format "{regions[of].format}": both must have the same'
            )
            yield Finding(sentence, (("region", number, "format"), ("region", of, "format")))


def _transport(peer: schema.Peer, place: Place) -> Iterator[Finding]:
    """Look at what the transport needs."""
    kind = peer.transport
    needed: tuple[tuple[tuple[str, ...], bool, str], ...] = (
        (("host",), kind != "webhook" and not peer.host, "the name of the broker's host"),
        (("tls_certificate",), kind == "mqtt" and not peer.tls_certificate, "the node's certificate"),
        (("webhook", "url"), kind == "webhook" and not peer.webhook.url, "where to post"),
    )
    for keys, is_missing, what in needed:
        if is_missing:
            yield Finding(f"is needed by the transport {kind}, {what}: set it", ((*place, *keys), place))
    templates = {
        "amqp": (("amqp", "routing_key"), peer.amqp.routing_key),
        "kafka": (("kafka", "topic"), peer.kafka.topic),
        "nats": (("nats", "subject"), peer.nats.subject),
        "webhook": (("webhook", "url"), peer.webhook.url),
    }
    if kind in templates:
        keys, template = templates[kind]
        fault = address.fault(template)
        if fault:
            yield Finding(f'the address "{template}" {fault}: correct it', ((*place, *keys),))
    for key, sentence in webhook_options.faults(peer.webhook) if peer.webhook.url else ():
        yield Finding(sentence, ((*place, "webhook", key), (*place, "webhook")))
    if kind == "kafka":
        events = peer.events if peer.format == "events" else None
        yield from registry_findings(peer.kafka.registry, events, (*place, "kafka", "registry"))


def registry_findings(options: schema.Registry, events: schema.Events | None, place: Place) -> Iterator[Finding]:
    """Yield what is wrong with a schema registry; `events` says how events are made, None where none are."""
    if not options.url:
        if options != schema.Registry():
            yield Finding("means nothing without its url: set that, or remove this", (place,))
        return
    fault = webhook_options.url_fault(options.url)
    if fault:
        yield Finding(f'"{options.url}" {fault}', ((*place, "url"),))
    if events is None or events.encoding == "json" or events.mode != "binary":
        sentence = 'holds the schema of events in Avro or Protobuf: set format = "events", and in events'
        sentence = f'{sentence} encoding = "avro" or "protobuf" and mode = "binary", or remove this'
        yield Finding(sentence, (place,))


def _unheard(region: schema.Region, place: Place) -> Iterator[Finding]:
    """Look whether a receiver's word, if that is waited for, can come."""
    kind = region.transport
    if kind != "mqtt" and region.acknowledge == "receiver":
        sentence = f'the receiver\'s word does not come back over {kind}: set acknowledge = "broker"'
        yield Finding(sentence, ((*place, "acknowledge"), (*place, "transport")))
    elif region.format == "events" and region.acknowledge == "receiver":
        sentence = 'our receiver takes batches, not events: set acknowledge = "broker"'
        yield Finding(sentence, ((*place, "acknowledge"), (*place, "format")))
    if 0 < region.heartbeat_ns < HEARTBEAT_NS_MIN:
        sentence = f"would ask without pause: at least {duration_text(HEARTBEAT_NS_MIN)}, or 0s for never"
        yield Finding(sentence, ((*place, "heartbeat"),))
    if region.receiver_group and region.acknowledge == "broker":
        sentence = 'means nothing where no receiver\'s word is waited for: remove it, or set acknowledge = "receiver"'
        yield Finding(sentence, ((*place, "receiver_group"), (*place, "acknowledge")))


def _misplaced(peer: schema.Peer, place: Place) -> Iterator[Finding]:
    """Look at options that mean nothing here."""
    kind = peer.transport
    if peer.format != "events" and peer.events != schema.Events():
        yield Finding('means nothing without format = "events": remove it', ((*place, "events"), (*place, "format")))
    others = (
        ("amqp", peer.amqp, schema.Amqp()),
        ("kafka", peer.kafka, schema.Kafka()),
        ("nats", peer.nats, schema.Nats()),
        ("webhook", peer.webhook, schema.Webhook()),
    )
    for name, options, default in others:
        if name != kind and options != default:
            sentence = f"means nothing to the transport {kind}: remove it"
            yield Finding(sentence, ((*place, name), (*place, "transport")))


def prefix_findings(prefix: str, place: Place) -> Iterator[Finding]:
    """Yield what is wrong with the first levels of MQTT topics."""
    fault = topic_fault(prefix)
    if not fault and (prefix.startswith(("$", "/")) or prefix.endswith("/")):
        fault = "it has a $ in front or a / at an end"
    if fault:
        yield Finding(f'"{prefix}" cannot begin a topic, {fault}: correct it', (place,))
