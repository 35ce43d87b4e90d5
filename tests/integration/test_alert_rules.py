"""The rules in Prometheus' own hands: they are valid, and each fires for what is unwell and for nothing else."""

import json
from pathlib import Path

from tests.support.scraping import promtool

MONITORING = Path(__file__).resolve().parents[2] / "images" / "monitoring"


def test_the_rules_are_valid() -> None:
    found = promtool("check", "rules", str(MONITORING / "alerts.yaml"))
    assert found.returncode == 0, found.stderr


def test_each_alert_fires_for_the_unwell_instance_and_not_for_the_well_one() -> None:
    found = promtool("test", "rules", str(MONITORING / "alerts.test.yaml"))
    assert found.returncode == 0, found.stdout


def test_a_rule_that_does_not_fire_fails_this_check(tmp_path) -> None:
    rules = (MONITORING / "alerts.yaml").read_text("utf-8")
    (tmp_path / "alerts.yaml").write_text(rules.replace("gateway_spool_refusing == 1", "gateway_spool_refusing == 2"))
    cases = (MONITORING / "alerts.test.yaml").read_text("utf-8")
    (tmp_path / "alerts.test.yaml").write_text(cases, "utf-8")
    found = promtool("test", "rules", str(tmp_path / "alerts.test.yaml"))
    assert found.returncode != 0
    assert "GatewayLaneRefuses" in found.stdout + found.stderr


def test_every_query_of_the_dashboard_is_one_that_prometheus_takes(tmp_path) -> None:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    queries += [one["expr"] for one in dashboard["annotations"]["list"]]
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m").replace("$instance", ".*")}
        for number, query in enumerate(queries)
    ]
    path = tmp_path / "queries.yaml"
    path.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}), "utf-8")  # JSON is YAML
    found = promtool("check", "rules", str(path))
    assert found.returncode == 0, found.stdout + found.stderr
    assert f"{len(rules)} rules found" in found.stdout
