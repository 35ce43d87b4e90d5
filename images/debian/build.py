"""`make deb`: packages for Debian, each for one release and one machine, made on any machine without their being there.

The same checkout makes the same bytes, wherever and whenever it is built: SOURCE_DATE_EPOCH, or else the time of the
last commit, is the time of everything; versions of libraries come from `requirements.lock`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import email.utils
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from gateway import __version__
from images.debian import libraries
from images.debian.libraries import BuildError
from images.debian.releases import ARCHITECTURES, RELEASES, Architecture, Release
from images.debian.tree import DOCUMENTS, ROOT, SOURCE, lay_out, packed, settle, site_packages

MAINTAINER: Final = "Edge gateway <edge-gateway@localhost>"
VERSION: Final = re.compile(r"[0-9][0-9A-Za-z.+~]*")
DESCRIPTION: Final = """\
edge gateway of an IoT site: journals, decides, mirrors
 Takes sensor messages from the MQTT broker of the box and acknowledges each
 only after its own fsync, decides at the edge what to keep, holds that in a
 durable ring on flash, and mirrors it in compressed batches over mutual TLS to
 one or more regions. The receiver of a region is in this package too.
 .
 The program has a Python environment of its own under /opt/edge-gateway; it
 fetches nothing when it is installed."""


def main() -> int:
    """Build what the command line says, and print the path of each package."""
    parser = argparse.ArgumentParser(prog="python -m images.debian.build", description=__doc__)
    parser.add_argument("--release", action="append", choices=RELEASES, help="of Debian (default: all)")
    parser.add_argument("--architecture", action="append", choices=ARCHITECTURES, help="(default: all)")
    parser.add_argument("--version", default=__version__, help="(default: %(default)s)")
    parser.add_argument("--maintainer", default=MAINTAINER, help="name and address of who distributes it")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="folder (default: %(default)s)")
    parser.add_argument("--level", type=int, default=6, help="of compression, 0 (none) to 9 (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        for release in arguments.release or RELEASES:
            for architecture in arguments.architecture or ARCHITECTURES:
                package = Package(
                    RELEASES[release], ARCHITECTURES[architecture], arguments.version, arguments.maintainer
                )
                print(package.build(arguments.output, arguments.level), flush=True)
    except BuildError as error:
        print(f"make deb: {error}", file=sys.stderr)
        return 1
    return 0


class Package:
    """One package to be."""

    def __init__(
        self, release: Release, architecture: Architecture, version: str, maintainer: str = MAINTAINER
    ) -> None:
        if not VERSION.fullmatch(version):
            raise BuildError(f"{version!r} is no version for Debian: a digit, then digits, letters, '.', '+', '~'")
        self._release = release
        self._architecture = architecture
        self._version = version + release.suffix
        self._maintainer = maintainer
        self._seconds = time_of_sources()

    @property
    def name(self) -> str:
        """The name of the file."""
        return f"edge-gateway_{self._version}_{self._architecture.name}.deb"

    def build(self, output: Path, level: int = 6) -> Path:
        """Build it into the folder `output`; return its path."""
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output, prefix="building-") as work:
            tree = Path(work) / "tree"
            self.lay_out(tree)
            packed_tree = Path(work) / self.name
            compression = ["-Zxz", f"-z{level}"] if level else ["-Znone"]
            command = ["dpkg-deb", "--root-owner-group", "--threads-max=1", *compression, "--build"]
            environment = {**os.environ, "SOURCE_DATE_EPOCH": str(self._seconds)}
            subprocess.run(
                [*command, str(tree), str(packed_tree)], check=True, env=environment, stdout=subprocess.DEVNULL
            )
            return packed_tree.rename(output / self.name)

    def lay_out(self, tree: Path) -> None:
        """Write the whole tree."""
        packages = site_packages(tree, self._release)
        libraries.install(packages, self._release, self._architecture)
        lay_out(tree, self._release, self._version, self._seconds)
        self._write_papers(tree, packages)
        control = self._control(tree, libraries.needed(packages, self._architecture))
        (tree / "DEBIAN" / "control").write_text(control, "utf-8")
        (tree / "DEBIAN" / "md5sums").write_text(checksums(tree), "utf-8")
        settle(tree, self._seconds)

    def _write_papers(self, tree: Path, packages: Path) -> None:
        moment = email.utils.format_datetime(dt.datetime.fromtimestamp(self._seconds, dt.UTC))
        entry = f"edge-gateway ({self._version}) {self._release.name}; urgency=medium\n\n"
        entry += f"  * What has changed: changelog.gz.\n\n -- {self._maintainer}  {moment}\n"
        (tree / DOCUMENTS / "changelog.Debian.gz").write_bytes(packed(entry))
        rows = [f" {name} {version}: {licence}" for name, version, licence in libraries.licences(packages)]
        text = (SOURCE / "copyright").read_text("utf-8").replace("@LIBRARIES@", "\n".join(rows))
        (tree / DOCUMENTS / "copyright").write_text(text, "utf-8")

    def _control(self, tree: Path, needed: list[str]) -> str:
        kibibytes = sum((path.lstat().st_size + 1023) // 1024 if path.is_file() else 1 for path in tree.rglob("*"))
        versions = {"libc6": f" (>= {self._release.glibc.replace('_', '.')})"}
        needs = [name + versions.get(name, "") for name in needed]
        depends = [f"python{self._release.python}", *needs, "systemd"]
        return (
            f"Package: edge-gateway\nVersion: {self._version}\nArchitecture: {self._architecture.name}\n"
            f"Maintainer: {self._maintainer}\nInstalled-Size: {kibibytes}\nDepends: {', '.join(depends)}\n"
            f"Recommends: mosquitto\nSection: net\nPriority: optional\nDescription: {DESCRIPTION}\n"
        )


def checksums(tree: Path) -> str:
    """Return the checksums of every file, as dpkg keeps them."""
    files = [path for path in sorted(tree.rglob("*")) if path.is_file() and not path.is_symlink()]
    inside = [(path, path.relative_to(tree)) for path in files if path.relative_to(tree).parts[0] != "DEBIAN"]
    digests = ((hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest(), name) for path, name in inside)
    return "".join(f"{digest}  {name}\n" for digest, name in digests)


def time_of_sources() -> int:
    """Return the time that everything in a package has, in seconds since 1970."""
    if told := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(told)
    git = shutil.which("git")
    command = [git or "git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    done = subprocess.run(command, check=False, capture_output=True, text=True) if git else None
    if done is None or done.returncode:
        raise BuildError("this is no checkout of git: set SOURCE_DATE_EPOCH to the time of the sources, in seconds")
    return int(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
