"""`/metrics`: the facts about a process as OpenMetrics, or as the text that older Prometheus asks for.

The exposition, its escaping and the choice of the format are prometheus_client's; here the families of the catalogue
are filled from the facts. The facts are taken on the loop; what is made of them is made in a thread, and kept for a
quarter of a second, however many ask.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web
from prometheus_client import ProcessCollector
from prometheus_client.core import CollectorRegistry
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder

from gateway.health.metric import COUNTER, HISTOGRAM
from gateway.health.pages import MADE_ANEW_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from gateway.health.metric import Metric


class _Facts:
    """A collector in the sense of prometheus_client, of the facts that it was given last."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics
        self.facts: Mapping[str, Any] = {}

    def collect(self) -> Iterator[Family]:
        for metric in self._metrics:
            family = _family(metric, self.facts)
            if family.samples:
                yield family


def routes(metrics: Sequence[Metric], facts: Callable[[], Mapping[str, Any]]) -> web.RouteTableDef:
    """Return the page of the `metrics` whose values are in what `facts` returns."""
    registry = CollectorRegistry(auto_describe=False)
    collector = _Facts(metrics)
    registry.register(collector)
    ProcessCollector(registry=registry)
    made: dict[str, tuple[float, bytes]] = {}
    making = asyncio.Lock()
    table = web.RouteTableDef()

    @table.get("/metrics")
    async def page(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        loop = asyncio.get_running_loop()
        async with making:
            made_at, body = made.get(content_type, (0.0, b""))
            if not body or loop.time() - made_at >= MADE_ANEW_S:
                collector.facts = facts()
                body = await loop.run_in_executor(None, encode, registry)
                made[content_type] = loop.time(), body
        return web.Response(body=body, headers={"Content-Type": content_type})

    return table


def _family(metric: Metric, facts: Mapping[str, Any]) -> Family:
    name = metric.name.removesuffix("_total") if metric.kind == COUNTER else metric.name
    family = Family(name, metric.sentence, metric.kind, metric.unit if name.endswith(metric.unit) else "")
    for values, found in _found(facts, metric.path.split(".")):
        labels = dict(zip(metric.labels, values, strict=True))
        if metric.kind == HISTOGRAM:
            _add_histogram(family, name, labels, found)
        elif found is not None:
            family.add_sample(metric.name, labels, float(found))
    return family


def _add_histogram(family: Family, name: str, labels: dict[str, str], found: Mapping[str, Any]) -> None:
    for bound, number in found["buckets"].items():
        family.add_sample(f"{name}_bucket", {**labels, "le": bound}, number)
    family.add_sample(f"{name}_count", labels, found["buckets"]["+Inf"])
    family.add_sample(f"{name}_sum", labels, found["sum"])


def _found(facts: object, path: Sequence[str], values: tuple[str, ...] = ()) -> Iterable[tuple[tuple[str, ...], Any]]:
    """Yield the values of the labels and what stands there, for each place that the path leads to."""
    if not path:
        yield values, facts
        return
    head, *rest = path
    if not isinstance(facts, dict):
        return
    if head == "*":
        for key, inner in facts.items():
            yield from _found(inner, rest, (*values, key))
    elif head in facts:
        yield from _found(facts[head], rest, values)
