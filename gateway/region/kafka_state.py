"""Reads what receivers keep in a compacted topic: for the next owner of a partition, and for people."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from gateway.errors import LinkError, StoreError
from gateway.region import kafka_source
from gateway.region.partition_state import PartitionState
from gateway.region.reconcile import Report

if TYPE_CHECKING:
    from gateway.config import schema

SILENCE_S: Final = 90.0
"""Longest wait for a record; an open transaction, which may hold all others back, ends before."""

_ANSWER_S: Final = 30.0
_POLL_S: Final = 0.5
_AT_ONCE: Final = 1000
_END: Final = "_PARTITION_EOF"


def read_state(connection: dict[str, Any], topic: str, partition: int) -> list[tuple[bytes, bytes | None]]:
    """Return key and value of all records of a partition that were committed before this call, oldest first.

    Waits for the end of every transaction that is open now: others may have been committed behind where it began, as
    when a receiver dies in the middle of one and its successor's successor reads. `connection` says how the cluster is
    reached. Raises `LinkError`, `KafkaException`.
    """
    place = TopicPartition(topic, partition)
    end = _end(connection, place)
    consumer = Consumer(
        {
            **connection,
            "group.id": "none",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        }
    )
    try:
        first, _ = consumer.get_watermark_offsets(place, timeout=_ANSWER_S)
        consumer.assign([TopicPartition(topic, partition, first)])
        return _until(consumer, end) if first < end else []
    finally:
        consumer.close()


def _end(connection: dict[str, Any], place: TopicPartition) -> int:
    """Return the offset behind the newest record, committed or not: who reads what is committed is told another end."""
    consumer = Consumer({**connection, "group.id": "none", "isolation.level": "read_uncommitted"})
    try:
        return int(consumer.get_watermark_offsets(place, timeout=_ANSWER_S)[1])
    finally:
        consumer.close()


def _until(consumer: Consumer, end: int) -> list[tuple[bytes, bytes | None]]:
    found: list[tuple[bytes, bytes | None]] = []
    heard_at = time.monotonic()
    while True:
        for record in consumer.consume(_AT_ONCE, _POLL_S):
            heard_at = time.monotonic()
            error = record.error()
            if error is None:
                found.append((kafka_source.as_bytes(record.key()), record.value()))
            elif error.name() != _END:
                raise LinkError(f"the state topic cannot be read: {error.str()}")
            # What holds others back, an open transaction, ends the partition early.
            elif (record.offset() or 0) >= end:
                return found
        if time.monotonic() - heard_at > SILENCE_S:
            raise LinkError(f"the state topic cannot be read: nothing came for {SILENCE_S:.0f} s")


def report(options: schema.Receiver) -> Report:
    """Read the whole topic and reconcile every lane, whoever has the partitions. Raises `StoreError`."""
    topic = options.kafka.sink.state_topic
    connection = kafka_source.connection(options, kafka_source.credentials_of(options))
    made = Report(lanes=[], rejected={}, dead_letters=[], outboxes={})
    try:
        for partition in _partitions(connection, topic):
            state = PartitionState()
            state.restore(read_state(connection, topic, partition))
            found = state.report()
            state.close()
            made.lanes += found.lanes
            for reason, number in found.rejected.items():
                made.rejected[reason] = made.rejected.get(reason, 0) + number
    except (KafkaException, LinkError) as error:
        fault = error.fault if isinstance(error, LinkError) else error.args[0].str()
        raise StoreError(f"cannot read the state topic {topic}: {fault}") from error
    made.lanes.sort(key=lambda lane: (lane.node, lane.lane, lane.epoch))
    return made


def _partitions(connection: dict[str, Any], topic: str) -> list[int]:
    consumer = Consumer({**connection, "group.id": "none"})
    try:
        described = consumer.list_topics(topic, timeout=_ANSWER_S).topics[topic]
    finally:
        consumer.close()
    if described.error is not None:
        raise LinkError(described.error.str())
    return sorted(described.partitions)
