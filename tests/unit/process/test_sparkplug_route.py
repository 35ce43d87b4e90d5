"""Sparkplug B in the whole machine: one series for all kinds of messages, births that survive, requests for births."""

from __future__ import annotations

import pytest

from gateway.config import schema
from gateway.ledger import residuals
from gateway.model import CLOCK_SYNCHRONISED, QOS1, MessageGroup, Output
from gateway.process.pipeline import Pipeline
from tests.support.tahu import message, metric

S = 10**9
NOON = 1_780_000_000 * S
FLOAT, INT64 = 9, 4


def machine(**options: object) -> Pipeline:
    route = schema.Route(name="sp", topics=("spBv1.0/#",), lane="t", decoder="sparkplug", **options)  # type: ignore[arg-type]
    return Pipeline((route,), (schema.Lane(name="t", linger_ns=10**18),), schema.Broker(), "n", 1)


def apply(pipeline: Pipeline, topic: str, payload: bytes, at: int) -> list[Output]:
    group = MessageGroup(NOON + at, at, CLOCK_SYNCHRONISED, 1, False, [topic], [payload], [1], [QOS1], {})
    outputs = list(pipeline.apply(group, at))
    assert residuals(pipeline.ledger, pipeline.open_readings) == (0, 0)
    return outputs


def birth(seq: int = 0) -> bytes:
    metrics = [
        metric("bdSeq", datatype=INT64, long_value=7),
        metric("temperature", alias=1, datatype=FLOAT, float_value=20.5),
    ]
    return message("Payload", timestamp=NOON // 10**6, seq=seq, metrics=metrics).SerializeToString()


def data(seq: int, value: float) -> bytes:
    metrics = [metric(alias=1, float_value=value)]
    return message("Payload", timestamp=NOON // 10**6 + seq, seq=seq, metrics=metrics).SerializeToString()


def restarted(pipeline: Pipeline, again: Pipeline) -> Pipeline:
    again.restore(list(pipeline.state_slices()))
    return again


@pytest.mark.parametrize("restart", [False, True])
def test_births_and_data_of_an_edge_node_are_one_series(restart: bool) -> None:  # noqa: FBT001  # a parameter
    pipeline = machine()
    apply(pipeline, "spBv1.0/plant/NBIRTH/edge", birth(), 1)
    if restart:
        pipeline = restarted(pipeline, machine())
    outputs = apply(pipeline, "spBv1.0/plant/NDATA/edge", data(1, 21.5), 2)
    assert [one.requests for one in outputs if one.requests] == []
    (batch,) = pipeline.finish(NOON, 3).batches
    assert [row["temperature"] for row in batch.rows["spBv1.0/plant/edge"][1]] == [20.5, 21.5]
    assert batch.rows["spBv1.0/plant/edge/sparkplug"][1] == [{"online": True, "bd_seq": 7}]


def test_data_without_a_birth_is_quarantined_and_a_birth_asked_for() -> None:
    for asks, expected in ((True, ["spBv1.0/plant/NCMD/edge"]), (False, [])):
        pipeline = machine(sparkplug=schema.Sparkplug(rebirth=asks))
        outputs = apply(pipeline, "spBv1.0/plant/NDATA/edge", data(3, 21.5), 1)
        assert [topic for one in outputs for topic, _ in one.requests] == expected
        assert sum(len(one.quarantined) for one in outputs) == 1
        again = apply(pipeline, "spBv1.0/plant/NDATA/edge", data(4, 21.5), 2)
        assert [one.requests for one in again if one.requests] == [], "not more often than the interval says"


def test_steps_go_on_over_births() -> None:
    pipeline = machine(sample=schema.Sample(deadband={"temperature": 5.0}))
    apply(pipeline, "spBv1.0/plant/NBIRTH/edge", birth(), 1)
    apply(pipeline, "spBv1.0/plant/NDATA/edge", data(1, 21.5), 2)
    apply(pipeline, "spBv1.0/plant/NDATA/edge", data(2, 27.5), 3)
    (batch,) = pipeline.finish(NOON, 4).batches
    assert [row.get("temperature") for row in batch.rows["spBv1.0/plant/edge"][1]] == [20.5, 27.5]
