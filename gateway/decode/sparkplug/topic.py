"""Sparkplug topics: `spBv1.0/<group>/<kind>/<edge node>[/<device>]`.

Source: Sparkplug 3.0.0, section 4.1 and 4.2.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from gateway.errors import DecodeError

NAMESPACE: Final = "spBv1.0"

COMMANDS: Final = frozenset({"NCMD", "DCMD"})
"""Kinds of messages to edge nodes and devices: they hold no readings."""

_OF_NODES: Final = frozenset({"NBIRTH", "NDATA", "NDEATH", "NCMD"})
_OF_DEVICES: Final = frozenset({"DBIRTH", "DDATA", "DDEATH", "DCMD"})
_LEVELS_OF_NODE: Final = 4
_PLACES_CACHED: Final = 10_000


class Place(NamedTuple):
    """Who speaks, and what kind of message it is. `device` is empty where it is the edge node itself."""

    group: str
    kind: str
    edge: str
    device: str

    @property
    def origin(self) -> str:
        """The topic without its kind: the same for births, data and deaths of one edge node or device."""
        names = (NAMESPACE, self.group, self.edge, self.device)
        return "/".join(names if self.device else names[:-1])


@lru_cache(maxsize=_PLACES_CACHED)
def place_of(topic: str) -> Place:
    """Return what a topic says. Raises `DecodeError` for one that no message comes on."""
    namespace, *levels = topic.split("/")
    if namespace != NAMESPACE or len(levels) + 1 < _LEVELS_OF_NODE or not all(levels):
        raise _no_place(topic)
    group, kind, edge, *devices = levels
    if kind in _OF_NODES and not devices:
        return Place(group, kind, edge, "")
    if kind in _OF_DEVICES and len(devices) == 1:
        return Place(group, kind, edge, devices[0])
    raise _no_place(topic)


def _no_place(topic: str) -> DecodeError:
    fault = f"{topic[:80]!r} is not {NAMESPACE}/<group>/<kind>/<edge node>[/<device>] with a kind that is known"
    return DecodeError("topic_invalid", fault)
