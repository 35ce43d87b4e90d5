"""The packages as they are built: for another machine, twice the same, and what lintian says of one."""

from __future__ import annotations

import email.parser
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from images.debian.build import Package
from images.debian.libraries import EXTRAS_LEFT_OUT, extras
from images.debian.releases import ARCHITECTURES, RELEASES
from images.debian.tree import ROOT, site_packages

if TYPE_CHECKING:
    from email.message import Message

E_MACHINE = slice(18, 20)
AARCH64 = (183).to_bytes(2, "little")


def described(packages: Path) -> dict[str, Message]:
    """Return name → metadata of each library."""
    found = {}
    for path in packages.glob("*.dist-info/METADATA"):
        one = email.parser.HeaderParser().parsestr(path.read_text("utf-8"))
        found[canonicalize_name(one["Name"])] = one
    return found


def missing(packages: Path, python: str, machine: str) -> set[str]:
    """Return what the libraries require on the target and what is not there in a version that fits."""
    there = described(packages)
    target = {"python_version": python, "python_full_version": f"{python}.0", "platform_machine": machine}
    texts = [text for one in there.values() for text in one.get_all("Requires-Dist") or ()]
    required = [Requirement(text) for text in texts]
    wanted = [one for one in required if one.marker is None or one.marker.evaluate({**target, "extra": ""})]
    return {
        one.name
        for one in wanted
        if not one.specifier.contains(there.get(canonicalize_name(one.name), {"Version": "0"})["Version"])
    }


@pytest.mark.parametrize("release", RELEASES)
def test_all_machine_code_of_a_package_for_arm64_is_for_arm64_and_nothing_is_left_to_fetch(release, tmp_path) -> None:
    target = RELEASES[release]
    Package(target, ARCHITECTURES["arm64"], "1.0.0").lay_out(tmp_path / "tree")
    packages = site_packages(tmp_path / "tree", target)
    heads = {path: path.read_bytes()[:20] for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()}
    machines = {str(path): head[E_MACHINE] for path, head in heads.items() if head.startswith(b"\x7fELF")}
    assert set(machines.values()) == {AARCH64}
    suffixed = {str(path) for path in heads if ".so" in path.suffixes}
    assert suffixed == set(machines), "what is named as a library is one"
    tag = f"cpython-{target.python.replace('.', '')}-aarch64"
    assert {part for path in machines for part in Path(path).name.split(".") if part.startswith("cpython-")} == {
        f"{tag}-linux-gnu"
    }
    assert missing(packages, target.python, "aarch64") == set()
    assert not list(packages.glob("pip*"))


def test_an_extra_of_the_project_is_in_the_package_or_left_out_for_a_reason(tmp_path) -> None:
    target = RELEASES["bookworm"]
    Package(target, ARCHITECTURES["amd64"], "1.0.0").lay_out(tmp_path / "tree")
    there = described(site_packages(tmp_path / "tree", target))
    assert {"aio-pika", "confluent-kafka", "nats-py", "psycopg", "fastavro", "protobuf", "aiohttp"} <= set(there)
    assert "pyarrow" not in there
    assert set(extras()).isdisjoint(EXTRAS_LEFT_OUT)


def test_a_package_is_the_same_to_the_last_byte_when_somebody_else_builds_it_later(tmp_path, monkeypatch) -> None:
    built = []
    for number, mask in enumerate((0o022, 0o077)):
        before = os.umask(mask)
        try:
            monkeypatch.setenv("TZ", ("UTC", "Pacific/Auckland")[number])
            package = Package(RELEASES["bookworm"], ARCHITECTURES["amd64"], "1.0.0")
            built.append(package.build(tmp_path / str(number), level=0))
        finally:
            os.umask(before)
    assert len({hashlib.sha256(path.read_bytes()).hexdigest() for path in built}) == 1


@pytest.mark.parametrize("release", RELEASES)
def test_lintian_finds_no_fault_that_has_no_reason(release, tmp_path) -> None:
    lintian = shutil.which("lintian")
    assert lintian, "the tests need lintian: apt-get install lintian"
    path = Package(RELEASES[release], ARCHITECTURES["amd64"], "1.0.0").build(tmp_path, level=1)
    command = [lintian, "--allow-root", "--fail-on=error,warning", str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "")
