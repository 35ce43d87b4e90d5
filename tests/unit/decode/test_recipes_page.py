"""Every recipe of the page is a configuration, and makes of its messages what the page says."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path

import pytest

from gateway.config import schema
from gateway.config.load import parse
from gateway.model import CLOCK_SYNCHRONISED, QOS1, MessageGroup
from gateway.process.pipeline import Pipeline

PAGE = Path(__file__).resolve().parents[3] / "docs" / "decoders" / "recipes.md"
SITE = '[node]\nid = "n"\n[[spool.lanes]]\nname = "telemetry"\n'
NOW = 1_795_000_000 * 10**9
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
MESSAGE = re.compile(r"Message on `([^`]+)`:\n\n```\w+\n(.*?)\n```\n(.*?)(?=Message on|\Z)", re.DOTALL)
OUTCOME = re.compile(r"(?:becomes|and) `([^`]+)`(?: at (\S+Z))?:\n\n```json\n(.*?)```", re.DOTALL)
SECTIONS = PAGE.read_text("utf-8").split("\n## ")[1:]


def rows_of(route: schema.Route, topic: str, payload: bytes) -> list[tuple[str, int, dict[str, object]]]:
    pipeline = Pipeline((route,), (schema.Lane(name="telemetry"),), schema.Broker(), "n", 1)
    group = MessageGroup(NOW, 1, CLOCK_SYNCHRONISED, 1, False, [topic], [payload], [1], [QOS1], {})
    outputs = [*pipeline.apply(group, 0), pipeline.finish(NOW, 2)]
    assert [one.detail for output in outputs for one in output.quarantined] == []
    return [
        (name, time_ns, row)
        for output in outputs
        for batch in output.batches
        for name, (times, rows) in batch.rows.items()
        for time_ns, row in zip(times, rows, strict=True)
    ]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.partition("\n")[0])
def test_a_recipe_makes_of_its_messages_what_the_page_says(section: str) -> None:
    language, text = BLOCK.findall(section)[0]
    assert language == "toml"
    (route,) = parse(SITE + text, "recipe.toml", PAGE.parent).config.route
    messages = MESSAGE.findall(section)
    assert messages
    for topic, payload, rest in messages:
        outcomes = OUTCOME.findall(rest)
        found = rows_of(route, topic, payload.encode())
        assert [(name, row) for name, _, row in found] == [(name, json.loads(row)) for name, _, row in outcomes]
        for (_, time_ns, _), (_, said, _) in zip(found, outcomes, strict=True):
            wanted_s = NOW // 10**9 if not said else int(datetime.fromisoformat(said).timestamp())
            assert time_ns // 10**9 == wanted_s
