"""Disks of a small virtual machine that runs the gateway of this checkout: made without a mount, a loop device or KVM.

Three disks, each with its own life:

    root      Debian's minimal system with Python; every run has the same, so it is cached, with kernel and RAM disk
    program   the packages that this interpreter runs with, the gateway of this checkout, configuration, keys, `init`
    state     empty at first; the only one that the guest writes, and so the only one that a power cut can harm

The first RAM disk holds a static busybox and the few kernel modules that the disks need: it mounts root and program,
read-only, and hands over to `init` of the program disk. There is no systemd: a boot is some seconds of emulation.

The interpreter's compiled packages are used as they are, so it must be of the same minor version as Debian's.
Debian's archive is the one that debootstrap knows. The cache is `GATEWAY_IMAGE_CACHE`, else `~/.cache`; its folder is
named after the recipe, so another recipe makes another image.
"""

from __future__ import annotations

import compileall
import hashlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from packaging.requirements import Requirement

import gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

RELEASES = {(3, 11): "bookworm"}
"""The Debian release that has this Python."""

PACKAGES = ("python3", "busybox-static", "linux-image-cloud-amd64")
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "crc32c_generic", "ext4")
LEFT_OUT = ("boot", "lib/modules", "usr/share/doc", "usr/share/man", "usr/share/locale", "var/lib/apt", "var/cache/apt")
ROOT_BYTES = 768 * 2**20
PROGRAM_BYTES = 512 * 2**20
SEARCH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))

HOSTS = "10.0.2.2 localhost\n"
"""What the host's loopback listens on is localhost for the guest too, so that certificates fit."""

FIRST_INIT = """#!/bin/busybox sh
bb=/bin/busybox
$bb mount -t devtmpfs dev /dev
for module in $($bb cat /modules); do $bb insmod "/$module"; done
$bb mount -t ext4 -o ro,noload /dev/vda /root
$bb mount -t ext4 -o ro,noload /dev/vdb /root/mnt
$bb mount --move /dev /root/dev
exec $bb switch_root /root /mnt/init
"""


class GuestImage(NamedTuple):
    """What every guest boots from; none of it is written."""

    kernel: Path
    first: Path
    root: Path


def program(name: str, package: str) -> str:
    """Return the path of a program; fails with the way to get it."""
    found = shutil.which(name, path=SEARCH)
    assert found, f"the tests need {name}: apt-get install {package}"
    return found


def guest_image() -> GuestImage:
    """Return the cached image, made now (a minute or two, needs root) where there is none."""
    release = RELEASES.get(sys.version_info[:2])
    assert release, f"the guest runs this interpreter's packages on Debian's: use one of Python {list(RELEASES)}"
    assert platform.machine() == "x86_64", "the guest is an x86-64 machine and runs this machine's compiled packages"
    recipe = repr((release, PACKAGES, MODULES, LEFT_OUT, ROOT_BYTES, HOSTS, FIRST_INIT))
    cache = Path(os.environ.get("GATEWAY_IMAGE_CACHE") or Path.home() / ".cache" / "edge-gateway-tests")
    folder = cache / f"guest-{release}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    image = GuestImage(folder / "kernel", folder / "first.cpio", folder / "root.ext4")
    if not folder.exists():
        assert os.geteuid() == 0, f"only root can make the guest's image; run this test once as root ({folder})"
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="making-") as made:
            _make(Path(made), release)
            (Path(made) / "image").rename(folder)
    return image


def _make(work: Path, release: str) -> None:
    """Make `work/image` from a new tree beside it."""
    tree, image = work / "tree", work / "image"
    image.mkdir()
    _run(
        program("debootstrap", "debootstrap"),
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        release,
        str(tree),
    )
    (kernel,) = (tree / "boot").glob("vmlinuz-*")
    shutil.copyfile(kernel, image / "kernel")
    _make_first(tree, kernel.name.removeprefix("vmlinuz-"), image / "first.cpio")
    for name in LEFT_OUT:
        shutil.rmtree(tree / name, ignore_errors=True)
    (tree / "etc" / "hosts").write_text(HOSTS, "ascii")
    make_disk(image / "root.ext4", ROOT_BYTES, tree)


def _make_first(tree: Path, version: str, target: Path) -> None:
    """Pack busybox, the modules in the order of their needs, and `FIRST_INIT`; not compressed: emulation is slow."""
    folder = tree / "first"
    for name in ("bin", "dev", "root"):
        (folder / name).mkdir(parents=True)
    shutil.copy2(tree / "bin" / "busybox", folder / "bin" / "busybox")
    names: dict[str, None] = {}
    for module in MODULES:
        shown = _run("chroot", str(tree), "modprobe", "-S", version, "--show-depends", module)
        for line in shown.splitlines():
            verb, path, *_ = line.split()
            if verb == "insmod":
                names[Path(path).name] = None
                shutil.copyfile(tree / path.lstrip("/"), folder / Path(path).name)
    (folder / "modules").write_text("\n".join(names) + "\n", "ascii")
    (folder / "init").write_text(FIRST_INIT, "ascii")
    (folder / "init").chmod(0o755)
    packed = _run(
        "chroot", str(tree), "sh", "-c", "cd /first && find . | busybox cpio -o -H newc >/first.cpio && echo ok"
    )
    assert packed.endswith("ok\n"), packed
    shutil.move(tree / "first.cpio", target)
    shutil.rmtree(folder)


def make_disk(path: Path, size: int, tree: Path | None = None) -> None:
    """Make an ext4 image of `size` bytes with the files of `tree`, or without any."""
    with path.open("wb") as file:
        file.truncate(size)
    source = ["-d", str(tree)] if tree else []
    _run(program("mkfs.ext4", "e2fsprogs"), "-q", "-F", *source, str(path))


def make_program_disk(path: Path, files: Path) -> None:
    """Make the disk that the guest's `init` comes from: `files`, and what `python3 -m gateway` needs."""
    packages = files / "packages"
    copy_packages(packages)
    compileall.compile_dir(packages, quiet=1, workers=1)
    make_disk(path, PROGRAM_BYTES, files)


def copy_packages(packages: Path) -> None:
    """Copy the gateway of this checkout and the packages that it runs with to a folder."""
    for name in sorted(_needed("edge-gateway")):
        for file in importlib.metadata.files(name) or ():
            target = packages / file
            if ".." not in file.parts:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file.locate(), target)
    source = Path(gateway.__file__).parent
    shutil.copytree(source, packages / "gateway", ignore=shutil.ignore_patterns("__pycache__"))


def _needed(name: str) -> Iterator[str]:
    """Return the names of the packages that a package runs with, without itself."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for text in importlib.metadata.requires(waiting.pop()) or ():
            requirement = Requirement(text)
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if wanted and requirement.name not in found:
                found.add(requirement.name)
                waiting.append(requirement.name)
    return iter(found)


def _run(*command: str) -> str:
    """Run a program and return what it wrote; fails with it."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, "PATH": SEARCH})
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout
