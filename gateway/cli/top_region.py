"""What `gateway top` shows of a receiver: the report of its store, lane by lane, with rates from one to the next."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.text import Text

from gateway.cli.quantities import count, rate, size, span
from gateway.cli.shown import plain
from gateway.cli.top_node import grid
from gateway.health.rates import Rates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType
    from rich.table import Table

    from gateway.region.reconcile import LaneReport, Report


class Watch:
    """Reports one after the other. `look` is given the time of each, of a clock that does not step."""

    def __init__(self) -> None:
        self._rates = Rates()

    def look(self, now_s: float, report: Report) -> tuple[Report, dict[str, float]]:
        """Return the report with the readings per second of each lane."""
        self._rates.look(now_s, {_key(lane): lane.received for lane in report.lanes})
        return report, self._rates.per_second() if self._rates.looks > 1 else {}


def title(report: Report) -> Text:
    """Return the line at the top, without the time."""
    state = Text("unaccounted", "bold red") if report.unaccounted else Text("ok", "bold green")
    nodes = len({lane.node for lane in report.lanes})
    return Text.assemble(("receiver  ", "bold"), state, f"  {count(nodes)} nodes, {count(len(report.lanes))} lanes")


def blocks(report: Report, rates: dict[str, float]) -> Iterator[RenderableType]:
    """Yield the blocks from top to bottom."""
    if report.unaccounted:
        yield Text(f"! unaccounted: {count(report.unaccounted)} readings, a defect or a fork", "red")
    yield _lanes(report, rates)
    for lane in report.lanes:
        if lane.holes:
            first, more = lane.holes[0], len(lane.holes) - 1
            said = f"  {plain(lane.node)}/{plain(lane.lane)}: batches {first.first} to {first.last} are missing"
            yield Text(f"{said}, {more} more such runs" if more else said, "yellow")
    if report.outboxes:
        table = grid("forward", "waiting", "bytes", numbers="<>>")
        for name, one in report.outboxes.items():
            table.add_row(plain(name), count(one["messages"]), size(one["bytes"]))
        yield table
    if report.rejected:
        table = grid("not taken", "messages", numbers="<>")
        for reason, number in sorted(report.rejected.items()):
            table.add_row(plain(reason), count(number))
        yield table


def _lanes(report: Report, rates: dict[str, float]) -> Table:
    table = grid("node", "lane", "a second", "received", "lost", "missing", "repeated", "heard", numbers="<<>>>>>>")
    for lane in report.lanes:
        lost, style = sum(lane.lost.values()), "" if lane.is_newest_epoch else "bright_black"
        table.add_row(
            Text(plain(lane.node), style),
            plain(lane.lane),
            rate(rates.get(_key(lane))),
            count(lane.received),
            Text(count(lost), "yellow" if lost else ""),
            Text(count(lane.missing), "yellow" if lane.missing else ""),
            count(lane.duplicates),
            f"{span(max(0.0, time.time() - lane.seen_ns / 1e9))} ago" if lane.seen_ns else "",
        )
    if not report.lanes:
        table.add_row("none yet", *[""] * 7)
    return table


def _key(lane: LaneReport) -> str:
    return f"{lane.node}/{lane.lane}/{lane.epoch}"
