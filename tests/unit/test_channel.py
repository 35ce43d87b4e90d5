"""A full channel makes the sender wait; nothing in it is lost or reordered."""

from __future__ import annotations

import asyncio

from gateway.channel import Channel


async def turns() -> None:
    """Let every other task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_items_leave_in_the_order_in_which_they_came() -> None:
    channel: Channel[int] = Channel("test", 100)
    for number in range(5):
        await channel.put(number, 1)
    assert [await channel.get() for _ in range(5)] == [0, 1, 2, 3, 4]


async def test_a_sender_waits_while_the_weight_is_at_the_limit() -> None:
    channel: Channel[str] = Channel("test", 10)
    await channel.put("a", 10)
    second = asyncio.create_task(channel.put("b", 1))
    await turns()
    assert not second.done()
    assert await channel.get() == "a"
    await second
    assert channel.counts == {"put": 2, "waits": 1}


async def test_an_item_heavier_than_the_limit_passes_when_there_is_room_at_all() -> None:
    channel: Channel[str] = Channel("test", 10)
    await channel.put("heavy", 1000)
    assert channel.weight == 1000
    assert await channel.get() == "heavy"
    assert channel.weight == 0


async def test_drained_waits_for_finished_work_and_not_only_for_taken_items() -> None:
    channel: Channel[str] = Channel("test", 10)
    await channel.put("a", 1)
    drained = asyncio.create_task(channel.drained())
    await channel.get()
    await turns()
    assert not drained.done()
    assert not channel.is_idle
    await channel.done()
    await drained
    assert channel.is_idle


async def test_a_receiver_that_is_cancelled_takes_nothing_with_it() -> None:
    channel: Channel[str] = Channel("test", 10)
    receiver = asyncio.create_task(channel.get())
    await turns()
    receiver.cancel()
    await asyncio.gather(receiver, return_exceptions=True)
    await channel.put("a", 1)
    assert await channel.get() == "a"
