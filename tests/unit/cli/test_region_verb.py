"""`gateway region status` shows what came, what did not, and the one sum that must be 0."""

from __future__ import annotations

import json

import pytest

from gateway import cli
from gateway.region.intake import Message
from tests.support.receiving import Region, gap, sent, sent_gap
from tests.support.spooled import readings_between, readings_of

CONFIG = """
[receiver]
tls_ca = "ca.pem"
tls_certificate = "receiver.pem"
tls_key = "receiver.key"
state_folder = "{folder}"
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "receiver.toml"
    path.write_text(CONFIG.format(folder=tmp_path / "state"), "utf-8")
    return path


def status(config, capsys, *more: str) -> tuple[int, str, str]:
    code = cli.main(["region", "status", "-c", str(config), *more])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_an_audit_names_what_a_broker_forgot_and_its_exit_code_says_so(tmp_path, config, capsys) -> None:
    told = tmp_path / "node.json"
    with Region(tmp_path / "state") as region:
        region.take(sent(1), sent(3))
        for cursor, code, words in ((1, cli.EX_OK, "under way"), (3, cli.EX_NO, "accepted and forgot")):
            lanes = [{"name": "telemetry", "head": 3}]
            state = {"node": "node", "lanes": lanes, "regions": {"centre": {"cursors": {"telemetry": cursor}}}}
            told.write_text(json.dumps(state), "utf-8")
            assert cli.main(["region", "audit", "-c", str(config), "--node", str(told)]) == code
            assert words in capsys.readouterr().out
        assert cli.main(["region", "audit", "-c", str(config), "--json"]) == cli.EX_NO
        assert json.loads(capsys.readouterr().out)[0]["verdict"] == "missing"
        told.write_text("{}", "utf-8")
        assert cli.main(["region", "audit", "-c", str(config), "--node", str(told)]) == cli.EX_CONFIG
        assert "gateway status --json" in capsys.readouterr().err


def test_status_shows_every_lane_hole_loss_and_dead_letter(tmp_path, config, capsys) -> None:
    with Region(tmp_path / "state") as region:
        region.take(sent(1), sent(1), sent(4), sent_gap(gap(6, 7)), Message("edge/v1/x/batch/y", b"no batch"))
        code, out, _ = status(config, capsys)
    lines = out.splitlines()
    received, lost = readings_of(1) + readings_of(4), readings_between(6, 7)
    missing = readings_between(2, 3) + readings_of(5)
    expected = readings_between(1, 7)
    assert code == cli.EX_OK
    assert lines[0].split()[:3] == ["node", "lane", "epoch"]
    assert lines[1].split() == [
        "node",
        "telemetry",
        "100",
        "2",
        *map(str, (expected, received, lost, missing)),
        "0",
        "1",
    ]
    assert f"node/telemetry: batches 2 to 3 are missing, {readings_between(2, 3)} readings" in lines
    assert f"node/telemetry: {lost} readings evicted" in lines
    assert "not taken, no_batch: 1 messages" in lines
    assert any("edge/v1/x/batch/y: no_batch:" in line for line in lines)
    assert lines[-1] == "unaccounted: 0"


def test_status_as_json_is_the_report(tmp_path, config, capsys) -> None:
    with Region(tmp_path / "state") as region:
        region.take(sent(1))
    code, out, _ = status(config, capsys, "--json")
    (lane,) = json.loads(out)["lanes"]
    assert code == cli.EX_OK
    assert (lane["node"], lane["received"], lane["unaccounted"]) == ("node", readings_of(1), 0)


def test_status_of_a_receiver_that_never_ran_says_so(config, capsys) -> None:
    code, out, err = status(config, capsys)
    assert (code != cli.EX_OK, out) == (True, "")
    assert "has `gateway region run` ever run" in err


def test_a_configuration_without_a_receiver_is_refused(tmp_path, capsys) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(
        '[node]\nid = "n"\n[[spool.lanes]]\nname = "t"\n[[route]]\nname = "r"\ntopics = ["a"]\nlane = "t"\n'
    )
    code, _, err = status(path, capsys)
    assert code == cli.EX_CONFIG
    assert "has no [receiver]" in err
