"""Alerts, their pages and the dashboard name what there is: metrics, labels, pages, each other."""

import json
import re
from pathlib import Path

import pytest
import yaml

from gateway.health import catalogue
from gateway.health.metric import HISTOGRAM

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "images" / "monitoring"
PAGES = ROOT / "docs" / "operate" / "alerts"
RULES = [
    rule
    for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
METRICS = {metric.name: metric for metric in (*catalogue.PROCESS, *catalogue.NODE, *catalogue.REGION)}
SERIES = catalogue.series_names(METRICS.values())
OF_PROMETHEUS = {"instance", "job", "le"}


def named(expression: str) -> list[tuple[str, str]]:
    """Return the series in an expression, each with its selectors."""
    return re.findall(r"\b((?:gateway|process)_[a-z_]+)(\{[^}]*\})?", expression)


def check_expression(expression: str) -> None:
    series = named(expression)
    for name, selectors in series:
        assert name in SERIES, f"{name} is not in the catalogue"
        metric = METRICS.get(name) or METRICS[re.sub(r"_(bucket|sum|count)$", "", name)]
        allowed = {*metric.labels, *OF_PROMETHEUS} if metric.kind == HISTOGRAM else {*metric.labels, "instance", "job"}
        assert set(re.findall(r"(\w+)\s*(?:=|!)", selectors)) <= allowed, f"{name}{selectors}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_names_metrics_that_there_are(rule) -> None:
    check_expression(rule["expr"])
    assert named(rule["expr"]) or rule["expr"].startswith("up{")
    assert rule["labels"]["severity"] in {"page", "ticket"}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_of_the_dashboard_names_metrics_that_there_are(query) -> None:
    assert named(query)
    check_expression(query)


def test_every_alert_has_a_page_that_says_what_it_watches_and_every_page_an_alert() -> None:
    wanted = {rule["alert"]: ROOT / rule["annotations"]["runbook"] for rule in RULES}
    assert len(set(wanted.values())) == len(RULES)
    assert {page for page in PAGES.glob("*.md") if page.name != "README.md"} == set(wanted.values())
    listed = (PAGES / "README.md").read_text("utf-8")
    for rule in RULES:
        page = wanted[rule["alert"]]
        text = page.read_text("utf-8")
        assert text.startswith(f"# {rule['alert']}\n")
        shown = re.search(r"```\n(.*?)```", text, re.DOTALL)
        assert shown is not None
        expression = " ".join(rule["expr"].split()) + (f" for {rule['for']}" if "for" in rule else "")
        assert " ".join(shown[1].split()) == expression
        assert "**Look at**" in text
        assert "**Do**" in text
        assert f"[{rule['alert']}]({page.name}) | {rule['labels']['severity']} |" in listed


def test_every_alert_is_tried_with_one_instance_that_is_unwell_and_one_that_is_well() -> None:
    cases = yaml.safe_load((MONITORING / "alerts.test.yaml").read_text("utf-8"))["tests"]
    assert [case["name"] for case in cases] == [rule["alert"] for rule in RULES]
    for case in cases:
        names = " ".join(series["series"] for series in case["input_series"])
        assert 'instance="bad"' in names
        assert 'instance="good"' in names
        (tried,) = case["alert_rule_test"]
        assert tried["alertname"] == case["name"]
        assert [one["exp_labels"]["instance"] for one in tried["exp_alerts"]] == ["bad"]


def test_the_panels_of_the_dashboard_do_not_lie_over_each_other() -> None:
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + dx, place["y"] + dy) for dx in range(place["w"]) for dy in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
