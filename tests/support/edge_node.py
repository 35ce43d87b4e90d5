"""Messages of one edge node `e` and its device `d`, and the decoder that hears them."""

from __future__ import annotations

import pytest

from gateway.decode.contract import Limits
from gateway.decode.sparkplug.decoder import Options, Sparkplug
from gateway.errors import DecodeError
from tests.support import tahu

NBIRTH, NDATA, NDEATH = (f"spBv1.0/g/{kind}/e" for kind in ("NBIRTH", "NDATA", "NDEATH"))
DBIRTH, DDATA, DDEATH = (f"spBv1.0/g/{kind}/e/d" for kind in ("DBIRTH", "DDATA", "DDEATH"))
MS, S = 10**6, 10**9
INT32, DOUBLE, BOOLEAN, STRING = 3, 10, 11, 12
metric, payload = tahu.metric, tahu.payload
TOPICS = (NBIRTH, NDATA, NDEATH, DBIRTH, DDATA, DDEATH, "spBv1.0/g/NBIRTH/f", "spBv1.0/g/NDATA/f")


def decoder(limits=None, **options) -> Sparkplug:
    """Return a decoder under limits, with options."""
    return Sparkplug(limits or Limits(), Options(**options))


def birth(*aliases, seq=0, bd_seq=1) -> bytes:
    """Return the birth of an edge node: its metrics are m<alias>, of type Int32."""
    metrics = [metric(f"m{alias}", alias=alias, datatype=INT32, int_value=alias) for alias in aliases]
    return payload(metric("bdSeq", datatype=4, long_value=bd_seq), *metrics, seq=seq)


def data(alias, value=5, seq=1) -> bytes:
    """Return data of one metric."""
    return payload(metric(alias=alias, int_value=value), seq=seq)


def rows_of(records) -> list[dict]:
    """Return the rows of what was measured."""
    return [row for series, _, row in records if series != "sparkplug"]


def refused(sparkplug, sent, topic, now_ns=0) -> str:
    """Return the reason why a message is refused."""
    with pytest.raises(DecodeError) as caught:
        sparkplug.decode(sent, topic, now_ns)
    assert len(caught.value.fault) < 300
    return caught.value.reason


def outcome(sparkplug, said, topic, now_ns) -> tuple:
    """Return what a message comes to, and which requests it makes."""
    try:
        return "records", sparkplug.decode(said, topic, now_ns), sparkplug.take_requests()
    except DecodeError as error:
        return "refused", error.reason, sparkplug.take_requests()
