"""The simulated plant: repeatable values, and books that agree with what a broker got."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import cbor2
import pytest

from gateway.demo.broker import Broker
from gateway.demo.plant import BAD_READINGS, Plant, sensors
from gateway.errors import LinkError


def test_there_are_60_sensors_of_both_qos() -> None:
    plant = sensors(1)
    assert Counter(sensor.qos for sensor in plant) == {0: 20, 1: 40}
    assert len({sensor.topic for sensor in plant}) == 60


def test_the_same_seed_gives_the_same_values_and_another_seed_others() -> None:
    def payloads(seed: int) -> list[bytes]:
        return [sensor.measure(number) for sensor in sensors(seed) for number in range(50)]

    assert payloads(1) == payloads(1) != payloads(2)


def test_the_books_of_a_sensor_are_what_it_sent() -> None:
    for sensor in sensors(3):
        payloads = [sensor.measure(number) for number in range(200)]
        assert sensor.messages == 200
        assert sensor.payload_bytes == sum(map(len, payloads))
        if sensor.kind == "state":
            assert [cbor2.loads(payload)["n"] for payload in payloads] == list(range(200))
        elif sensor.kind != "legacy":
            rows = [json.loads(payload) for payload in payloads]
            assert [row["n"] for row in rows] == list(range(200))
            assert {row["n"] for row in rows if row.get("quality") == "bad"} == sensor.bad
            assert sensor.kind != "power" or len(rows[0]) - 1 == BAD_READINGS
        else:
            assert 0 < sensor.garbage < 200


async def test_the_broker_has_what_the_plant_says_it_sent() -> None:
    async with Broker() as broker:
        plant = Plant(1, (await broker.listen("local")).port)
        running = asyncio.create_task(plant.run())
        await asyncio.sleep(0.5)
        plant.stop()
        await running
        counts = broker.sessions.counts
        assert counts["received_qos1"] == sum(sensor.acknowledged for sensor in plant.sensors) > 0
        assert counts["received_qos0"] == sum(sensor.sent for sensor in plant.sensors if not sensor.qos) > 0
        assert sum(sensor.unmatched for sensor in plant.sensors) == counts["received_qos1"]
        assert plant.unacknowledged == 0
        assert plant.mark() == {sensor.topic: sensor.sent for sensor in plant.sensors}


async def test_a_plant_without_its_broker_says_so() -> None:
    async with Broker() as broker:
        listener = await broker.listen("local")
        plant = Plant(1, listener.port)
        running = asyncio.create_task(plant.run())
        await asyncio.sleep(0.3)
        listener.cut()
        with pytest.raises(ExceptionGroup) as faults:
            await running
    assert faults.group_contains(LinkError)
