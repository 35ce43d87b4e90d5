"""The schemas of our events in Avro and in Protobuf, as consumers and schema registries get them."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Final

NAME: Final = "edge_gateway.v1.Event"
"""The record of the one and the message of the other."""
PROTO_FILE: Final = "event.proto"


def avro() -> str:
    """Return the schema in Avro: JSON, in the shortest form that keeps everything."""
    return json.dumps(json.loads(_text("event.avsc")), separators=(",", ":"))


def protobuf() -> str:
    """Return the text of the `.proto` file. The event is its first message."""
    return _text(PROTO_FILE)


def _text(name: str) -> str:
    return files("gateway.schemas").joinpath(name).read_text("utf-8")
