"""A virtual machine that boots a whole Debian with the package installed: systemd, mosquitto, and nothing outside.

What systemd-nspawn cannot show is real here: the kernel's limits of memory (cgroup v2), a cold boot, power that goes.
The root is a tree of the tests with the package installed into it while nothing of it runs, as an image for boxes is
made; what is written to it is forgotten at each boot. State has a disk of its own, at the daemon's state folder.

Commands come in over the serial console, one a line, to a shell that a unit starts when everything else has been; each
answer ends with a line that bears the command's exit code. There is no network but loopback.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Self

from tests.support.guest_image import guest_image, make_disk, program
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

ROOT_BYTES = 1536 * 2**20
STATE_BYTES = 128 * 2**20
INIT_BYTES = 4 * 2**20
MEMORY = "512M"
BOOT_S = 600.0
COMMAND_S = 400.0
POLL_S = 0.05
LOG_END = 4000
STATE_FOLDER = "/var/lib/edge-gateway"
CGROUP = "/sys/fs/cgroup"

INIT = f"""#!/bin/sh
mount -o remount,rw /
mount -t ext4 /dev/vdc {STATE_FOLDER}
exec /lib/systemd/systemd
"""
SHELL = """#!/bin/sh
# Held open: what comes in while nobody has a line open is forgotten.
exec </dev/ttyS0 >/dev/ttyS0
stty -echo
echo "guest: shell"
while read -r line; do
    sh -c "$line" >/run/said 2>&1 </dev/null
    code=$?
    cat /run/said
    echo "guest: ended $code"
done
"""
UNIT = """[Unit]
Description=Commands from the serial console
After=multi-user.target

[Service]
ExecStart=/usr/local/sbin/serial-shell

[Install]
WantedBy=multi-user.target
"""


class BoxGuest:
    """One box, with its disks in `folder`; `base` is a tree that has all that `package` needs, with chroot."""

    def __init__(self, folder: Path, base: Path, package: Path) -> None:
        self._folder = folder
        self._image = guest_image()
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._read = 0
        folder.mkdir(parents=True)
        tree = folder / "tree"
        _run("cp", "-a", str(base), str(tree))
        shutil.copyfile(package, tree / "root" / "package.deb")
        _run("chroot", str(tree), "env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "dpkg", "--install", "/root/package.deb")
        (tree / "root" / "package.deb").unlink()
        (tree / "etc" / "machine-id").write_text("0123456789abcdef0123456789abcdef\n", "ascii")
        (tree / "etc" / "hosts").write_text("127.0.0.1 localhost\n", "ascii")
        (tree / STATE_FOLDER.lstrip("/")).mkdir(exist_ok=True)
        self._add_shell(tree)
        make_disk(folder / "root.ext4", ROOT_BYTES, tree)
        shutil.rmtree(tree)
        (folder / "first").mkdir()
        (folder / "first" / "init").write_text(INIT, "ascii")
        (folder / "first" / "init").chmod(0o755)
        make_disk(folder / "init.ext4", INIT_BYTES, folder / "first")
        make_disk(folder / "state.ext4", STATE_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def boot(self) -> float:
        """Switch it on, and wait until everything was started; return how long it took, emulated, in seconds."""
        assert self._process is None, "the guest runs already"
        self._starts += 1
        self._read = 0
        began = time.monotonic()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command(), stdin=subprocess.PIPE, stdout=log, stderr=log)
        self._next(r"^guest: shell\n", BOOT_S)
        return time.monotonic() - began

    def cut(self) -> None:
        """Cut the power; nothing when it is off."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def run(self, command: str, *, is_checked: bool = True) -> str:
        """Run a line in the guest's shell as root and return what it wrote."""
        assert self._process is not None
        assert self._process.stdin is not None
        start = self._read
        self._process.stdin.write(f"{command}\n".encode())
        self._process.stdin.flush()
        code = self._next(r"^guest: ended (\d+)\n", COMMAND_S)
        said = self.log()[start : self._read].rpartition("guest: ended")[0]
        assert code == "0" or not is_checked, f"{command}: {code}: {said}"
        return said

    def log(self) -> str:
        """Return what the console showed since the machine was switched on."""
        return self._log.read_text("utf-8", "replace").replace("\r\n", "\n")

    @property
    def _log(self) -> Path:
        return self._folder / f"boot-{self._starts}.log"

    def _next(self, pattern: str, timeout_s: float) -> str:
        """Wait for a line after what was read so far; return its first group, or all of it."""

        def found() -> re.Match[str] | None:
            assert self._process is not None
            match = re.compile(pattern, re.MULTILINE).search(self.log(), self._read)
            assert match or self._process.poll() is None, f"the guest is off: {self.log()[-LOG_END:]}"
            return match

        match = wait_for(found, f"console of boot {self._starts}: {pattern}", timeout_s, POLL_S)
        assert match is not None
        self._read = match.end()
        return match[1] if match.groups() else match[0]

    def _add_shell(self, tree: Path) -> None:
        script = tree / "usr/local/sbin/serial-shell"
        script.write_text(SHELL, "ascii")
        script.chmod(0o755)
        unit = tree / "etc/systemd/system/serial-shell.service"
        unit.write_text(UNIT, "ascii")
        (unit.parent / "multi-user.target.wants").mkdir(exist_ok=True)
        (unit.parent / "multi-user.target.wants" / unit.name).symlink_to(f"../{unit.name}")

    def _command(self) -> list[str]:
        drives = (
            f"file={self._folder}/root.ext4,snapshot=on",
            f"file={self._folder}/init.ext4,readonly=on",
            f"file={self._folder}/state.ext4,cache=writethrough",
        )
        return [
            program("qemu-system-x86_64", "qemu-system-x86"),
            *("-accel", "tcg", "-cpu", "max", "-m", MEMORY, "-nodefaults", "-no-user-config", "-no-reboot"),
            *("-display", "none", "-serial", "stdio", "-nic", "none"),
            *("-kernel", str(self._image.kernel), "-initrd", str(self._image.first)),
            *("-append", "console=ttyS0 quiet panic=-1 mitigations=off net.ifnames=0 systemd.show_status=0"),
            *(part for drive in drives for part in ("-drive", f"{drive},format=raw,if=virtio")),
        ]


def _run(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout
