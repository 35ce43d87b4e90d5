"""Real file systems that a test fills, breaks and heals: a tmpfs, or an ext4 in a file behind a loop device.

Each is mounted on a folder of the test and unmounted when the test leaves, whatever became of it. `Neighbour` is the
other program on the box, which takes all free space and every byte that anybody frees, until it goes.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

SEARCH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
CHUNKS = (1 << 20, 1 << 16, 1 << 12)
POLL_S = 0.02
JOIN_S = 10.0


@contextmanager
def tmpfs(folder: Path, size: int) -> Iterator[Path]:
    """Mount a tmpfs that holds at most `size` bytes."""
    folder.mkdir(parents=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        _unmount(folder)


class LoopExt4:
    """An ext4 of `size` bytes on `folder`. Its image lies beside the folder, on the file system of the tests."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self._image = folder.with_name(folder.name + ".ext4")
        self._size = size
        self._device = ""

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        with self._image.open("wb") as image:
            image.truncate(self._size)
        _run("mkfs.ext4", "-q", str(self._image))
        self._device = _run("losetup", "--find", "--show", str(self._image)).strip()
        try:
            self.mount()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        _unmount(self.folder)
        _run("losetup", "--detach", self._device)

    def mount(self, *options: str) -> None:
        """Mount it; the first error that it meets makes it read-only, as on most boxes."""
        _run("mount", "-o", ",".join(("errors=remount-ro", *options)), self._device, str(self.folder))

    def unmount(self) -> None:
        """Unmount it; nobody may have a file of it open."""
        _run("umount", str(self.folder))

    def make_writable(self) -> None:
        """Make it writable where it was mounted read-only, whatever is open on it."""
        _run("mount", "-o", "remount,rw", str(self.folder))

    def break_down(self) -> None:
        """Let the kernel find an error in it: it is read-only from now on, also for files that are open."""
        Path("/sys/fs/ext4", Path(self._device).name, "trigger_fs_error").write_text("by a test\n", "ascii")

    def repair(self) -> None:
        """Put right what is wrong, unmounted, as a box does when it boots."""
        command = [_program("e2fsck"), "-f", "-y", self._device]
        fixed = subprocess.run(command, capture_output=True, text=True, check=False)
        assert fixed.returncode in {0, 1}, fixed.stdout + fixed.stderr

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let every write to it hang, as on a medium that is busy with itself."""
        _run("fsfreeze", "--freeze", str(self.folder))
        try:
            yield
        finally:
            _run("fsfreeze", "--unfreeze", str(self.folder))


@contextmanager
def read_only_view(folder: Path) -> Iterator[None]:
    """Lay a read-only view of `folder` over it: names resolve there, files that are open stay writable."""
    _run("mount", "--bind", str(folder), str(folder))
    try:
        _run("mount", "-o", "remount,bind,ro", str(folder))
        yield
    finally:
        _run("umount", "--lazy", str(folder))  # somebody may read a file that was opened through it


class Neighbour(threading.Thread):
    """Another program that fills the file system of `path` with one file and keeps it full until `leave`."""

    def __init__(self, path: Path) -> None:
        super().__init__(name="neighbour", daemon=True)
        self._path = path
        self._leaving = threading.Event()
        self._is_full = threading.Event()
        self._fault: OSError | None = None

    def __enter__(self) -> Self:
        self.start()
        assert self._is_full.wait(JOIN_S), f"{self._path} was not filled within {JOIN_S} s: {self._fault}"
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self.join(JOIN_S)
        self._path.unlink(missing_ok=True)
        assert self._fault is None, self._fault

    def run(self) -> None:
        """Take what is free, again and again."""
        try:
            with self._path.open("wb") as file:
                while not self._leaving.is_set():
                    _grow(file.fileno())
                    self._is_full.set()
                    self._leaving.wait(POLL_S)
        except OSError as error:
            self._fault = error


def _grow(handle: int) -> None:
    end = os.fstat(handle).st_size
    for size in CHUNKS:
        while True:
            try:
                os.posix_fallocate(handle, end, size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                break
            end += size


def _unmount(folder: Path) -> None:
    if folder.is_mount():
        subprocess.run([_program("umount"), str(folder)], check=False, capture_output=True)
    if folder.is_mount():  # a process of a failed test is still in it: it goes when that ends
        _run("umount", "--lazy", str(folder))


def _run(name: str, *arguments: str) -> str:
    done = subprocess.run([_program(name), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{name} {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def _program(name: str) -> str:
    package = "e2fsprogs" if name in {"mkfs.ext4", "e2fsck"} else "mount util-linux"
    found = shutil.which(name, path=SEARCH)
    assert found, f"the tests need {name}: apt-get install {package}"
    return found
