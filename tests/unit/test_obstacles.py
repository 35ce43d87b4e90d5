from __future__ import annotations

import datetime as dt
import os
import sys
from pathlib import Path

import pytest

from gateway import cli
from gateway.clock import Clock
from gateway.config import schema
from gateway.config.load import load
from gateway.demo.pki import write_pki
from gateway.obstacles import Obstacle, obstacles

NOW_NS = int(dt.datetime.now(dt.UTC).timestamp()) * 10**9
TEXT = """[node]
id = "node-1"
state_folder = "state"
[[spool.lanes]]
name = "telemetry"
[[route]]
name = "sensors"
topics = ["sensors/#"]
lane = "telemetry"
[[region]]
name = "centre"
host = "localhost"
tls_ca = "pki/ca.pem"
tls_certificate = "pki/node.pem"
tls_key = "pki/node.key"
"""


class SetClock(Clock):
    def __init__(self, wall_ns: int = NOW_NS) -> None:
        self._wall_ns = wall_ns

    def wall_ns(self) -> int:
        return self._wall_ns


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with a configuration that can start."""
    write_pki(tmp_path / "pki")
    (tmp_path / "state").mkdir()
    (tmp_path / "gateway.toml").write_text(TEXT, "utf-8")
    return tmp_path


def configuration(site: Path) -> schema.Gateway:
    return load(site / "gateway.toml").to_start()


def found(site: Path, clock: Clock | None = None) -> list[Obstacle]:
    return obstacles(configuration(site), clock or SetClock())


def only(site: Path, clock: Clock | None = None) -> Obstacle:
    (one,) = found(site, clock)
    return one


def test_nothing_is_in_the_way_of_a_site_that_is_whole(site: Path) -> None:
    assert found(site) == []


def test_a_state_folder_that_is_still_missing_is_made_by_the_start(site: Path) -> None:
    (site / "state").rmdir()
    assert found(site) == []


def test_a_missing_certificate_costs_a_region_and_no_start(site: Path) -> None:
    (site / "pki" / "node.pem").unlink()
    assert only(site) == Obstacle(
        f"region[0].tls_certificate: cannot read {site}/pki/node.pem: No such file or directory", stops=False
    )


def test_a_key_of_another_certificate_is_told(site: Path) -> None:
    (site / "pki" / "node.key").write_bytes((site / "pki" / "receiver.key").read_bytes())
    assert "do not belong together" in only(site).sentence


def test_a_key_that_everybody_may_read_is_told(site: Path) -> None:
    (site / "pki" / "node.key").chmod(0o644)
    assert "everybody may read" in only(site).sentence


def test_certificates_that_have_expired_or_are_not_valid_yet_are_told(site: Path) -> None:
    late = found(site, SetClock(NOW_NS + 50 * 365 * 86400 * 10**9))
    assert len(late) == 2
    assert all("has expired on" in one.sentence and not one.stops for one in late)
    early = found(site, SetClock(0))
    assert "is not valid before" in early[0].sentence
    assert "the clock has not been set" in early[-1].sentence


def test_a_file_where_the_state_folder_should_be_keeps_the_daemon_from_starting(site: Path) -> None:
    (site / "state").rmdir()
    (site / "state").touch()
    assert only(site).stops
    assert "is no folder" in only(site).sentence


def test_a_disk_with_little_space_is_told(site: Path) -> None:
    text = TEXT.replace("[[spool.lanes]]", '[spool]\nfree_bytes_min = "1024GiB"\n[[spool.lanes]]')
    (site / "gateway.toml").write_text(text, "utf-8")
    assert "rings will not grow" in only(site).sentence


@pytest.mark.root
def test_a_state_folder_of_another_user_keeps_the_daemon_from_starting(site: Path) -> None:
    (site / "state" / "lock").touch()
    (site / "state" / "journal").mkdir(mode=0o700)
    for path in (site, *site.parents[:3]):
        path.chmod(0o755)
    (site / "pki" / "node.key").chmod(0o640)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # as somebody who owns nothing here
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        seen = [one for one in obstacles(configuration(site), SetClock()) if one.stops]
        os.write(write, "\n".join(one.sentence for one in seen).encode())
        os._exit(0)
    os.waitpid(child, 0)
    place = f"node.state_folder: {site}/state"
    assert os.read(read, 4096).decode() == f"{place} may not be written by user 65534: let user 65534 write there"


def test_check_warns_of_what_a_start_would_suffer_from_and_goes_on(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (site / "pki" / "ca.pem").unlink()
    assert cli.main(["check", "-c", str(site / "gateway.toml")]) == cli.EX_OK
    assert "warning" not in capsys.readouterr().err
    assert cli.main(["check", "--start", "-c", str(site / "gateway.toml")]) == cli.EX_OK
    said = capsys.readouterr()
    assert said.err.startswith("warning: region[0].tls_ca: cannot read")
    assert "ok, node node-1" in said.out


def test_check_ends_with_what_would_end_a_start(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "state").rmdir()
    (site / "state").touch()
    assert cli.main(["check", "--start", "-c", str(site / "gateway.toml")]) == cli.EX_CONFIG
    assert "the gateway cannot start here" in capsys.readouterr().err


def test_traces_whose_extra_is_missing_keep_the_daemon_from_starting(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (site / "gateway.toml").open("a", encoding="utf-8") as file:
        file.write('[trace]\nendpoint = "http://127.0.0.1:4318"\n')
    assert found(site) == []
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    obstacle = only(site)
    assert obstacle.stops
    assert "edge-gateway[trace]" in obstacle.sentence
