"""One route's Sparkplug B: messages → records.

What a message becomes:

- metrics that follow each other with the same time are one row of the topic itself: metric name → value. A row ends
  where its fields reach the limit or a name comes again, so births of any size are taken;
- a metric of a template's instance is named `<metric>/<inner metric>`; definitions of templates hold no readings;
- an array becomes fields `<metric>.0`, `<metric>.1`, …; a data set becomes records of the series `<metric>`, one a row;
- null metrics are left out. Times are the metric's, else the payload's; 0 states none;
- births and deaths first give a record of the series `sparkplug`: `online`, and `bd_seq` where it is known. It does not
  count among the fields that a route chooses. An edge node's death is dated by its arrival, because its payload was
  written when the connection began.

Order of work, so that no message leaves half of itself behind: the whole payload is split; the sequence number is
followed; a birth is learnt; only then values are read. What cannot be read refuses the message, not what was learnt.

Requests for a rebirth are made when a sequence number is missing, and when data comes of which no birth is known; they
are data for who runs this (`take_requests`). They are no part of the state: a request that a restart loses is made
again at the next interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from gateway.decode.contract import RECORDS_MAX, Record
from gateway.decode.sparkplug.leaves import Leaves
from gateway.decode.sparkplug.memory import Memory, Scope
from gateway.decode.sparkplug.payload import INT, LONG, NAME, metric_fields, payload_of
from gateway.decode.sparkplug.rows import Rows, stated
from gateway.decode.sparkplug.topic import COMMANDS, place_of
from gateway.decode.sparkplug.values import value_of
from gateway.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.decode.contract import Limits
    from gateway.decode.sparkplug.memory import Learnt, Node
    from gateway.decode.sparkplug.payload import Metric, Payload
    from gateway.decode.sparkplug.rebirth import Request
    from gateway.decode.sparkplug.topic import Place
    from gateway.model import Row

STATUS: Final = "sparkplug"
"""Series of the records that say whether an edge node or device is there."""
BD_SEQ: Final = "bdSeq"

_BD_SEQ_NAME: Final = BD_SEQ.encode()
_INT64: Final = 4


@dataclass(slots=True, frozen=True, kw_only=True)
class Options:
    """What may be set for a route.

    `historical`: take metrics that the edge node kept while it was offline, mark their rows with a field, or leave them
    out; `transient`: take metrics that are not meant to be stored, or leave them out.
    """

    nodes_max: int = 1_000
    metrics_max: int = 100_000
    rebirth_interval_ns: int = 60 * 10**9
    historical: Literal["take", "mark", "leave_out"] = "take"
    transient: Literal["take", "leave_out"] = "take"


class Sparkplug:
    """The decoder of one route, with what it remembers. `decode` is a `RecordDecoder`."""

    def __init__(self, limits: Limits, options: Options | Any = Options()) -> None:  # noqa: ANN401  # or the route's section
        self._limits = limits
        self._options = options
        self.memory = Memory(options.nodes_max, options.metrics_max, options.rebirth_interval_ns)

    def decode(self, payload: bytes, topic: str, arrival_ns: int, /) -> list[Record]:
        """Return the records of a message, none of a command.

        Raises `DecodeError`, and may have learnt from the message even then.
        """
        place = place_of(topic)
        if place.kind in COMMANDS:
            return []
        said = payload_of(payload)
        if place.kind == "NDEATH":
            return self._node_death(place, said)
        node = self.memory.node(place.group, place.edge)
        if place.kind == "NBIRTH":
            self.memory.end(node)
            node.seq = said.seq
        else:
            self.memory.follow(node, said.seq)
            node.wants_rebirth |= not node.is_born
        try:
            if place.kind in {"NBIRTH", "DBIRTH"}:
                return self._birth(place, node, said)
            if place.kind == "DDEATH":
                self.memory.forget(node, place.device)
                return [Record(STATUS, stated(said.time_ms), {"online": False})]
            return self._data(place, node, said)
        finally:
            self.memory.ask(node, place.group, place.edge, arrival_ns)

    def take_requests(self) -> list[Request]:
        """Return the commands to publish, made since the last call."""
        return self.memory.take_requests()

    def state(self) -> Iterator[tuple[object, ...]]:
        """Yield what `restore` needs; requests that were not taken are no part of it."""
        return self.memory.state()

    def restore(self, records: Sequence[Any]) -> None:
        """Go on from a state, which may come in several runs."""
        self.memory.restore(records)

    def _node_death(self, place: Place, said: Payload) -> list[Record]:
        bd_seq = _bd_seq(said.metrics)
        node = self.memory.known(place.group, place.edge)
        if node is not None:
            if bd_seq is not None and node.bd_seq is not None and bd_seq != node.bd_seq:
                fault = f"a death of session {bd_seq} of the edge node, which is in session {node.bd_seq}"
                raise DecodeError("stale_death", fault)
            self.memory.end(node)
        return [_status(None, bd_seq, online=False)]

    def _birth(self, place: Place, node: Node, said: Payload) -> list[Record]:
        self.memory.forget(node, place.device)
        metrics: list[Metric] = []
        learnt: list[Learnt] = []
        for metric in Leaves(said.metrics, None, self._limits.depth_max):
            metrics.append(metric)
            learnt.append((metric.name, metric.datatype, metric.alias))
        self.memory.learn(node, place.device, learnt)
        if not place.device:
            node.bd_seq, node.is_born = _bd_seq(said.metrics), True
        status = _status(stated(said.time_ms), node.bd_seq if not place.device else None, online=True)
        return [status, *self._records(metrics, said.time_ms, RECORDS_MAX - 1)]

    def _data(self, place: Place, node: Node, said: Payload) -> list[Record]:
        scope = node.scopes.get(place.device)
        try:
            metrics = list(Leaves(said.metrics, scope or _NOTHING, self._limits.depth_max))
        except DecodeError as error:
            node.wants_rebirth |= error.reason == "birth_missing"
            raise
        records = self._records(metrics, said.time_ms, RECORDS_MAX)
        if not records:
            raise DecodeError("no_fields", "the payload holds no value, or none of the metrics that are wanted")
        return records

    def _records(self, metrics: Sequence[Metric], time_ms: int | None, count_max: int) -> list[Record]:
        rows = Rows(self._limits, count_max, marks=self._options.historical == "mark")
        takes_historical = self._options.historical != "leave_out"
        takes_transient = self._options.transient != "leave_out"
        for metric in metrics:
            if metric.is_historical and not takes_historical:
                continue
            if metric.is_transient and not takes_transient:
                continue
            if metric.tag and metric.name != BD_SEQ:
                rows.take(metric, metric.time_ms or time_ms)
        return rows.closed()


_NOTHING: Final = Scope()


def _status(time_ns: int | None, bd_seq: int | None, *, online: bool) -> Record:
    row: Row = {"online": online}
    if bd_seq is not None:
        row["bd_seq"] = bd_seq
    return Record(STATUS, time_ns, row)


def _bd_seq(metrics: Sequence[bytes]) -> int | None:
    """Return the number of the session: encoders give it as Int64, as UInt64 or without a type."""
    for data in metrics:
        if _BD_SEQ_NAME in data:
            found, tag, raw = metric_fields(data)
            if found.get(NAME) == _BD_SEQ_NAME and tag in {INT, LONG}:
                return value_of(_INT64, tag, raw)  # type: ignore[return-value]  # what an Int64 is
    return None
