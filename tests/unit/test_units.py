"""The units keep their word: systemd understands each line, and lets each service do very little."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "systemd"
UNITS = sorted(path.name for path in FOLDER.glob("*.service"))
PROGRAM = "/opt/edge-gateway/bin/gateway"
EXPOSURE_MAX = 12
"""In tenths, as `systemd-analyze --threshold` counts."""


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    tool = shutil.which("systemd-analyze")
    assert tool, "the tests need systemd-analyze: apt-get install systemd"
    return subprocess.run([tool, *arguments], check=False, capture_output=True, text=True, timeout=60)


def settings(name: str) -> dict[str, list[str]]:
    """Return what a unit sets, by key."""
    found: dict[str, list[str]] = {}
    for line in (FOLDER / name).read_text("utf-8").splitlines():
        key, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_there_is_a_unit_for_the_box_and_one_for_the_region() -> None:
    assert UNITS == ["gateway-region.service", "gateway.service"]


@pytest.mark.parametrize("name", UNITS)
def test_systemd_has_nothing_to_say_about_a_unit(name: str, tmp_path: Path) -> None:
    # The program need not be installed here, and systemd looks for it.
    unit = tmp_path / name
    unit.write_text((FOLDER / name).read_text("utf-8").replace(PROGRAM, "/bin/true"), "utf-8")
    done = analyze("verify", "--man=no", str(unit))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_does_say_something_about_a_key_that_it_does_not_know(tmp_path: Path) -> None:
    unit = tmp_path / "gateway.service"
    text = (FOLDER / "gateway.service").read_text("utf-8").replace(PROGRAM, "/bin/true")
    unit.write_text(text.replace("ProtectHome=yes", "ProtectHome=yes\nProtectHouse=yes"), "utf-8")
    assert "ProtectHouse" in analyze("verify", "--man=no", str(unit)).stderr


@pytest.mark.parametrize("name", UNITS)
def test_a_service_is_hardly_exposed(name: str) -> None:
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", "--no-pager", str(FOLDER / name))
    assert done.returncode == 0, done.stdout
    assert "Overall exposure level" in done.stdout


@pytest.mark.parametrize("name", UNITS)
def test_a_box_always_comes_back(name: str) -> None:
    found = settings(name)
    assert found["StartLimitIntervalSec"] == ["0"]
    assert found["Restart"] == ["always"]
    assert float(found["WatchdogSec"][0].removesuffix("s")) > 0


@pytest.mark.parametrize("name", UNITS)
def test_users_of_units_are_made_by_sysusers(name: str) -> None:
    users = re.findall(r"^u (\S+)", (FOLDER / "gateway.sysusers").read_text("utf-8"), re.MULTILINE)
    assert set(settings(name)["User"]) <= set(users)
