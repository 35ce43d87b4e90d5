"""Batches on their way into the ring: what one lane refuses says nothing of another."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.config import schema
from gateway.model import BatchId
from gateway.sealing import Sealing
from gateway.spool.lanes import Appended

LANES = (schema.Lane(name="alarm", linger_ns=0), schema.Lane(name="telemetry"))


class Ring:
    """Refuses the alarms while it is full of them."""

    is_full = True

    def append(self, batch: Any, _: int) -> Appended:
        return Appended.REFUSED if self.is_full and batch.id.lane == "alarm" else Appended.STORED


def batch(lane: str) -> Any:
    return SimpleNamespace(id=BatchId("node", lane, 1, 1))


async def test_a_lane_that_takes_batches_does_not_hide_that_another_refuses(caplog: pytest.LogCaptureFixture) -> None:
    ring: Any = Ring()
    nothing: Any = None
    sealing = Sealing(LANES, "boot", ring, nothing, nothing, lambda: 0, lambda: None)
    with ThreadPoolExecutor(1) as writer, caplog.at_level(logging.WARNING):
        refused = asyncio.create_task(sealing._stored(writer, batch("alarm")))
        async with asyncio.timeout(10):
            while not sealing.refusing:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0)
        for _ in range(3):
            await sealing._stored(writer, batch("telemetry"))
            assert sealing.refusing == "alarm"
        ring.is_full = False
        await refused
    assert sealing.refusing == ""
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "lane alarm is full and refuses: the local broker keeps what comes; see which region is behind",
        "lane alarm takes batches again",
    ]
