"""Packages for the tests, not compressed, and trees of Debian that have what a package depends on, and no more."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from images.debian.build import Package
from images.debian.releases import ARCHITECTURES, RELEASES
from tests.support.nspawn import base_tree

if TYPE_CHECKING:
    from pathlib import Path

OTHERS = {"systemd-sysv", "dbus", "mosquitto", "mosquitto-clients"}


def built(release: str, version: str, folder: Path) -> Path:
    """Build the package of a version for this machine."""
    return Package(RELEASES[release], ARCHITECTURES["amd64"], version).build(folder, level=0)


def tree_for(release: str, package: Path) -> Path:
    """Return a tree into which a package can be installed without anything being fetched."""
    command = ["dpkg-deb", "--field", str(package), "Depends"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return base_tree(release, sorted({one.split()[0] for one in said.split(",")} | OTHERS))
