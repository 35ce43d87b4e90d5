"""What node and receiver say to each other over the region's MQTT broker: topics and the acknowledgement.

    <prefix>/<node>/batch/<lane>   node → receiver, QoS 1: one envelope, a batch or a gap
    <prefix>/<node>/event/<lane>   node → whoever subscribes, QoS 1: one CloudEvent
    <prefix>/<node>/beat           node → receiver, QoS 1: a heartbeat, where a word is wanted and no batch asks for one
    <prefix>/<node>/ack            receiver → node, QoS 1: which batches are durable at the receiver

An acknowledgement is a canonical CBOR map: `v` 1, `receiver` name and its share `group` (left out where it is the usual
one), `lane`, `epoch`, `done` list of [first, last] pairs of sequences, both ends included. A pair is a statement about
each sequence in it, not about those before it. A heartbeat is a CBOR map: `v` 1, `number`. The answer is an
acknowledgement of nothing, with the lane "" and the number as its epoch; it is given after a durable write.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, NamedTuple, TypeAlias, TypeVar

import cbor2
import msgspec
from msgspec import Meta

from gateway.errors import BatchError

VERSION: Final = 1
PAIRS_MAX: Final = 4096
USUAL_GROUP: Final = "receivers"
"""Share group of receivers that are told no other: words need not name it, which spares bytes on the line."""


_DEPTH_MAX: Final = 4
_Fields = TypeVar("_Fields", bound=msgspec.Struct)
_Number: TypeAlias = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class _Acknowledgement(msgspec.Struct):
    v: Literal[1]
    receiver: str
    lane: str
    epoch: _Number
    done: Annotated[list[tuple[_Number, _Number]], Meta(max_length=PAIRS_MAX)]
    group: str = USUAL_GROUP


class _Heartbeat(msgspec.Struct):
    v: Literal[1]
    number: _Number


class Acknowledgement(NamedTuple):
    """What a receiver has made durable: for one node and lane, runs of sequences, both ends included."""

    receiver: str
    lane: str
    epoch: int
    done: tuple[tuple[int, int], ...]
    group: str = USUAL_GROUP

    @property
    def is_answer(self) -> bool:
        """Whether it answers a heartbeat, whose number is in `epoch`."""
        return not self.lane


def batch_topic(prefix: str, node: str, lane: str) -> str:
    """Return the topic that a node publishes the batches of a lane to."""
    return f"{prefix}/{node}/batch/{lane}"


def event_topic(prefix: str, node: str, lane: str) -> str:
    """Return the topic that a node publishes the events of a lane to."""
    return f"{prefix}/{node}/event/{lane}"


def batch_filter(prefix: str, share_group: str) -> str:
    """Return the shared subscription that takes the batches of all nodes and lanes."""
    return f"$share/{share_group}/{prefix}/+/batch/+"


def heartbeat_topic(prefix: str, node: str) -> str:
    """Return the topic that a node publishes heartbeats to."""
    return f"{prefix}/{node}/beat"


def heartbeat_filter(prefix: str, share_group: str) -> str:
    """Return the shared subscription that takes the heartbeats of all nodes."""
    return f"$share/{share_group}/{heartbeat_topic(prefix, '+')}"


def node_of_heartbeat(prefix: str, topic: str) -> str:
    """Return whose heartbeat came on a topic; empty when it is no topic of heartbeats."""
    node, _, last = topic.removeprefix(f"{prefix}/").partition("/")
    return node if last == "beat" and topic.startswith(f"{prefix}/") else ""


def acknowledgement_topic(prefix: str, node: str) -> str:
    """Return the topic that a node subscribes to for acknowledgements."""
    return f"{prefix}/{node}/ack"


def encode_acknowledgement(word: Acknowledgement) -> bytes:
    """Return the bytes of an acknowledgement."""
    done = [list(pair) for pair in word.done]
    fields = {"v": VERSION, "receiver": word.receiver, "lane": word.lane, "epoch": word.epoch, "done": done}
    if word.group != USUAL_GROUP:
        fields["group"] = word.group
    return cbor2.dumps(fields, canonical=True)


def decode_acknowledgement(data: bytes) -> Acknowledgement:
    """Return the acknowledgement in `data`; raise `BatchError` when it is not one."""
    fields = _fields(data, _Acknowledgement, "an acknowledgement")
    return Acknowledgement(fields.receiver, fields.lane, fields.epoch, tuple(fields.done), fields.group)


def encode_heartbeat(number: int) -> bytes:
    """Return the bytes of a heartbeat."""
    return cbor2.dumps({"v": VERSION, "number": number}, canonical=True)


def decode_heartbeat(data: bytes) -> int:
    """Return the number of the heartbeat in `data`; raise `BatchError` when it is none."""
    return _fields(data, _Heartbeat, "a heartbeat").number


def _fields(data: bytes, kind: type[_Fields], what: str) -> _Fields:
    """Return the map in `data`. Nothing is converted: whoever sends 1e999999999 must not have us compute an integer."""
    try:
        return msgspec.convert(cbor2.loads(data, max_depth=_DEPTH_MAX), kind)
    except (cbor2.CBORError, msgspec.ValidationError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise BatchError(f"not {what}: {error}") from error
