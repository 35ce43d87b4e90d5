"""A span as plain data, on its way to the exporter. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.trace.context import Context


class Span(NamedTuple):
    """What was done from `start_ns` to `end_ns` (wall time); `parent_id` 0 for a root.

    `kind` is OpenTelemetry's: internal, producer (it was handed to somebody who does more) or consumer. `fault` is
    empty when it went well. `links` are spans of other traces that it comes of.
    """

    name: str
    context: Context
    parent_id: int
    start_ns: int
    end_ns: int
    attributes: Mapping[str, str | int | bool]
    kind: str = "internal"
    fault: str = ""
    links: tuple[Context, ...] = ()
