"""A survey commits captured input as the node would."""

from __future__ import annotations

from gateway.config import schema
from gateway.model import CLOCK_SYNCHRONISED, MessageGroup
from gateway.recovery import Settings
from gateway.survey import Survey

S = 10**9
NOW = 1_780_000_000 * S


def test_a_captured_message_for_a_lane_that_does_not_linger_is_committed_when_it_came() -> None:
    lanes = (schema.Lane(name="alarm", linger_ns=0), schema.Lane(name="telemetry", linger_ns=5 * S))
    routes = (
        schema.Route(name="alarm", topics=("alarm/#",), lane="alarm"),
        schema.Route(name="rest", topics=("#",), lane="telemetry"),
    )
    node = schema.Node(id="n", state_folder="unused")
    config = schema.Gateway(node=node, spool=schema.Spool(lanes=lanes), route=routes)
    pipeline = Settings.of(config).pipeline(1)
    topics, payloads = ["plant/a", "alarm/a", "plant/a"], [b'{"v": 1}', b'{"v": 2}', b'{"v": 3}']
    flags = [0] * len(topics)
    captured = MessageGroup(NOW, 10 * S, CLOCK_SYNCHRONISED, 1, False, topics, payloads, flags, flags, {})
    later = MessageGroup(NOW + S, 11 * S, CLOCK_SYNCHRONISED, 1, False, topics[:1], payloads[:1], [0], [0], {})
    survey, found = Survey(config), []
    for _, entry in survey.entries(pipeline, [(0, captured), (1, later)]):
        list(pipeline.apply(entry, 0))
        found.append(entry)
    groups = [one.payloads for one in found if isinstance(one, MessageGroup)]
    assert groups[0] == payloads[:2], "what came before the alarm goes with it, what came after waits"
