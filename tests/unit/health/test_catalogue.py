"""The catalogue: each metric once, in the project's form, its reasons the ones that the code has."""

import re
from pathlib import Path

from gateway.health import catalogue, region_facts
from gateway.health.facts import REASONS, TOPIC_CHARACTERS_MAX, _fates, _topics
from gateway.health.metric import COUNTER, OTHER
from gateway.region.receiver import Decision
from gateway.spool.books import REASONS as GONE

ROOT = Path(__file__).resolve().parents[3]
ALL = (*catalogue.PROCESS, *catalogue.NODE, *catalogue.REGION)


def test_each_metric_is_declared_once() -> None:
    names = [metric.name for metric in (*catalogue.PROCESS, *catalogue.NODE)]
    assert sorted(set(names)) == sorted(names)
    names = [metric.name for metric in catalogue.REGION]
    assert sorted(set(names)) == sorted(names)


def test_names_say_what_is_counted_and_counters_end_in_total() -> None:
    for metric in ALL:
        assert re.fullmatch(r"(gateway|process)(_[a-z]+)+", metric.name), metric.name
        assert metric.name.endswith("_total") == (metric.kind == COUNTER), metric.name
        assert metric.sentence.endswith("."), metric.name


def test_a_path_has_a_star_for_each_label() -> None:
    for metric in (*catalogue.NODE, *catalogue.REGION):
        assert metric.path.split(".").count("*") == len(metric.labels), metric.name


def test_every_reason_that_a_decoder_gives_and_every_reason_told_is_on_the_list() -> None:
    text = "\n".join(path.read_text("utf-8") for path in (ROOT / "gateway").rglob("*.py"))
    given = set(re.findall(r'DecodeError\(\s*"([a-z_0-9]+)"', text))
    given |= set(re.findall(r'return "(expression_[a-z_]+)",', text))
    status = (ROOT / "docs" / "operate" / "status.md").read_text("utf-8")
    (_, listed) = status.split("## Reasons of quarantine")
    told = set(
        re.findall(r"`([a-z_0-9]+)`", "".join(re.findall(r"^(\|[^|]*\|)", listed.split("\n## ")[0], re.MULTILINE)))
    )
    assert len(given) > 30
    assert len(told) > 20
    assert given <= REASONS
    assert told <= REASONS


def test_every_reason_of_a_loss_or_a_refusal_is_on_its_list() -> None:
    assert {*GONE, "refused", "elsewhere"} == region_facts.LOST
    refused = {one.value for one in Decision if not one.is_durable}
    assert refused <= region_facts.REJECTED
    assert {one.value for one in Decision if one.is_durable} == set(region_facts.DECISIONS)


def test_a_reason_that_nobody_knows_is_counted_as_other() -> None:
    books = {"message.quarantined.not_utf8": 2, "message.quarantined.a": 3, "message.quarantined.b": 4}
    found = _fates({**books, "reading.sealed": 5})
    assert found["quarantined"] == {"not_utf8": 2, OTHER: 7}
    assert found["message"]["quarantined"] == 9
    assert (found["reading"]["sealed"], found["reading"]["late"]) == (5, 0)


def test_long_topics_are_cut_and_those_that_then_are_the_same_are_one() -> None:
    long = "x" * 1000
    found = _topics({f"{long}1": 1, f"{long}2": 2, "short": 3, "": 4})
    assert found == {"x" * (TOPIC_CHARACTERS_MAX - 1) + "…": 3, "short": 3, "": 4}
