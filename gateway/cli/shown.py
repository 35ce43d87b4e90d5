"""How tools show what they found: tables, times, text that cannot command a terminal; and the progress of long work."""

from __future__ import annotations

import contextlib
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence


def table(rows: Sequence[Sequence[str]], numbers: Collection[int] = ()) -> list[str]:
    """Return lines of aligned columns; those in `numbers` are aligned right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if index in numbers else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def moment(time_ns: int) -> str:
    """Return a time in UTC; as a bare number where the calendar ends."""
    try:
        return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{time_ns} ns"


def placed(place: str, offset: int | None, kind: str, size: int, why: str) -> str:
    """Return how a finding about a file begins: where, what, how much, why."""
    said = f"{place if offset is None else f'{place} at {offset}'}: {kind}"
    if size:
        said += f", {size:,} bytes"
    return f"{said} ({why})" if why else said


def plain(text: str) -> str:
    """Return `text` with everything escaped that a terminal would not print: it may come from a hostile sensor."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


@contextlib.contextmanager
def progress(sentence: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error while work is done, if that is a terminal; yield what is told how much is done."""
    with Progress(console=Console(file=sys.stderr), disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task(sentence, total=max(total, 1))

        def advance(done: int) -> None:
            bar.advance(task, done)

        yield advance
