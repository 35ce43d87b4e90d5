"""What people see of the demo: a live picture, one line of it where there is no terminal, and the table at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gateway import ledger as fates
from gateway.demo.scene import SENTENCES
from gateway.demo.site import REGION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import RenderableType

    from gateway.demo.books import Books
    from gateway.demo.scene import Look

TITLE: Final = "gateway demo · the plant is simulated, all else is real"

_MIB: Final = 1024 * 1024


def live(look: Look) -> RenderableType:
    """Return the picture of one moment."""
    style = {"cut": "bold red", "kill": "bold red"}.get(look.act, "bold green")
    act = Text.assemble((f"{look.act}  ", style), SENTENCES[look.act])
    bar = ProgressBar(total=look.seconds, completed=min(look.elapsed_s, look.seconds))
    flow = _grid("stage", "so far", "a second")
    for row in _flow(look):
        flow.add_row(*row)
    lanes = _grid("lane", "batches", "cursor", "backlog", "ring on disk")
    for cells in _lanes(look):
        lanes.add_row(*cells)
    return Panel(Group(act, bar, "", flow, "", lanes), title=TITLE, width=100)


def line(look: Look) -> str:
    """Return one moment in one line."""
    return f"{look.elapsed_s:5.1f} s  {look.act:8}" + "".join(
        f"  {name} {number}" for name, number, _ in _flow(look) if number
    )


def sentence(look: Look) -> str:
    """Return what the act of a look is about."""
    return f"== {look.act}: {SENTENCES[look.act]}"


def final(books: Books) -> RenderableType:
    """Return the table at the end: where every message and every reading is."""
    table = _grid("what", "count", "counted by")
    for row in _totals(books):
        table.add_row(*row)
    differences = {name: number for name, number in books.differences.items() if number}
    for name, number in differences.items():
        table.add_row(Text(f"difference: {name}", "bold red"), Text(_n(number), "bold red"), "comparison")
    table.add_section()
    style = "bold green" if books.unaccounted == 0 else "bold red"
    table.add_row(Text("unaccounted", style), Text(_n(books.unaccounted), style), f"{len(books.differences)} checks")
    return table


def verdict(books: Books) -> str:
    """Return the last line."""
    return f"unaccounted: {books.unaccounted}"


def _totals(books: Books) -> Iterator[tuple[str, str, str]]:
    yield "messages sent", _n(books.sent), "plant"
    yield "  at QoS 1, acknowledged to them", _n(books.acknowledged_qos1), "plant"
    yield "  at QoS 0", _n(books.sent_qos0), "plant"
    yield "  QoS 0 lost in the kill (not promised)", _n(books.qos0_lost_in_the_kill), "sinks, one by one"
    yield "messages received by the node", _n(books.received), "node"
    yield "  sent again by the broker, recognised", _n(books.redelivered), "node"
    yield "  decoded", _n(books.decoded), "node"
    for reason, number in sorted(books.quarantined.items()):
        yield f"  quarantined: {reason}", _n(number), "node"
    yield "readings decoded", _n(books.readings), "node"
    yield "  filtered", _n(books.filtered), "node"
    yield "  sampled out", _n(books.sampled_out), "node"
    yield "  aggregated into windows", _n(books.aggregated), "node"
    yield "  late", _n(books.late), "node"
    yield "readings emitted by windows", _n(books.emitted), "node"
    yield "readings sealed", _n(books.sealed), "node"
    yield "readings received at the region", _n(books.region_received), "region"
    for name, rows in books.sink_rows.items():
        yield f"  in the {name} sink", _n(rows), "sink"
    yield "  duplicates in the sinks", _n(books.duplicates_in_sinks), "sinks"
    yield "  lost", _n(sum(books.region_lost.values())), "region"
    yield "batches", _n(books.batches), "region"
    yield "  that came twice and were written once", _n(books.duplicate_batches_refused), "region"
    yield "payload bytes sent by the plant", _n(books.payload_bytes), "plant"
    share = f", {books.uplink_bytes / books.payload_bytes:.0%}" if books.payload_bytes else ""
    yield "bytes over the uplink (MQTT inside TLS)", _n(books.uplink_bytes), f"region's broker{share}"


def _flow(look: Look) -> Iterator[tuple[str, str, str]]:
    status: Mapping[str, Any] = look.status or {}
    ledger, rates = status.get("ledger", {}), status.get("rates", {})
    broker = look.local.get("sessions", {}).values()
    yield "sent", _n(look.messages), ""
    yield "waiting at the local broker", _n(sum(one["waiting"] + one["in_flight"] for one in broker)), ""
    if look.status is None:
        yield "daemon", "does not answer", ""
    for name, fate in (("received", fates.RECEIVED), ("readings", fates.READ), ("sealed", fates.SEALED)):
        if look.status is not None:
            yield name, _n(ledger.get(fate, 0)), f"{rates.get(fate, 0):,.0f}"
    if look.status is not None:
        yield "quarantined", _n(fates.total(ledger, fates.QUARANTINED)), ""
    lanes = look.report.lanes if look.report is not None else []
    yield "at the region", _n(sum(lane.received for lane in lanes)), ""


def _lanes(look: Look) -> Iterator[tuple[str, ...]]:
    for lane in (look.status or {}).get("lanes", ()):
        backlog = lane["regions"].get(REGION, {})
        ring = f"{lane['bytes'] / _MIB:.0f} of {lane['bytes_max'] / _MIB:.0f} MiB"
        yield lane["name"], _n(lane["head"]), _n(backlog.get("cursor", 0)), _n(backlog.get("backlog_batches", 0)), ring


def _grid(*heads: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, head in enumerate(heads):
        table.add_column(head, justify="right" if number == 1 else "left", no_wrap=True, overflow="fold")
    return table


def _n(number: int) -> str:
    return f"{number:,}"
