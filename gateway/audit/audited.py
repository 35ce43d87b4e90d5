"""Writes into the audit log what a person is about to do, by a command or the console, and then what came of it.

The first entry is durable before anything is done: when it cannot be written, nothing is done. Killed in between, the
first one tells. A daemon may run on the folder: whoever appends holds the log's lock for as long as a line takes.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from gateway.audit import actor
from gateway.audit.chain import FOLDER, Chain
from gateway.disk import Disk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@contextlib.contextmanager
def audited(folder: Path, kind: str, what: Mapping[str, object], who: str = "") -> Iterator[dict[str, object]]:
    """Surround what is done in a state folder; what is put into the dictionary is told as the outcome.

    `who` is this process where nothing else is known.

    Raises `StoreError` before anything is done when the log takes no entry.
    """
    chain = Chain(Disk(), folder / FOLDER)
    who = who or actor.of_process()
    chain.append(kind, who, what, time.time_ns())
    outcome: dict[str, object] = {}
    try:
        yield outcome
    except BaseException as error:
        chain.append(f"{kind}.failed", who, {**outcome, "fault": error}, time.time_ns())
        raise
    chain.append(f"{kind}.done", who, outcome, time.time_ns())
