"""What was learnt of edge nodes: names and types by their births, sequence numbers, whom to ask for a birth.

    edge node ─▶ last seq, bdSeq, is born, wants rebirth, asked when
              └▶ "" and each device ─▶ name → data type, alias → name

Bounds: `nodes_max` edge nodes, and `metrics_max` metrics of all of them together; past either, the edge node that was
silent longest is forgotten, which costs it a rebirth when it speaks again. A single birth that alone is past the bound
is refused. An edge node is asked for a birth at most once in `rebirth_interval_ns`, and again and again until it comes,
because a command may be lost as well.

Invariant: an alias never resolves to what an earlier birth said of it. A birth forgets all that came before it (that of
an edge node its devices too), even when the birth itself turns out to be unreadable.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from gateway.decode.sparkplug.payload import SEQ_NUMBERS
from gateway.decode.sparkplug.rebirth import Request, rebirth_request
from gateway.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Learnt: TypeAlias = tuple[str, int, int | None]
"""Name, data type, alias."""

REQUESTS_MAX: Final = 1_000
"""Requests that wait to be taken; past it none is made, so that it is made later."""

_NODE = "n"
_SCOPE = "s"
_METRIC = "m"


class Scope:
    """What is known of the metrics of an edge node itself, or of one device of it. None is never an alias."""

    __slots__ = ("by_alias", "types")

    def __init__(self) -> None:
        self.types: dict[str, int] = {}
        self.by_alias: dict[int | None, str] = {}

    @property
    def size(self) -> int:
        """How much of `metrics_max` it takes: its metrics, and one for itself."""
        return 1 + max(len(self.types), len(self.by_alias))

    def learn(self, name: str, datatype: int, alias: int | None) -> None:
        """Remember a metric."""
        self.types[name] = datatype
        if alias is not None:
            self.by_alias[alias] = name


class Node:
    """What is known of one edge node."""

    __slots__ = ("asked_ns", "bd_seq", "is_born", "scopes", "seq", "wants_rebirth")

    def __init__(self) -> None:
        self.seq: int | None = None
        self.bd_seq: int | None = None
        self.is_born = False
        self.wants_rebirth = False
        self.asked_ns: int | None = None
        self.scopes: dict[str, Scope] = {}

    @property
    def size(self) -> int:
        """How much of `metrics_max` it takes."""
        return sum(scope.size for scope in self.scopes.values())


class Memory:
    """All edge nodes of one route.

    `gaps` counts jumps of sequence numbers, `forgotten` edge nodes and devices given up for room; both count since the
    process began and are no part of the state.
    """

    def __init__(self, nodes_max: int, metrics_max: int, rebirth_interval_ns: int) -> None:
        self._nodes_max = nodes_max
        self._metrics_max = metrics_max
        self._rebirth_interval_ns = rebirth_interval_ns
        self._nodes: OrderedDict[tuple[str, str], Node] = OrderedDict()  # the one heard longest ago first
        self._metrics = 0
        self._requests: list[Request] = []
        self.gaps = 0
        self.forgotten = 0

    def __len__(self) -> int:
        """Return how many edge nodes are known."""
        return len(self._nodes)

    @property
    def metrics(self) -> int:
        """How much of `metrics_max` is taken."""
        return self._metrics

    def node(self, group: str, edge: str) -> Node:
        """Return what is known of an edge node, which speaks just now."""
        key = (group, edge)
        node = self._nodes.get(key)
        if node is None:
            node = self._nodes[key] = Node()
            self._make_room()
        else:
            self._nodes.move_to_end(key)
        return node

    def known(self, group: str, edge: str) -> Node | None:
        """Return what is known of an edge node, None for nothing; it is remembered no longer for that."""
        return self._nodes.get((group, edge))

    def end(self, node: Node) -> None:
        """Forget the metrics of an edge node and of its devices, and what it last said."""
        self._metrics -= node.size
        node.scopes.clear()
        node.seq = node.bd_seq = None
        node.is_born = node.wants_rebirth = False

    def forget(self, node: Node, device: str) -> None:
        """Forget the metrics of one device."""
        scope = node.scopes.pop(device, None)
        if scope is not None:
            self._metrics -= scope.size

    def learn(self, node: Node, device: str, metrics: Sequence[Learnt]) -> None:
        """Remember what a birth says. Raises `DecodeError` when it contradicts itself or is too large."""
        if 1 + len(metrics) > self._metrics_max:
            fault = f"a birth has {len(metrics)} metrics, {self._metrics_max - 1} can be remembered"
            raise DecodeError("too_many_metrics", fault)
        scope = Scope()
        for name, datatype, alias in metrics:
            if alias is not None and scope.by_alias.get(alias, name) != name:
                raise DecodeError("duplicate_alias", f"a birth gives the alias {alias} to two metrics")
            scope.learn(name, datatype, alias)
        self.forget(node, device)
        node.scopes[device] = scope
        self._metrics += scope.size
        self._make_room()

    def follow(self, node: Node, seq: int | None) -> None:
        """Take note of the sequence number of a message other than an edge node's birth or death."""
        if seq is None:
            return
        if node.seq is not None and seq != (node.seq + 1) % SEQ_NUMBERS:
            self.gaps += 1
            node.wants_rebirth = True
        node.seq = seq

    def ask(self, node: Node, group: str, edge: str, now_ns: int) -> None:
        """Ask for a rebirth if one is wanted and none was asked for lately."""
        if not node.wants_rebirth or len(self._requests) >= REQUESTS_MAX:
            return
        if node.asked_ns is not None and 0 <= now_ns - node.asked_ns < self._rebirth_interval_ns:
            return
        node.asked_ns = now_ns
        self._requests.append(rebirth_request(group, edge, now_ns))

    def take_requests(self) -> list[Request]:
        """Return the requests made since the last call, and forget them."""
        taken, self._requests = self._requests, []
        return taken

    def _make_room(self) -> None:
        while len(self._nodes) > self._nodes_max or (self._metrics > self._metrics_max and len(self._nodes) > 1):
            _, node = self._nodes.popitem(last=False)
            self._metrics -= node.size
            self.forgotten += 1
        if self._metrics > self._metrics_max:
            self._let_devices_go(next(iter(self._nodes.values())))

    def _let_devices_go(self, node: Node) -> None:
        """Make room within the only edge node there is: its oldest devices go."""
        for device in list(node.scopes)[:-1]:
            self.forget(node, device)
            self.forgotten += 1
            if self._metrics <= self._metrics_max:
                return

    def state(self) -> Iterator[tuple[object, ...]]:
        """Yield what `restore` needs: each edge node, then its scopes, each followed by its metrics."""
        for (group, edge), node in self._nodes.items():
            flags = (node.is_born, node.wants_rebirth)
            yield _NODE, group, edge, node.seq, node.bd_seq, node.asked_ns, *flags
            for device, scope in node.scopes.items():
                aliases: dict[str, list[int | None]] = {}
                for known, name in scope.by_alias.items():
                    aliases.setdefault(name, []).append(known)
                yield _SCOPE, device
                for name, datatype in scope.types.items():
                    for alias in aliases.get(name, [None]):
                        yield _METRIC, name, datatype, alias

    def restore(self, records: Sequence[Any]) -> None:
        """Go on from a state, which may come in several runs."""
        for kind, *values in records:
            if kind == _NODE:
                group, edge, *rest = values
                node = self._nodes[group, edge] = Node()
                node.seq, node.bd_seq, node.asked_ns, node.is_born, node.wants_rebirth = rest
                continue
            node = next(reversed(self._nodes.values()))
            if kind == _SCOPE:
                (device,) = values
                node.scopes[device] = Scope()
                self._metrics += 1
            else:
                scope = next(reversed(node.scopes.values()))
                before = scope.size
                scope.learn(*values)
                self._metrics += scope.size - before
