"""`gateway run`: builds the flow, answers signals, says when it is ready, and ends with everything safe.

SIGTERM and SIGINT stop it: nothing more is taken in, what was taken in is committed, acknowledged, spooled and
checkpointed, and after `STOP_S` at most it ends anyway; the journal then makes good what was cut short. One daemon owns
a state folder: a lock keeps a second one out.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.clock import Clock
from gateway.collector import collect, standing_still
from gateway.disk import Disk
from gateway.flow import Flow
from gateway.health.endpoint import StatusEndpoint
from gateway.lock import only_one

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.config import schema

log = logging.getLogger(__name__)

STOP_S = 5.0


async def run(config: schema.Gateway, ready: Callable[[], None]) -> None:
    """Run one node until a signal; `ready` is called once it takes input in."""
    assert config.node is not None
    disk = Disk()
    folder = Path(config.node.state_folder)
    disk.make_folder(folder)
    with only_one(folder):
        with standing_still():
            flow = Flow(config, Clock(), disk, random.Random(os.urandom(16)))  # noqa: S311  # jitter is no secret
        _report(flow)
        try:
            async with StatusEndpoint(config.node.socket_path, flow.status):
                await _until_signal(flow, ready)
        finally:
            flow.close()
    log.info("stopped")


async def _until_signal(flow: Flow, ready: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    work = asyncio.create_task(flow.run(ready), name="flow")
    collecting = asyncio.create_task(collect(), name="collector")

    def stop() -> None:
        log.info("stopping")
        flow.stop()
        loop.call_later(STOP_S, work.cancel)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await work
    except asyncio.CancelledError:
        log.warning("stopped with work left: the journal has it")
    finally:
        collecting.cancel()


def _report(flow: Flow) -> None:
    report = flow.recovered.report()
    log.info(
        "recovered in %s s: %s messages replayed, batches %s",
        report["seconds"],
        report["messages_replayed"],
        report["batches"],
    )
    for note in flow.recovered.notes + flow.recovered.journal.notes:
        log.warning("recovery: %s", note)
