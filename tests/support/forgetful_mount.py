"""A forgetful file system on a folder of a test, whose power the test cuts; see `tests.support.forgetful`."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.support.waiting import wait_for

if TYPE_CHECKING:
    import random

ANSWER_S = 20.0
UNMOUNT_S = 10.0
ROOT = Path(__file__).parents[2]


def check_machine() -> None:
    """Fail with what is missing where FUSE cannot be used."""
    assert os.geteuid() == 0, "this test mounts a file system: it needs root"
    assert Path("/dev/fuse").exists(), "this test needs /dev/fuse: load the kernel's module fuse, or give it the device"
    assert shutil.which("fusermount3"), "this test needs libfuse 3: apt-get install fuse3"


class ForgetfulMount:
    """Mounted on `folder` as long as the context lasts; everything is gone at its end.

    `log` is a file beside the folder that lists each operation that changed something.
    """

    def __init__(self, folder: Path) -> None:
        check_machine()
        self.folder = folder
        self.log = folder.with_name(folder.name + ".operations")
        self._news: queue.Queue[dict[str, Any]] = queue.Queue()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        command = [sys.executable, "-m", "tests.support.forgetful", str(self.folder), str(self.log)]
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT, text=True
            )
        threading.Thread(target=self._listen, name="forgetful", daemon=True).start()
        try:
            self._wait_mounted()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        subprocess.run(
            ["umount", "--lazy", str(self.folder)], check=False, capture_output=True
        )  # perhaps never mounted
        try:
            process.wait(UNMOUNT_S)
        except subprocess.TimeoutExpired:  # a process of a failed test is still in it
            process.kill()
            process.wait()

    def arm(self, after: int, victim: int, *, has_effect: bool = False) -> None:
        """Let the power go at the operation after `after` more that change something; `victim` dies inside it.

        That operation itself takes effect or not, as told, and is not answered before the victim is killed.
        """
        self._order(order="arm", after=after, victim=victim, has_effect=has_effect)

    def wait_dark(self, timeout_s: float = ANSWER_S) -> dict[str, Any]:
        """Wait until the power has gone; return at which operation."""
        return self._expect("cut at", timeout_s)

    def power_cycle(self, chance: random.Random, share_kept: float | None = None) -> dict[str, int]:
        """Cut the power where it is not cut yet, come back, and return what became of un-synced pages and names.

        `share_kept` of them stay, about; without it chance says how many. Nobody may have a file open.
        """
        self._order(order="cycle", seed=chance.randrange(2**32), share=share_kept)
        wait_for(self._is_unmounted, f"{self.folder} is unmounted", UNMOUNT_S)
        fates: dict[str, int] = self._expect("forgot")["forgot"]
        self._wait_mounted()
        return fates

    @property
    def _errors(self) -> Path:
        return self.folder.with_name(self.folder.name + ".err")

    def _is_unmounted(self) -> bool:
        return subprocess.run(["umount", str(self.folder)], check=False, capture_output=True).returncode == 0

    def _wait_mounted(self) -> None:
        self._expect("mounted")
        wait_for(self.folder.is_mount, f"{self.folder} is mounted", ANSWER_S)

    def _order(self, **order: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        self._expect("obeyed")

    def _expect(self, key: str, timeout_s: float = ANSWER_S) -> dict[str, Any]:
        try:
            news = self._news.get(timeout=timeout_s)
        except queue.Empty:
            raise AssertionError(f"no {key!r} within {timeout_s} s: {self._errors.read_text('utf-8')}") from None
        assert key in news, (key, news, self._errors.read_text("utf-8"))
        return news

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                self._news.put(json.loads(line))
        self._news.put({"ended": True})
