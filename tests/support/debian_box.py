"""Packages for the tests, not compressed, and trees of Debian that have what a package depends on, and no more."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from images.debian.build import Package
from images.debian.releases import ARCHITECTURES, RELEASES
from tests.support.guest_image import program
from tests.support.nspawn import base_tree

OTHERS = {"systemd-sysv", "dbus", "mosquitto", "mosquitto-clients"}


def built(release: str, version: str, folder: Path, architecture: str = "amd64") -> Path:
    """Build the package of a version, for this machine or another one."""
    return Package(RELEASES[release], ARCHITECTURES[architecture], version).build(folder, level=0)


def tree_for(release: str, package: Path) -> Path:
    """Return a tree into which a package can be installed without anything being fetched."""
    command = ["dpkg-deb", "--field", str(package), "Depends"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return base_tree(release, sorted({one.split()[0] for one in said.split(",")} | OTHERS))


def arm64_tree(release: str, package: Path, folder: Path) -> Path:
    """Return a tree of a box with arm64 into which `package` is unpacked; its programs run under `qemu_arm64`.

    Nothing in it was ever started, so it is unpacked only, package by package.
    """
    python = f"python{RELEASES[release].python}"
    home = Path(os.environ.get("GATEWAY_IMAGE_CACHE") or Path.home() / ".cache" / "edge-gateway-tests")
    cache = home / f"arm64-{release}-{python}"
    if not cache.exists():
        cache.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache.parent, prefix="making-") as made:
            new = Path(made) / "tree"
            included = f"--include={python},libstdc++6,zlib1g"
            debootstrap = program("debootstrap", "debootstrap")
            _run(debootstrap, "--arch=arm64", "--foreign", "--variant=minbase", included, release, str(new))
            for archive in sorted((new / "var/cache/apt/archives").glob("*.deb")):
                _run("dpkg-deb", "--extract", str(archive), str(new))
                archive.unlink()
            shutil.copy2(program("qemu-aarch64-static", "qemu-user-static"), new / "usr/bin")
            new.rename(cache)
    tree = folder / "arm64"
    _run("cp", "-a", str(cache), str(tree))
    _run("dpkg-deb", "--extract", str(package), str(tree))
    return tree


def qemu_arm64(tree: Path, *arguments: str) -> list[str]:
    """Return the command line that runs the Python of the package in `tree`, as an arm64 program."""
    inside = ["chroot", str(tree), "/usr/bin/qemu-aarch64-static", "/opt/edge-gateway/bin/python3", *arguments]
    mounted = f"mount -t proc proc {shlex.quote(str(tree / 'proc'))} && exec {shlex.join(inside)}"
    return ["unshare", "--mount", "sh", "-c", mounted]


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
