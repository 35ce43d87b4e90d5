"""What node and receiver say to each other over the region's MQTT broker: topics and the acknowledgement.

    <prefix>/<node>/batch/<lane>   node → receiver, QoS 1: one envelope, a batch or a gap
    <prefix>/<node>/event/<lane>   node → whoever subscribes, QoS 1: one CloudEvent
    <prefix>/<node>/ack            receiver → node, QoS 1: which batches are durable at the receiver

An acknowledgement is a canonical CBOR map: `v` 1, `receiver` name, `lane`, `epoch`, `done` list of [first, last] pairs
of sequences, both ends included. A pair is a statement about each sequence in it, not about those before it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import cbor2

from gateway.errors import BatchError

VERSION: Final = 1
PAIRS_MAX: Final = 4096


class Acknowledgement(NamedTuple):
    """What a receiver has made durable: for one node and lane, runs of sequences, both ends included."""

    receiver: str
    lane: str
    epoch: int
    done: tuple[tuple[int, int], ...]


def batch_topic(prefix: str, node: str, lane: str) -> str:
    """Return the topic that a node publishes the batches of a lane to."""
    return f"{prefix}/{node}/batch/{lane}"


def event_topic(prefix: str, node: str, lane: str) -> str:
    """Return the topic that a node publishes the events of a lane to."""
    return f"{prefix}/{node}/event/{lane}"


def batch_filter(prefix: str, share_group: str) -> str:
    """Return the shared subscription that takes the batches of all nodes and lanes."""
    return f"$share/{share_group}/{prefix}/+/batch/+"


def acknowledgement_topic(prefix: str, node: str) -> str:
    """Return the topic that a node subscribes to for acknowledgements."""
    return f"{prefix}/{node}/ack"


def encode_acknowledgement(word: Acknowledgement) -> bytes:
    """Return the bytes of an acknowledgement."""
    done = [list(pair) for pair in word.done]
    fields = {"v": VERSION, "receiver": word.receiver, "lane": word.lane, "epoch": word.epoch, "done": done}
    return cbor2.dumps(fields, canonical=True)


def decode_acknowledgement(data: bytes) -> Acknowledgement:
    """Return the acknowledgement in `data`; raise `BatchError` when it is not one."""
    try:
        fields = cbor2.loads(data)
        if fields["v"] != VERSION or len(fields["done"]) > PAIRS_MAX:
            raise BatchError("acknowledgement of an unknown version or without bound", version=fields["v"])
        done = tuple((int(first), int(last)) for first, last in fields["done"])
        return Acknowledgement(str(fields["receiver"]), str(fields["lane"]), int(fields["epoch"]), done)
    except (cbor2.CBORDecodeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise BatchError(f"not an acknowledgement: {error}") from error
