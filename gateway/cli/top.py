"""`gateway top`: what a node or a receiver is doing, live in a terminal, again each second.

    asker, a thread of its own ─▶ the newest answer, or why there is none ─▶ frame ─▶ terminal
                                                                               ▲
    keys ─▶ pause, scroll, help, end ──────────────────────────────────────────┘

Whoever is asked may stall or be gone: the thread waits for it, keys never do. A daemon that goes away leaves its last
frame, marked with its age, and is asked again until it is back. Only the visible part of a frame is sent, and as
changed rows alone, so a slow ssh line is enough. `--once` prints one whole frame and ends; where there is no terminal
that is all there is.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import select
import shutil
import sys
import termios
import threading
import time
import tty
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from rich.console import Console, Group
from rich.text import Text

from gateway.cli import EX_OK, top_node, top_region
from gateway.cli.quantities import span
from gateway.cli.shown import plain
from gateway.config import schema
from gateway.config.load import load
from gateway.errors import ConfigError, GatewayError
from gateway.health.endpoint import ask
from gateway.health.picture import Watch
from gateway.region import chosen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType

ONCE_WAIT_S: Final = 1.0
"""Between the two looks that a single frame needs for its rates."""

STALE_S: Final = 3.0
INTERVALS_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
WIDTH: Final = 80
WIDTH_MIN, HEIGHT_MIN = 20, 4

KEYS: Final = (
    ("q, Esc, Ctrl-C", "end"),
    ("space, p", "hold the picture, or let it go on"),
    ("r", "ask now"),
    ("+ and -", "ask more often, less often"),
    ("arrows, j, k, PgUp, PgDn, Home, End", "move through a picture higher than the terminal"),
    ("h, ?", "these lines, or away with them"),
)
_NAMED: Final = {
    b"\x1b[A": "k", b"\x1b[B": "j", b"\x1bOA": "k", b"\x1bOB": "j", b"\x1b[5~": "up", b"\x1b[6~": "down",
    b"\x1b[H": "home", b"\x1b[F": "end", b"\x1bOH": "home", b"\x1bOF": "end", b"\x1b[1~": "home", b"\x1b[4~": "end",
    b"\x1b": "q", b"g": "home", b"G": "end", b" ": "p", b"?": "h", b"\x03": "q", b"\x04": "q", b"=": "+",
}  # fmt: skip


class Seen(NamedTuple):
    """One answer: the line at the top and, for a width and whether only ASCII is shown, the blocks below it."""

    title: Text
    blocks: Callable[[int, bool], Iterator[RenderableType]]


class Subject(Protocol):
    """Who is looked at."""

    def look(self) -> Seen:
        """Ask once. Raises `GatewayError`."""


class Node:
    """A daemon, by its socket."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._watch = Watch()

    def look(self) -> Seen:
        """Ask once. Raises `LinkError`."""
        picture = self._watch.look(time.monotonic(), ask(self._socket))
        return Seen(top_node.title(picture), lambda width, is_plain: top_node.blocks(picture, width, is_plain=is_plain))


class Receiver:
    """A receiver, by its store; it need not run."""

    def __init__(self, options: schema.Receiver) -> None:
        self._options = options
        self._watch = top_region.Watch()

    def look(self) -> Seen:
        """Read the store once. Raises as `chosen.report`."""
        report, rates = self._watch.look(time.monotonic(), chosen.report(self._options))
        return Seen(top_region.title(report), lambda *_: top_region.blocks(report, rates))


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help="the configuration file of a node or receiver"
    )
    parser.add_argument(
        "--state", type=Path, metavar="FOLDER", help="a node's state folder, where there is no such file"
    )
    parser.add_argument("--once", action="store_true", help="print one picture and end")
    parser.add_argument(
        "--interval", type=_seconds, default=1.0, metavar="SECONDS", help="time between two looks (default %(default)s)"
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not INTERVALS_S[0] <= seconds <= INTERVALS_S[-1]:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected {INTERVALS_S[0]} to {INTERVALS_S[-1]} seconds")
    return seconds


def run(arguments: argparse.Namespace) -> int:
    """Show it until a key ends it, or once."""
    subject = _subject(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that is not UTF-8 gets a ? for what it cannot show
    is_live = sys.stdin.isatty() and sys.stdout.isatty() and not Console().is_dumb_terminal
    if arguments.once or not is_live:
        return _once(subject)
    _Screen(_Asker(subject, arguments.interval)).run()
    return EX_OK


def _subject(arguments: argparse.Namespace) -> Subject:
    if arguments.state is not None:
        return Node(schema.Node(id="node", state_folder=str(arguments.state)).socket_path)
    if arguments.config is None:
        raise ConfigError("it is not said who is meant", hint="name a configuration with -c FILE, or --state FOLDER")
    config = load(arguments.config).config
    if config.node is not None:
        return Node(config.node.socket_path)
    assert config.receiver is not None
    return Receiver(config.receiver)


def _once(subject: Subject) -> int:
    subject.look()
    time.sleep(ONCE_WAIT_S)
    seen = subject.look()
    width = shutil.get_terminal_size((WIDTH, 0)).columns
    console = Console(width=max(WIDTH_MIN, width), highlight=False)
    console.print(seen.title, no_wrap=True, overflow="ellipsis")
    for block in seen.blocks(width, not _shows_blocks(console)):
        console.print()
        console.print(block)
    return EX_OK


class _Asker:
    """Asks in a thread of its own. What it says is replaced as a whole, so it can be read from any thread."""

    def __init__(self, subject: Subject, interval_s: float) -> None:
        self._subject = subject
        self.interval_s = interval_s
        self.seen: Seen | None = None
        self.seen_at = 0.0
        self.fault = ""
        self.asked = threading.Event()
        self.has_news = threading.Event()
        threading.Thread(target=self._run, name="asker", daemon=True).start()

    def _run(self) -> None:
        while True:
            self.asked.clear()
            try:
                self.seen = self._subject.look()
                self.seen_at, self.fault = time.monotonic(), ""
            except (GatewayError, OSError) as error:
                self.fault = error.fault if isinstance(error, GatewayError) else str(error)
            self.has_news.set()
            self.asked.wait(self.interval_s)


class _Screen:
    """The terminal: what is shown of the newest answer, and what keys do."""

    def __init__(self, asker: _Asker) -> None:
        self._asker = asker
        self._console = Console(highlight=False)
        self._held: Seen | None = None
        self._offset = 0
        self._page = 1
        self._helps = False
        self._shown: list[str] = []

    def run(self) -> None:
        """Show until a key ends it."""
        fd = sys.stdin.fileno()
        before = termios.tcgetattr(fd)
        try:
            tty.setcbreak(fd)
            with self._console.screen(hide_cursor=True):
                while self._turn(fd):
                    pass
        finally:
            termios.tcsetattr(fd, termios.TCSADRAIN, before)

    def _turn(self, fd: int) -> bool:
        self._draw()
        for _ in range(10):  # a resized terminal, too, is seen within a tenth of a second
            with contextlib.suppress(InterruptedError):
                if select.select([fd], [], [], 0.1)[0]:
                    data = os.read(fd, 64)
                    return bool(data) and all(self._press(key) for key in _keys(data))
            if self._asker.has_news.is_set() or self._console.size != self._size:
                self._asker.has_news.clear()
                break
        return True

    def _press(self, key: str) -> bool:
        """Do what a key says; return False for the one that ends it."""
        moves = {"j": 1, "k": -1, "down": self._page, "up": -self._page, "home": -(1 << 30), "end": 1 << 30}
        if key in moves:
            self._offset = max(0, self._offset + moves[key])
        elif key == "p":
            self._held = None if self._held else self._asker.seen
        elif key == "h":
            self._helps = not self._helps
            self._offset = 0
        elif key == "r":
            self._asker.asked.set()
        elif key in {"+", "-"}:
            steps = INTERVALS_S if key == "-" else INTERVALS_S[::-1]
            now = self._asker.interval_s
            self._asker.interval_s = next((one for one in steps if (one > now if key == "-" else one < now)), now)
            self._asker.asked.set()
        return key != "q"

    def _draw(self) -> None:
        self._size = self._console.size
        width, height = max(WIDTH_MIN, self._size.width), max(HEIGHT_MIN, self._size.height)
        rows = self._rows(Group(*self._body(width)), width)
        self._page = height - 2
        self._offset = min(self._offset, max(0, len(rows) - self._page))
        seen = rows[self._offset : self._offset + self._page]
        seen += [""] * (self._page - len(seen))
        rows = [*self._rows(self._head(width), width)[:1], *seen, *self._rows(self._foot(len(rows)), width)[:1]]
        self._send(rows[:height])

    def _send(self, rows: list[str]) -> None:
        """Write the rows that differ from what is there."""
        is_new = len(rows) != len(self._shown)
        changed = [(number, row) for number, row in enumerate(rows) if is_new or row != self._shown[number]]
        said = "".join(f"\x1b[{number + 1};1H{row}\x1b[0m\x1b[K" for number, row in changed)
        self._shown = rows
        self._console.file.write(("\x1b[2J" if is_new else "") + said)
        self._console.file.flush()

    def _rows(self, what: RenderableType, width: int) -> list[str]:
        with self._console.capture() as capture:
            self._console.print(what, width=width)
        return capture.get().splitlines()

    def _head(self, width: int) -> Text:
        seen = self._held or self._asker.seen
        title = seen.title.copy() if seen else Text("gateway top", "bold")
        clock = time.strftime("%H:%M:%S")
        title.truncate(max(1, width - len(clock) - 2), overflow="ellipsis")
        title.append(" " * (width - title.cell_len - len(clock)))
        return title.append(clock, "bright_black")

    def _body(self, width: int) -> Iterator[RenderableType]:
        if self._helps:
            yield from (Text(f"{keys:36} {what}") for keys, what in KEYS)
            return
        asker = self._asker
        if asker.fault:
            since = f"no answer for {span(time.monotonic() - asker.seen_at)}: " if asker.seen else ""
            yield Text(f"! {since}{plain(asker.fault)}", "bold red")
        seen = self._held or asker.seen
        if seen is None:
            if not asker.fault:
                yield Text("asking …")
            return
        for block in seen.blocks(width, not _shows_blocks(self._console)):
            if not isinstance(block, Text):
                yield Text("")
            yield block

    def _foot(self, rows: int) -> Text:
        asker = self._asker
        said = Text(no_wrap=True, overflow="ellipsis")
        if self._held:
            said.append(" held ", "reverse")
        elif asker.seen and time.monotonic() - asker.seen_at > STALE_S + asker.interval_s:
            said.append(f" {span(time.monotonic() - asker.seen_at)} old ", "reverse red")
        said.append(f"{' ' if said else ''}q end  space hold  h help  each {asker.interval_s:g} s", "bright_black")
        if rows > self._page:
            last = min(rows, self._offset + self._page)
            said.append(f"  rows {self._offset + 1} to {last} of {rows}, ↑↓", "bright_black")
        return said


def _shows_blocks(console: Console) -> bool:
    return console.encoding.lower().replace("-", "").startswith("utf")


def _keys(data: bytes) -> Iterator[str]:
    """Yield the keys that were pressed: escape sequences by name, others as they are."""
    while data:
        code = next((one for one in sorted(_NAMED, key=len, reverse=True) if data.startswith(one)), data[:1])
        if code == b"\x1b" and len(data) > 1:
            return  # a sequence of a key that means nothing here
        yield _NAMED.get(code, code.decode("ascii", "replace"))
        data = data[len(code) :]
