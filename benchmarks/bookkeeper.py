"""A receiver that keeps its books and lets the readings go: for runs that would fill a disk with them.

    python -m benchmarks.bookkeeper … -c receiver.toml

It is `gateway region run` in all else: session, verification, de-duplication, its commit, its word to the node. A
configuration must name a sink, so the sinks are taken away after it was read.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import msgspec

from gateway.clock import Clock
from gateway.config.load import load
from gateway.disk import Disk
from gateway.region import service


def main() -> None:
    """Run until a signal; the path of the configuration is the last word."""
    config = load(Path(sys.argv[-1])).config
    assert config.receiver is not None
    options = msgspec.structs.replace(config.receiver, sinks=())
    asyncio.run(
        service.run(options, config.health, Disk(), Clock(), random.Random(1), lambda: print("ready", flush=True))
    )


if __name__ == "__main__":
    main()
