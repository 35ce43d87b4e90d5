"""The envelope of a batch or a gap: header, body and checksum. What is written here is what is stored and sent.

    offset  size  field
    0       4     magic  b"EGB1"
    4       1     kind   (1 batch, 2 gap)
    5       1     version of the format, 1
    6       2     zero
    8       4     length H of the header in bytes
    12      4     length B of the body in bytes, 0 for a gap
    16      H     header: canonical CBOR map (RFC 8949 section 4.2.3)
    16+H    B     body, see `gateway.batch.body`
    16+H+B  4     CRC-32C of all bytes before

All integers are little-endian. Identity, boot, times of sealing and the ledger are in the header only; the content hash
covers the readings and `readings_before`. So sealing the same batch again, after a power cut or with another version
of a compression library, may give other bytes but gives the same identity and the same hash. The CRC finds
accidents; the hash, checked after decompression, also finds a library that gives back other values than it was given.
"""

from __future__ import annotations

import re
import struct
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, TypeAlias, TypeVar

import cbor2
import msgspec
from google_crc32c import value as crc32c
from msgspec import Meta

from gateway.batch import body, columns
from gateway.errors import BatchError
from gateway.model import CLOCK_SYNCHRONISED, BatchId, Ledger, OpenBatch, SealedBatch, Thinned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.batch.columns import Content

MAGIC: Final = b"EGB1"
BATCH: Final = 1
GAP: Final = 2
VERSION: Final = 1
COLUMNAR: Final = 1
"""`codec` in the header: the body is that of `gateway.batch.body`."""

HEADER_BYTES_MAX: Final = 1 << 18

TRACEPARENT: Final = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context, version 00."""

_HEAD = struct.Struct("<4sBBHII")
_CRC = struct.Struct("<I")

Fields = TypeVar("Fields", bound=msgspec.Struct)

Name: TypeAlias = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}\Z")]
Number: TypeAlias = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Sequence: TypeAlias = Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]
TimeNs: TypeAlias = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]


class ThinnedFields(msgspec.Struct, kw_only=True):
    """What a coarser batch says of those that it stands for."""

    interval_ns: Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]
    lane: Name
    first: Sequence
    last: Sequence
    readings: Number
    batches: Number


class BatchFields(msgspec.Struct, kw_only=True):
    """The header of a batch as it is written; keys that a reader does not know are ignored."""

    node: Name
    lane: Name
    epoch: Number
    sequence: Sequence
    readings: Annotated[int, Meta(ge=1, le=body.READINGS_MAX)]
    readings_before: Number
    first_ns: TimeNs
    last_ns: TimeNs
    sealed_ns: TimeNs
    clock: Annotated[int, Meta(ge=0, le=CLOCK_SYNCHRONISED)]
    correction_ns: TimeNs
    boot: Annotated[str, Meta(max_length=64)]
    codec: int
    hash: Annotated[bytes, Meta(min_length=columns.HASH_BYTES, max_length=columns.HASH_BYTES)]
    ledger: Annotated[dict[str, Number], Meta(max_length=4096)]
    thinned: ThinnedFields | None = None
    traceparent: Any = None


class Header(NamedTuple):
    """What a batch says of itself.

    `first_ns` and `last_ns` are the earliest and latest time of its readings. `clock` and `correction_ns` (add it to
    each time) say how far times are to be trusted, `boot` names the boot of the node that sealed it, `thinned` what a
    coarser batch stands for, `traceparent` the span of a batch that is traced.
    """

    id: BatchId
    readings: int
    readings_before: int
    first_ns: int
    last_ns: int
    sealed_ns: int
    clock: int
    correction_ns: int
    boot: str
    hash: bytes
    ledger: Ledger
    thinned: Thinned | None = None
    traceparent: str = ""


class Opened(NamedTuple):
    """An envelope whose frame is in order: its kind, header map and body."""

    kind: int
    fields: dict[str, Any]
    body: bytes


def seal(batch: OpenBatch, boot: str, content: Content | None = None) -> SealedBatch:
    """Return the batch in its final bytes. `boot` identifies this boot of the node, at most 64 characters.

    `content` are its rows as columns, where the caller needs them as well.
    """
    content = content or columns.content(batch.rows)
    assert columns.readings(content) == batch.readings, batch.id
    content_hash = columns.content_hash(content, batch.readings_before)
    fields = {
        "node": batch.id.node,
        "lane": batch.id.lane,
        "epoch": batch.id.epoch,
        "sequence": batch.id.sequence,
        "readings": batch.readings,
        "readings_before": batch.readings_before,
        "first_ns": min(int(key.times.min()) for key in content.keys),
        "last_ns": max(int(key.times.max()) for key in content.keys),
        "sealed_ns": batch.sealed_ns,
        "clock": batch.clock,
        "correction_ns": 0,
        "boot": boot,
        "codec": COLUMNAR,
        "hash": content_hash,
        "ledger": batch.ledger,
    }
    if batch.traceparent:
        fields["traceparent"] = batch.traceparent
    if batch.thinned is not None:
        fields["thinned"] = asdict(batch.thinned)
    return SealedBatch(batch.id, batch.readings, content_hash, enclose(BATCH, fields, body.write(content)))


def peek(data: bytes) -> Header:
    """Return the header of a batch, reading nothing past it; the checksum is not verified. Raise `BatchError`."""
    kind, header_bytes, _ = _head(data)
    if kind != BATCH:
        raise BatchError("this is a gap, not a batch")
    return batch_header(_fields(data, header_bytes))


def traceparent_of(data: bytes) -> str:
    """Return the span that the header of a batch names, empty when it names none; costs next to nothing then."""
    kind, header_bytes, _ = _head(data)
    if kind != BATCH or b"traceparent" not in data[_HEAD.size : _HEAD.size + header_bytes]:
        return ""
    return _context(_fields(data, header_bytes).get("traceparent"))


def _context(found: object) -> str:
    """Return a context that can be used; whatever else stands there costs a span and never the batch."""
    return found if isinstance(found, str) and TRACEPARENT.fullmatch(found) else ""


def enclose(kind: int, fields: Mapping[str, object], content: bytes) -> bytes:
    """Return the whole envelope."""
    header = cbor2.dumps(fields, canonical=True)
    data = b"".join((_HEAD.pack(MAGIC, kind, VERSION, 0, len(header), len(content)), header, content))
    return data + _CRC.pack(crc32c(data))


def opened(data: bytes) -> Opened:
    """Return what an envelope holds, its lengths and checksum verified; raise `BatchError`."""
    kind, header_bytes, body_bytes = _head(data)
    whole = _HEAD.size + header_bytes + body_bytes + _CRC.size
    if len(data) != whole:
        raise BatchError("an envelope has the wrong length", expected=whole, got=len(data))
    if _CRC.unpack_from(data, whole - _CRC.size)[0] != crc32c(data[: -_CRC.size]):
        raise BatchError("an envelope is damaged: its checksum does not match")
    return Opened(kind, _fields(data, header_bytes), data[_HEAD.size + header_bytes : -_CRC.size])


def batch_header(fields: dict[str, Any]) -> Header:
    """Return the header in the map of a batch; raise `BatchError`."""
    held = converted(fields, BatchFields)
    if held.codec != COLUMNAR:
        raise BatchError("a batch has a codec that this version cannot read", codec=held.codec)
    if held.thinned is not None and held.thinned.last < held.thinned.first:
        raise BatchError("what a batch stands for ends before it begins", last=held.thinned.last)
    return Header(
        BatchId(held.node, held.lane, held.epoch, held.sequence),
        held.readings,
        held.readings_before,
        held.first_ns,
        held.last_ns,
        held.sealed_ns,
        held.clock,
        held.correction_ns,
        held.boot,
        held.hash,
        held.ledger,
        None if held.thinned is None else Thinned(**msgspec.structs.asdict(held.thinned)),
        _context(held.traceparent),
    )


def converted(fields: dict[str, Any], model: type[Fields]) -> Fields:
    """Return the map as a `model`, every value of its type and within its bounds; raise `BatchError`."""
    try:
        return msgspec.convert(fields, model)
    except msgspec.ValidationError as error:
        raise BatchError(f"a header is wrong: {error}") from error


def _head(data: bytes) -> tuple[int, int, int]:
    """Return kind, header length and body length."""
    if data.startswith(MAGIC) and len(data) < _HEAD.size:
        raise BatchError("an envelope is cut short", got=len(data))
    magic, kind, version, zero, header_bytes, body_bytes = _HEAD.unpack(data[: _HEAD.size].ljust(_HEAD.size, b"\0"))
    if magic != MAGIC or kind not in (BATCH, GAP) or zero:
        raise BatchError("this is not a batch or a gap of the edge gateway", begins=bytes(data[: _HEAD.size]).hex())
    if version != VERSION:
        raise BatchError("a batch has a version that this version cannot read", version=version)
    if header_bytes > HEADER_BYTES_MAX:
        raise BatchError("a header is too long", got=header_bytes, limit=HEADER_BYTES_MAX)
    return kind, header_bytes, body_bytes


def _fields(data: bytes, header_bytes: int) -> dict[str, Any]:
    header = data[_HEAD.size : _HEAD.size + header_bytes]
    if len(header) < header_bytes:
        raise BatchError("a header is cut short", expected=header_bytes, got=len(header))
    try:
        fields = cbor2.loads(header, max_depth=4, allow_indefinite=False, allow_duplicate_keys=False)
        if not isinstance(fields, dict) or cbor2.dumps(fields, canonical=True) != header:
            raise BatchError("a header is not a canonical CBOR map")
    except (cbor2.CBORError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise BatchError(f"a header is not CBOR: {error}") from error
    return fields
