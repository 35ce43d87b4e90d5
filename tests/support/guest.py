"""A virtual machine that runs the gateway and whose power is cut: qemu, emulating, killed with SIGKILL.

What the guest's kernel has not written to its disk dies with it, and what it has written but not flushed may be lost
too, in any order: the disk has a write cache that forgets. To be sure that a cut really loses something, the guest
writes a file of marks that nothing syncs and tells the serial console about each: `lost_marks` compares.

The serial console is the log (one file per boot) and takes two words: `status` answers with the daemon's own status,
`stop` ends the daemon by SIGTERM, unmounts and switches off. The host's loopback is `localhost` in the guest.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.support.guest_image import guest_image, make_disk, make_program_disk, program
from tests.support.volatile_disk import VolatileDisk
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    import random

    from tests.support.guest_image import GuestImage

STATE_BYTES = 256 * 2**20
MEMORY = "512M"
BOOT_S = 180.0
CUT_S = 15.0
STOP_S = 60.0
POLL_S = 0.05
LOG_END = 4000
MARK = "guest: mark\n"

SITE_FOLDER = "/mnt/site"
STATE_FOLDER = "/srv/node"

INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
for folder in /run /tmp /srv; do mount -t tmpfs none $folder; done
busybox ip link set lo up
busybox ip addr add 10.0.2.15/24 dev eth0
busybox ip link set eth0 up
mount -t ext4 /dev/vdc /srv
dmesg | grep 'EXT4-fs (vdc)' | sed 's/^/guest: /'
echo "guest: marks kept $(cat /srv/marks 2>/dev/null | wc -l)"
echo "guest: starts the daemon"
export PYTHONPATH=/mnt/packages PYTHONUNBUFFERED=1
(
    python3 -m gateway run -c /mnt/site/gateway.toml &
    echo $! >/run/daemon
    wait $!
    echo "guest: the daemon ended with $?"
) &
daemon=$!
while :; do echo mark >>/srv/marks; echo "guest: mark"; busybox sleep 0.2; done &
marker=$!
while read -r word; do
    case $word in
        status) echo "guest: status $(python3 -m gateway status --json -c /mnt/site/gateway.toml)" ;;
        stop) break ;;
    esac
done
kill $marker
kill -TERM $(cat /run/daemon)
wait $daemon
umount /srv
echo "guest: off"
echo b >/proc/sysrq-trigger
"""


class Guest:
    """One box with its disks in `folder`; `site`, a folder that is taken over, holds `gateway.toml` and its keys."""

    def __init__(self, folder: Path, site: Path) -> None:
        self._folder = folder
        self._image: GuestImage = guest_image()
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._marks = 0
        self.lost_marks = 0
        files = folder / "files"
        files.mkdir(parents=True)
        site.rename(files / "site")
        (files / "init").write_text(INIT, "ascii")
        (files / "init").chmod(0o755)
        make_program_disk(folder / "program.ext4", files)
        make_disk(folder / "state.ext4", STATE_BYTES)
        self._disk = VolatileDisk(folder / "state.ext4")
        self.undone_blocks = self.unflushed_blocks = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        self._disk.close()

    def switch_on(self) -> None:
        """Start the machine and return at once."""
        assert self._process is None, "the guest runs already"
        self._starts += 1
        self._disk.expect()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command(), stdin=subprocess.PIPE, stdout=log, stderr=log)

    def boot(self) -> float:
        """Start the machine and wait until the daemon says `ready`; return the seconds that the daemon took."""
        self.switch_on()
        self.wait_for(r"^guest: starts the daemon")
        started = time.monotonic()
        self.wait_for(r"^ready")
        self._compare_marks()
        return time.monotonic() - started

    def cut(self, chance: random.Random, writes: int, timeout_s: float = CUT_S) -> bool:
        """Cut the power at a write of the disk from now, or when so much time has passed; return which it was.

        The disk forgets half of what was not flushed, or all of it.
        """
        was_write = self._disk.go_dark_after(writes, timeout_s)
        self._kill()
        self._marks += self.log().count(MARK)
        undone, unflushed = self._disk.cut(chance, share=chance.choice((0.5, 1.0)))
        self.undone_blocks += undone
        self.unflushed_blocks += unflushed
        return was_write

    def stop(self) -> None:
        """End the daemon and switch the machine off in good order; fails when the daemon ended with a fault."""
        self._say("stop")
        ended = self.wait_for(r"^guest: the daemon ended with (\d+)", STOP_S)
        process, self._process = self._process, None
        assert process is not None
        process.communicate(timeout=STOP_S)
        assert ended == "0", self._log_end()

    def status(self) -> dict[str, Any]:
        """Ask the daemon for its status."""
        asked = len(re.findall(r"^guest: status", self.log(), re.MULTILINE))
        self._say("status")
        pattern = r"^guest: status (\{.*\})$"
        wait_for(lambda: len(re.findall(pattern, self.log(), re.MULTILINE)) > asked, "the status", BOOT_S, POLL_S)
        return json.loads(re.findall(pattern, self.log(), re.MULTILINE)[-1])

    def wait_for(self, pattern: str, timeout_s: float = BOOT_S) -> str:
        """Wait until a line of the console matches; return the first group, or all of it."""

        def found() -> re.Match[str] | None:
            assert self._process is not None
            match = re.search(pattern, self.log(), re.MULTILINE)
            assert match or self._process.poll() is None, f"the guest is off: {self._log_end()}"
            assert match or "guest: the daemon ended" not in self.log(), self._log_end()
            return match

        match = wait_for(found, f"console of boot {self._starts}: {pattern}", timeout_s, POLL_S)
        assert match is not None
        return match[1] if match.groups() else match[0]

    def log(self) -> str:
        """Return what the console showed since the machine was switched on."""
        return self._log.read_text("utf-8", "replace").replace("\r\n", "\n")

    def _log_end(self) -> str:
        return self.log().replace(MARK, "")[-LOG_END:]

    @property
    def _log(self) -> Path:
        return self._folder / f"boot-{self._starts}.log"

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _say(self, word: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        self._process.stdin.flush()

    def _compare_marks(self) -> None:
        kept = int(self.wait_for(r"^guest: marks kept (\d+)"))
        self.lost_marks += self._marks - kept
        self._marks = kept

    def _command(self) -> list[str]:
        drives = (
            f"file={self._image.root},readonly=on",
            f"file={self._folder}/program.ext4,readonly=on",
            f"file=nbd:127.0.0.1:{self._disk.port},cache=none",
        )
        return [
            program("qemu-system-x86_64", "qemu-system-x86"),
            *("-accel", "tcg", "-cpu", "max", "-m", MEMORY, "-nodefaults", "-no-user-config", "-no-reboot"),
            *("-display", "none", "-serial", "stdio", "-nic", "user,model=virtio-net-pci"),
            *("-kernel", str(self._image.kernel), "-initrd", str(self._image.first)),
            *("-append", "console=ttyS0 quiet panic=-1 mitigations=off net.ifnames=0"),
            *(part for drive in drives for part in ("-drive", f"{drive},format=raw,if=virtio")),
        ]
