"""A machine with Debian and systemd as its first process, booted in some seconds by systemd-nspawn; needs root.

Its tree is a copy of one that debootstrap made once and that is cached (`GATEWAY_IMAGE_CACHE`, else `~/.cache`), in a
folder named after the recipe. The machine has a network of its own with nothing but loopback, and is unknown to the
host's machinectl: commands enter it through its namespaces. What it cannot show: limits of memory and processor, which
a nested systemd may not set everywhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.support.guest_image import copy_packages, program
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

RELEASE = "bookworm"
PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3", "python3-venv", "mosquitto", "adduser")
BOOT_S = 60.0
RUN_S = 120.0
OFF_S = 30.0
LOG_END = 4000
SETTLED = ("running", "degraded")

PROGRAM_FOLDER = "/opt/edge-gateway"
INSTALLED = {
    "gateway.service": "usr/lib/systemd/system/gateway.service",
    "gateway-region.service": "usr/lib/systemd/system/gateway-region.service",
    "gateway.sysusers": "usr/lib/sysusers.d/edge-gateway.conf",
    "gateway.tmpfiles": "usr/lib/tmpfiles.d/edge-gateway.conf",
}
"""Files of `systemd/`, and where a package puts them."""

ROOT = Path(__file__).resolve().parents[2]


def base_tree(release: str = RELEASE, packages: Sequence[str] = PACKAGES) -> Path:
    """Return the cached tree of a Debian release, made now (a minute, needs the archive) where there is none."""
    assert os.geteuid() == 0, "only root can make and boot a machine"
    recipe = repr((release, tuple(packages)))
    cache = Path(os.environ.get("GATEWAY_IMAGE_CACHE") or Path.home() / ".cache" / "edge-gateway-tests")
    tree = cache / f"machine-{release}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if not tree.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="making-") as made:
            new = Path(made) / "tree"
            included = f"--include={','.join(packages)}"
            _run(program("debootstrap", "debootstrap"), "--variant=minbase", included, release, str(new))
            new.rename(tree)
    return tree


class Machine:
    """One machine, with its tree in `folder`. Files are put into it before or while it runs."""

    def __init__(self, folder: Path, base: Path | None = None) -> None:
        self.tree = folder / "tree"
        self._console = folder / "console.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0
        folder.mkdir(parents=True, exist_ok=True)
        _run("cp", "-a", str(base or base_tree()), str(self.tree))
        (self.tree / "etc" / "hostname").write_text("box\n", "ascii")
        # Without an identity it would take this for a first boot and ask questions.
        (self.tree / "etc" / "machine-id").write_text(f"{uuid.uuid4().hex}\n", "ascii")
        (self.tree / "etc" / "hosts").write_text("127.0.0.1 localhost\n", "ascii")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        shutil.rmtree(self.tree, ignore_errors=True)

    def put(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Write a file, with its folders."""
        target = self.tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        target.chmod(mode)

    def install_checkout(self) -> None:
        """Install this checkout without a package: program, units, users and folders, as a package would."""
        folder = self.tree / PROGRAM_FOLDER.lstrip("/")
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        copy_packages(folder / "lib" / version / "site-packages")
        (folder / "bin").mkdir()
        (folder / "bin" / "python3").symlink_to("/usr/bin/python3")
        self.put(f"{PROGRAM_FOLDER}/pyvenv.cfg", "home = /usr/bin\ninclude-system-site-packages = false\n")
        start = f"#!{PROGRAM_FOLDER}/bin/python3\nimport sys\nfrom gateway.cli import main\nsys.exit(main())\n"
        self.put(f"{PROGRAM_FOLDER}/bin/gateway", start, 0o755)
        for name, path in INSTALLED.items():
            self.put(path, (ROOT / "systemd" / name).read_bytes())
        _run(program("systemd-sysusers", "systemd"), f"--root={self.tree}")
        _run(program("systemd-tmpfiles", "systemd"), f"--root={self.tree}", "--create", "--prefix=/etc")

    def boot(self) -> None:
        """Start the machine and wait until its systemd has settled."""
        assert self._process is None, "the machine runs already"
        nspawn = program("systemd-nspawn", "systemd-container")
        options = ("--boot", "--register=no", "--keep-unit", "--private-network", "--console=pipe", "--quiet")
        with self._console.open("wb") as console:
            self._process = subprocess.Popen(
                [nspawn, *options, f"--directory={self.tree}"], stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
        wait_for(self._has_settled, "the machine is up", BOOT_S, 0.2)

    def power_off(self) -> None:
        """Shut the machine down in good order."""
        process, self._process = self._process, None
        assert process is not None
        os.kill(self._leader, signal.SIGRTMIN + 4)  # systemd(1): starts poweroff.target
        try:
            process.wait(OFF_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the machine did not go down: {self.console()}") from None

    def run(self, *command: str, is_checked: bool = True, stdin: str = "") -> str:
        """Run a command as root in the machine and return what it wrote; fails with it."""
        done = self.attempt(*command, stdin=stdin)
        said = done.stdout if is_checked else done.stdout + done.stderr
        assert done.returncode == 0 or not is_checked, f"{shlex.join(command)}: {done.stdout}{done.stderr}"
        return said

    def attempt(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command as root in the machine, however it ends."""
        return subprocess.run(
            [*self.enter(), *command], check=False, capture_output=True, text=True, input=stdin, timeout=RUN_S
        )

    def enter(self) -> list[str]:
        """Return what stands before a command line so that it runs in the machine."""
        return ["nsenter", f"--target={self._leader}", "--all", "--root", "--wd=/", "env", "-i", *ENVIRONMENT]

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def journal(self, unit: str) -> str:
        """Return what a unit has logged, and systemd about it."""
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")

    def status(self) -> dict[str, Any]:
        """Return what `gateway status` says in the machine."""
        gateway = f"{PROGRAM_FOLDER}/bin/gateway"
        return json.loads(self.run(gateway, "status", "--json", "-c", "/etc/edge-gateway/gateway.toml"))

    def console(self) -> str:
        """Return the end of what the machine has shown on its console."""
        return self._console.read_text("utf-8", "replace")[-LOG_END:]

    def _has_settled(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the machine is off: {self.console()}"
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text("ascii").split()
        if not children:
            return False
        self._leader = int(children[0])
        try:
            return self.run("systemctl", "is-system-running", is_checked=False).strip() in SETTLED
        except (OSError, subprocess.TimeoutExpired):
            return False


ENVIRONMENT = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8")


def _run(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout
