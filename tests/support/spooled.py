"""Sealed batches of one lane, the same for the same sequence."""

from __future__ import annotations

from functools import cache

from gateway.batch import envelope
from gateway.config import schema
from gateway.model import BatchId, OpenBatch, SealedBatch


def readings_of(sequence: int) -> int:
    return 1 + sequence % 4


def readings_between(first: int, last: int) -> int:
    return sum(readings_of(sequence) for sequence in range(first, last + 1))


@cache
def batch(sequence: int, lane: str = "telemetry", epoch: int = 100, salt: float = 0.0, before: int = -1) -> SealedBatch:
    """Return a small sealed batch; `before` overrides the readings of the epoch before it."""
    number = readings_of(sequence)
    rows = {"plant/a": (list(range(number)), [{"value": sequence + salt} for _ in range(number)])}
    before = readings_between(1, sequence - 1) if before < 0 else before
    identity = BatchId("node", lane, epoch, sequence)
    return envelope.seal(OpenBatch(identity, rows, number, before, {}, sequence, 0), "boot")


def region(name: str, *, required: bool = True) -> schema.Region:
    return schema.Region(name=name, host="localhost", tls_ca="", tls_certificate="", tls_key="", required=required)


def options(segments: int = 3, policy: str = "evict_oldest", segment_bytes: int = 4096) -> schema.Spool:
    lane = schema.Lane(name="telemetry", bytes_max=segments * segment_bytes, policy=policy)  # type: ignore[arg-type]
    return schema.Spool(segment_bytes=segment_bytes, lanes=(lane,))
