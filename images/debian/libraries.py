"""The libraries that the program brings along: wheels for the target, whatever machine this is.

Debian's own are too old, and a box fetches nothing. uv resolves for the Python and glibc of the target, with the
versions that the tests passed with, and takes wheels only. What a box never runs is left out. What the machine code
needs of the system is read from it: an unknown library, or code for another machine, ends the build.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, Final

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

from images.debian.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from images.debian.releases import Architecture, Release

EXTRAS_LEFT_OUT: Final = {"bench", "parquet", "test"}
"""What is for developers; and pyarrow, as large as all the rest together, for what only a few receivers want."""

_FOLDERS_LEFT_OUT: Final = ("bin", "pip", "pip-*.dist-info", "**/tests", "**/__pycache__")
_SUFFIXES_LEFT_OUT: Final = {".pyi", ".pyx", ".pxd", ".pxi", ".c", ".h", ".a"}
_RECORDS: Final = {"RECORD", "INSTALLER", "REQUESTED", "WHEEL", "direct_url.json", "uv_cache.json", ".lock"}
"""How an installer came by it: dpkg knows what is whole, and where it was built must not show."""

_PACKAGES: Final = {
    "libc.so.6": "libc6",
    "libm.so.6": "libc6",
    "libdl.so.2": "libc6",
    "librt.so.1": "libc6",
    "libpthread.so.0": "libc6",
    "libresolv.so.2": "libc6",
    "libutil.so.1": "libc6",
    "ld-linux-x86-64.so.2": "libc6",
    "ld-linux-aarch64.so.1": "libc6",
    "libgcc_s.so.1": "libgcc-s1",
    "libstdc++.so.6": "libstdc++6",
    "libz.so.1": "zlib1g",
}
"""Library of the system → Debian's package of it."""


class BuildError(Exception):
    """The package cannot be built."""


def extras() -> list[str]:
    """Return the extras of the project that the package has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return sorted(project["optional-dependencies"].keys() - EXTRAS_LEFT_OUT)


def install(folder: Path, release: Release, architecture: Architecture) -> None:
    """Put the libraries into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "uv", "--quiet", "--no-config", "pip", "install", "--target", str(folder)),
        *("--python-version", release.python),
        *("--python-platform", f"{architecture.wheels}-manylinux_{release.glibc}"),
        *("--only-binary", ":all:", "--link-mode", "copy", "--no-compile-bytecode"),
        *("--constraint", str(ROOT / "requirements.lock"), "--requirements", str(ROOT / "pyproject.toml")),
        *(word for extra in extras() for word in ("--extra", extra)),
    ]
    if subprocess.run(command, check=False).returncode:
        raise BuildError(f"no wheels for Python {release.python} on {architecture.name}: see above")
    _leave_out(folder)


def _leave_out(folder: Path) -> None:
    for pattern in _FOLDERS_LEFT_OUT:
        for path in list(folder.glob(pattern)):
            shutil.rmtree(path, ignore_errors=True)
    for path in list(folder.rglob("*")):
        if path.is_file() and (path.suffix in _SUFFIXES_LEFT_OUT or path.name in _RECORDS):
            path.unlink()


def needed(folder: Path, architecture: Architecture) -> list[str]:
    """Return the Debian packages whose libraries the machine code in `folder` needs; raises `BuildError`."""
    files = [path for path in sorted(folder.rglob("*")) if is_machine_code(path)]
    brought = {path.name for path in files}
    found = set()
    for path in files:
        machine, names = _read(path)
        if machine != architecture.elf:
            raise BuildError(f"{path} is {machine}, not {architecture.elf}")
        for name in names - brought:
            if name not in _PACKAGES:
                raise BuildError(f"{path} needs {name}, of which no package is known: add it to {__name__}")
            found.add(_PACKAGES[name])
    return sorted(found)


def is_machine_code(path: Path) -> bool:
    """Whether a file is a program or library in ELF."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _read(path: Path) -> tuple[str, set[str]]:
    """Return the machine that the code is for, and the libraries that it names."""
    with path.open("rb") as file:
        elf = ELFFile(file)
        tags = (
            tag for section in elf.iter_sections() if isinstance(section, DynamicSection) for tag in section.iter_tags()
        )
        return elf["e_machine"], {tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"}


def licences(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yield name, version and licence of each library, as it says itself."""
    for path in sorted(folder.glob("*.dist-info/METADATA")):
        head = path.read_text("utf-8").partition("\n\n")[0]
        facts: dict[str, str] = {}
        for line in head.splitlines():
            key, _, value = line.partition(": ")
            if key == "Classifier" and value.startswith("License ::"):
                facts.setdefault("classified", value.rpartition(":: ")[2])
            facts.setdefault(key, value)
        licence = facts.get("License-Expression") or facts.get("classified") or facts.get("License") or ""
        if not licence:
            raise BuildError(f"{path} names no licence")
        yield facts["Name"], facts["Version"], licence
