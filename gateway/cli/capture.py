"""`gateway capture`: record what comes from the local broker for a while, for `gateway replay`."""

from __future__ import annotations

import asyncio
import errno
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.cli import EX_NO, EX_OK, source
from gateway.cli.shown import progress
from gateway.cli.words import duration, positive, size, topic_filter
from gateway.clock import Clock
from gateway.disk import Disk
from gateway.ingest.broker import subscriber_options
from gateway.ingest.capture import Bounds, Capture, client_id_of

if TYPE_CHECKING:
    import argparse

SECONDS: Final = "1m"
MESSAGES: Final = 100_000
BYTES: Final = "64MiB"


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("-c", "--config", type=Path, required=True, metavar="FILE", help="the configuration file")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where to record to; must not exist")
    sentence = "a topic filter in the place of those of all routes; may be repeated"
    parser.add_argument("--topic", action="append", default=[], type=topic_filter, metavar="FILTER", help=sentence)
    sentence = f"how long (default {SECONDS})"
    parser.add_argument("--for", dest="ns", type=duration, default=SECONDS, metavar="TIME", help=sentence)
    parser.add_argument("--messages", type=positive, default=MESSAGES, metavar="N", help="at most (default 100000)")
    parser.add_argument("--bytes", type=size, default=BYTES, metavar="SIZE", help="at most (default 64MiB)")


def run(arguments: argparse.Namespace) -> int:
    """Record, and say how much it was."""
    config = source.node_configuration(arguments)
    assert config.node is not None
    folder: Path = arguments.folder
    if folder.exists():
        raise FileExistsError(errno.EEXIST, "is there already, and is not recorded over", str(folder))
    filters = tuple((pattern, 1) for pattern in arguments.topic)
    options = subscriber_options(config)
    options = replace(
        options, client_id=client_id_of(config.node.id), session_expiry_s=0, filters=filters or options.filters
    )
    bounds = Bounds(arguments.messages, arguments.bytes, arguments.ns / 1e9)

    async def record() -> tuple[int, int]:
        capture = Capture(Disk(), Clock(), folder, bounds)
        with progress("recording", bounds.messages) as advance:
            return await capture.run(options, random.Random(os.urandom(16)), advance)  # noqa: S311  # jitter is no secret

    messages, payload_bytes = asyncio.run(record())
    if not messages:
        print("nothing came, so nothing was recorded")
        return EX_NO
    print(f"{folder}: {messages:,} messages, {payload_bytes:,} bytes of payload")
    return EX_OK
