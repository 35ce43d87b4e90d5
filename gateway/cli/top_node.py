"""What `gateway top` shows of a node: the picture of its status as blocks of text, what needs a person first.

Everything that came from outside (topics, faults of other programs) is escaped before it reaches a terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from gateway.cli.quantities import NONE, count, rate, room, share, size, some, span
from gateway.cli.shown import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import RenderableType

    Facts = Mapping[str, Any]

BAR: Final = 14
"""Characters of a bar."""

NARROW: Final = 112
"""Columns of a terminal below which some columns are left out."""

TINY: Final = 72
"""Columns below which more are."""

_HIGH: Final = 0.8
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_PARTS: Final = len(_EIGHTHS) - 1


def title(picture: Facts) -> Text:
    """Return the line at the top, without the time."""
    state = Text(picture["state"], "bold red" if picture["attention"] else "bold green")
    return Text.assemble((f"{plain(picture['node'])}  ", "bold"), state, f"  up {span(picture['uptime_s'])}")


def blocks(picture: Facts, width: int, *, is_plain: bool) -> Iterator[RenderableType]:
    """Yield the blocks from top to bottom. `is_plain`: the terminal shows ASCII alone."""
    for sentence in picture["attention"]:
        yield Text(f"! {plain(sentence)}", "red", no_wrap=True, overflow="ellipsis")
    if picture["pressure"]:
        yield Text(f"! under pressure: {plain(', '.join(picture['pressure']))}", "yellow")
    yield _flow(picture, width, is_plain=is_plain)
    yield _lanes(picture, width, is_plain=is_plain)
    yield _regions(picture, width)
    yield from _faults(picture)
    yield _fates(picture)
    yield Text.assemble(("journal  ", "bold"), _journal(picture["journal"]))
    yield Text.assemble(("flash    ", "bold"), _flash(picture))
    yield Text.assemble(("start    ", "bold"), _start(picture))


def bar(part: float | None, *, is_plain: bool, is_full: bool = False, width: int = BAR) -> Text:
    """Return a bar that is filled to a share, never wholly before it is: yellow when high.

    `is_full`, which is red: that the share is high has cost something already.
    """
    steps = width - 2 if is_plain else width * _PARTS
    filled = 0 if part is None else max(0, min(steps, int(part * steps)))
    if part and not filled:
        filled = 1
    if is_plain:
        text = f"[{'#' * filled:.<{steps}}]"
    else:
        whole, rest = divmod(filled, _PARTS)
        text = ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(width)
    style = "red" if is_full else "yellow" if (part or 0) >= _HIGH else "green"
    return Text(text, style if is_plain else f"{style} on bright_black")


def grid(*heads: str, numbers: str) -> Table:
    """Return an empty table; `numbers` has a `<` or `>` for each column, the side on which it stands."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for head, side in zip(heads, numbers, strict=True):
        table.add_column(head, justify="right" if side == ">" else "left", no_wrap=True, overflow="ellipsis")
    return table


def _flow(picture: Facts, width: int, *, is_plain: bool) -> Table:
    """Return stages with their rates; the channels between them stand beside them, where there is room."""
    channels = list(_channels(picture, is_plain=is_plain)) if width >= TINY else []
    heads = ("", "channel", "", "waiting") if channels else ("",)
    table = grid("flow", "a second", "so far", *heads, numbers="<>><" + ("<<>" if channels else ""))
    for number, one in enumerate(picture["flow"]):
        is_bytes = one["unit"] == "bytes"
        form = (size, size) if is_bytes else (rate, count)
        shown = (form[0](one["per_second"]), form[1](one["total"]), "" if is_bytes else one["unit"])
        beside = channels[number] if number < len(channels) else ()
        table.add_row(one["stage"], *shown, *beside)
    return table


def _channels(picture: Facts, *, is_plain: bool) -> Iterator[tuple[str, Text, str]]:
    for one in picture["channels"]:
        waiting = f"{count(one['weight'])} of {count(one['limit'])}"
        yield plain(one["name"]), bar(one["share"], is_plain=is_plain), waiting
    broker = picture["broker"]
    said = Text("connected") if broker["connected"] else Text("away", "bold red")
    yield "broker", said, f"{count(broker['unacknowledged'] or 0)} unack'd"


def _lanes(picture: Facts, width: int, *, is_plain: bool) -> Table:
    is_narrow = width < NARROW
    heads = ("lane", "ring", "", "holds", "room for", "full in", "waiting", "lost")
    table = grid(
        *heads, *(() if is_narrow else ("written/s", "policy")), numbers="<<>>>>>>" + ("" if is_narrow else "><")
    )
    for one in picture["lanes"]:
        lost = sum(one["lost"].values())
        holds = room(one["bytes"]) if is_narrow else f"{room(one['bytes'])} of {room(one['bytes_max'])}"
        cells: list[str | Text] = [
            plain(one["name"]),
            bar(
                one["share"],
                is_plain=is_plain,
                is_full=one["state"] == "full",
                width=BAR if width >= TINY else BAR // 2,
            ),
            Text(share(one["share"]), "red" if one["state"] == "full" else ""),
            holds,
            span(one["room_s"]),
            Text(span(one["full_in_s"]), "" if one["full_in_s"] is None else "yellow"),
            count(one["waiting_batches"]),
            Text(count(lost), "yellow" if lost else ""),
        ]
        if not is_narrow:
            cells += [size(one["bytes_per_second"]), one["policy"]]
        table.add_row(*cells)
    return table


def _regions(picture: Facts, width: int) -> Table:
    is_narrow = width < NARROW
    heads = ("region", "link", "batches behind", "readings behind", "oldest", "sent/s", "today", "in flight")
    short = ("region", "link", "batches", "readings", "oldest", "sent/s", "today")
    table = grid(*(short if is_narrow else heads), numbers="<<>>>>>" + ("" if is_narrow else ">"))
    for one in picture["regions"]:
        line = one["line"]
        today = size(line.get("day_bytes", 0))
        if line.get("bytes_per_day"):
            today += f", {share(line['day_share'])} of {size(line['bytes_per_day'])}"
        cells = (
            plain(one["name"]),
            _link(one),
            count(one["behind_batches"]),
            count(one["behind_readings"]),
            span(one["oldest_s"]),
            size(one["bytes_per_second"]),
            Text(today, "yellow" if line.get("budget_spent") else ""),
        )
        table.add_row(*cells, *(() if is_narrow else (count(one["in_flight"]),)))
    if not picture["regions"]:
        table.add_row("none", *[""] * 6)
    return table


def _link(one: Facts) -> Text:
    if one["connected"]:
        where = "" if one["place"] == one["name"] else f", {plain(one['place'])}"
        return Text(f"up{where}", "green")
    if not one["line"].get("open", True):
        return Text("closed", "yellow")
    return Text(f"down, next {span(one['next_attempt_s'])}", "red")


def _faults(picture: Facts) -> Iterator[Text]:
    for one in picture["regions"]:
        if one["last_fault"] and one["connected"]:
            text = f"  {plain(one['name'])}, last fault: {plain(one['last_fault'])}"
            yield Text(text, "bright_black", no_wrap=True, overflow="ellipsis")


def _fates(picture: Facts) -> Table:
    table = grid("fate", "a second", "so far", numbers="<>>")
    for one in picture["fates"]:
        style = "yellow" if "quarantined" in one["fate"] or "shed" in one["fate"] else ""
        table.add_row(Text(plain(one["fate"]), style), rate(one["per_second"]), count(one["total"]))
    style = "bold red" if picture["unaccounted"] else "green"
    table.add_row(Text("unaccounted", style), "", Text(count(picture["unaccounted"]), style))
    return table


def _journal(journal: Facts) -> str:
    every = f"a commit each {journal['commit_interval_s']:.2f} s" if journal.get("commit_interval_s") else ""
    parts = (every, some(journal["commits"], "commit"), room(journal["bytes"]), some(journal["files"], "file"))
    return ", ".join(part for part in parts if part)


def _flash(picture: Facts) -> str:
    flash, disk = picture["flash"], picture["disk"]
    per = NONE if flash["per_payload_byte"] is None else f"{flash['per_payload_byte']:.2f}"
    lasts = "" if flash["endurance_years"] is None else f", lasts {flash['endurance_years']:,.0f} years"
    written = size(sum(flash["bytes"].values()))
    return f"{written} written, {per} a payload byte{lasts}; disk {disk['state']}, {size(disk['free_bytes'])} free"


def _start(picture: Facts) -> str:
    start, kept = picture["recovery"], picture["quarantine"]["kept"]
    replayed = f"{some(start['messages_replayed'], 'message')} replayed in {start['seconds']:.1f} s"
    notes = f", {some(len(start['notes']), 'note')}" if start["notes"] else ""
    return f"{replayed}{notes}; since then {count(kept)} to quarantine"
