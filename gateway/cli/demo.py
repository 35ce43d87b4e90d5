"""`gateway demo`: sensors, edge, ring, uplink and region on this machine, cut and killed, and the books at the end.

A live picture on a terminal, lines elsewhere. With `--json` progress goes to standard error, and standard output holds
one JSON object. Exit code 0 only when nothing is unaccounted for.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live

from gateway.cli import EX_NO, EX_OK
from gateway.demo import view
from gateway.demo.scene import Scene
from gateway.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from gateway.demo.scene import Look

SECONDS = 45
SECONDS_MIN = 10
LINE_S = 2.0


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--seconds", type=_seconds, default=SECONDS, metavar="N", help="length, at least 10 (45)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the simulated values (1)")
    parser.add_argument("--json", action="store_true", help="print the books as one JSON object at the end")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work in this new folder, and leave it there")


def run(arguments: argparse.Namespace) -> int:
    """Play the demo."""
    console = Console(stderr=arguments.json)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # end in order, as by Ctrl-C
    with _folder(arguments.keep) as folder:
        with _shown(console) as tell:
            books = asyncio.run(Scene(folder, arguments.seconds, arguments.seed, tell).run())
        console.print(view.final(books))
    if arguments.json:
        print(json.dumps({"seconds": arguments.seconds, "seed": arguments.seed, **books.as_json()}))
    else:
        print(view.verdict(books))
    return EX_OK if books.unaccounted == 0 else EX_NO


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="gateway-demo-", ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()):
        raise StoreError(f"{keep} is not empty", hint="name a new folder")
    yield keep.absolute()


@contextlib.contextmanager
def _shown(console: Console) -> Iterator[Callable[[Look], None]]:
    """Give a function that shows a look: live on a terminal, else as lines."""
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as picture:
            yield lambda look: picture.update(view.live(look), refresh=True)
        return
    yield _Lines(sys.stderr if console.stderr else sys.stdout).tell


class _Lines:
    """Prints what an act is about when it begins, and a line every two seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._act = ""
        self._next = 0.0

    def tell(self, look: Look) -> None:
        if look.act != self._act:
            self._act = look.act
            self._print(view.sentence(look) + "\n")
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_S
            self._print(view.line(look) + "\n")

    def _print(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()  # who reads a pipe wants to see it while it happens


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if (seconds := float(text)) >= SECONDS_MIN:
            return seconds
    raise argparse.ArgumentTypeError(f"a number of at least {SECONDS_MIN} is wanted, not {text!r}")
