"""The files of the package, all but the libraries: program, units, samples, pages, scripts of the package itself.

Everything lies in a folder that mirrors the box. The program has a virtual environment of its own, made by hand from
three things that `venv` would make too: `pyvenv.cfg`, a link to the interpreter, and `site-packages`. Nothing of the
target has to run for it, so an arm64 package is made on any machine.

Modes and times do not depend on who builds where: `settle` sets them all, as the last step.
"""

from __future__ import annotations

import datetime as dt
import gzip
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from images.debian import completion, manual

if TYPE_CHECKING:
    from images.debian.releases import Release

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCE: Final = Path(__file__).with_name("files")
HOME: Final = "opt/edge-gateway"
DOCUMENTS: Final = "usr/share/doc/edge-gateway"

COPIED: Final = {
    ROOT / "systemd" / "gateway.service": "usr/lib/systemd/system/gateway.service",
    ROOT / "systemd" / "gateway-region.service": "usr/lib/systemd/system/gateway-region.service",
    ROOT / "systemd" / "gateway.sysusers": "usr/lib/sysusers.d/edge-gateway.conf",
    ROOT / "systemd" / "gateway.tmpfiles": "usr/lib/tmpfiles.d/edge-gateway.conf",
    SOURCE / "gateway.toml": "usr/share/edge-gateway/gateway.toml",
    SOURCE / "receiver.toml": f"{DOCUMENTS}/examples/receiver.toml",
    ROOT / "docs" / "reference" / "gateway.example.toml": f"{DOCUMENTS}/examples/gateway.example.toml",
    SOURCE / "mosquitto.conf": "etc/mosquitto/conf.d/edge-gateway.conf",
    SOURCE / "lintian-overrides": "usr/share/lintian/overrides/edge-gateway",
}
"""File of the checkout → file of the package."""

CONFFILES: Final = ("/etc/mosquitto/conf.d/edge-gateway.conf",)
SCRIPTS: Final = ("postinst", "prerm", "postrm")
PROGRAM: Final = """\
#!/opt/edge-gateway/bin/python3 -IB
import sys

from gateway.cli import main

sys.exit(main())
"""
EXECUTABLE: Final = {f"{HOME}/bin/gateway", *(f"DEBIAN/{name}" for name in SCRIPTS)}


def site_packages(tree: Path, release: Release) -> Path:
    """Return the folder of the program and its libraries."""
    return tree / HOME / "lib" / f"python{release.python}" / "site-packages"


def lay_out(tree: Path, release: Release, version: str, seconds: int) -> None:
    """Write every file but libraries, control file and checksums; `seconds` is the time that the pages bear."""
    for source, target in COPIED.items():
        _write(tree / target, source.read_bytes())
    for name in SCRIPTS:
        _write(tree / "DEBIAN" / name, (SOURCE / name).read_bytes())
    _write(tree / "DEBIAN" / "conffiles", "".join(f"{name}\n" for name in CONFFILES).encode())
    _environment(tree, release)
    _pages(tree, version, dt.datetime.fromtimestamp(seconds, dt.UTC).date().isoformat())


def _environment(tree: Path, release: Release) -> None:
    shutil.copytree(
        ROOT / "gateway", site_packages(tree, release) / "gateway", ignore=shutil.ignore_patterns("__pycache__")
    )
    settings = f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {release.python}\n"
    _write(tree / HOME / "pyvenv.cfg", settings.encode())
    _write(tree / HOME / "bin" / "gateway", PROGRAM.encode())
    _link(tree / HOME / "bin" / "python3", f"/usr/bin/python{release.python}")
    _link(tree / "usr" / "bin" / "gateway", f"/{HOME}/bin/gateway")


def _pages(tree: Path, version: str, day: str) -> None:
    for name, text in manual.pages(version, day).items():
        section = name.rpartition(".")[2]
        _write(tree / "usr" / "share" / "man" / f"man{section}" / f"{name}.gz", packed(text))
    for shell, text in completion.scripts().items():
        _write(tree / completion.TARGETS[shell], text.encode())
    for page in sorted((ROOT / "docs").rglob("*.md")):
        _write(tree / DOCUMENTS / page.relative_to(ROOT / "docs"), page.read_bytes())
    _write(tree / DOCUMENTS / "changelog.gz", packed((ROOT / "CHANGELOG.md").read_text("utf-8")))


def packed(text: str) -> bytes:
    """Return text as gzip writes it, without name and time."""
    return gzip.compress(text.encode(), 9, mtime=0)


def settle(tree: Path, seconds: int) -> None:
    """Give every file the mode and the time that it has in every build."""
    for path in [*tree.rglob("*"), tree]:
        if not path.is_symlink():
            runs = path.is_dir() or str(path.relative_to(tree)) in EXECUTABLE
            path.chmod(0o755 if runs else 0o644)
            assert stat.S_IFMT(path.stat().st_mode) in {stat.S_IFDIR, stat.S_IFREG}, f"{path} is no file of a package"
    for path in [*tree.rglob("*"), tree]:
        _set_time(path, seconds)


def _set_time(path: Path, seconds: int) -> None:
    os.utime(path, (seconds, seconds), follow_symlinks=False)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
