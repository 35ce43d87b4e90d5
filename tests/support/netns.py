"""A network namespace at the end of a bad line: delay, loss, rate and partition by choice. Needs root and iproute2.

    tests, this namespace                                     the other namespace
    address `near` ─ TUN ─▶ tc tbf ─▶ shim: lose ▸ delay ─▶ TUN ─ address `far`        and the same way back

The shim is a thread of the test that moves packets between two TUN devices, so every packet of the line passes it. It
stands in for netem, which small kernels lack: each direction has its own seeded chance of loss, and a delay that keeps
the order. The rate is the kernel's (tbf), on the sending device, so a sender's socket feels it as on a narrow uplink.

Addresses are of 198.18.0.0/15, the network for tests of devices (RFC 2544, section C.2.2). Names hold the process id:
what a killed run left behind is removed by the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import ipaddress
import itertools
import os
import random
import shutil
import struct
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVar

from tests.support.loop_thread import LoopThread

if TYPE_CHECKING:
    from collections.abc import Callable

Found = TypeVar("Found")

PACKET_BYTES_MAX: Final = 2048
WAITING_PACKETS_MAX: Final = 10_000
QUEUE_MS: Final = 1000
"""What waits in front of a narrow line, as time on that line; more is dropped, as a modem does."""
BURST_BYTES: Final = 3000

_NETWORK: Final = ipaddress.ip_network("198.18.0.0/15")
_PREFIX: Final = "gwline"
_FOLDER: Final = Path("/run/netns")
_TUNSETIFF: Final = 0x400454CA
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000
_CLONE_NEWNET: Final = 0x40000000
_numbers: Final = itertools.count(1)


class Way:
    """One direction: what is done to its packets, and how many passed and were lost."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.loss = 0.0
        self.delay_s = 0.0
        self.is_cut = False
        self.waiting = 0
        self.passed = 0
        self.lost = 0

    def loses(self) -> bool:
        """Decide on one packet."""
        lost = self.is_cut or self._chance.random() < self.loss or self.waiting >= WAITING_PACKETS_MAX
        self.lost += lost
        self.passed += not lost
        return lost


class Line:
    """The line and the namespace behind it; `prefix` stands before the command line of a program that is to run there.

    `out` is the way to the namespace, `back` the other one.
    """

    def __init__(self, seed: int = 0) -> None:
        assert os.geteuid() == 0, "network namespaces need root"
        assert shutil.which("ip"), "network namespaces need iproute2: apt-get install iproute2"
        _sweep()
        number = next(_numbers)
        self.name = f"{_PREFIX}-{os.getpid()}-{number}"
        self._devices = (f"gwn{os.getpid()}.{number}", f"gwf{os.getpid()}.{number}")
        self.near, self.far = _free_addresses()
        self.out, self.back = Way(2 * seed), Way(2 * seed + 1)
        self._thread = LoopThread("line")
        self._files: list[int] = []

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.__exit__()
        self._remove()

    @property
    def prefix(self) -> tuple[str, ...]:
        """What runs a program in the namespace; it becomes the program, so the process id is the program's."""
        return ("ip", "netns", "exec", self.name)

    def shape(self, *, delay_s: float = 0.0, loss: float = 0.0, bits_s: int = 0) -> None:
        """Let both ways have this delay (each way), loss (0 to 1) and rate (0 means any) from now on."""
        for way in (self.out, self.back):
            way.delay_s, way.loss = delay_s, loss
        for where, device in zip((None, self.name), self._devices, strict=True):
            if bits_s:
                shaped = f"tbf rate {bits_s}bit burst {BURST_BYTES} latency {QUEUE_MS}ms"
                _tc(where, "qdisc", "replace", "dev", device, "root", *shaped.split())
            else:
                _tc(where, "qdisc", "delete", "dev", device, "root", check=False)  # there may be none

    def cut(self, *, is_cut: bool = True) -> None:
        """Let no packet through either way, and nobody be told; or heal the partition."""
        self.out.is_cut = self.back.is_cut = is_cut

    def inside(self, function: Callable[[], Found]) -> Found:
        """Call `function` in a thread that is in the namespace: a socket that is made there stays there."""
        found: list[Found] = []

        def called() -> None:
            _enter(self.name)
            found.append(function())

        thread = threading.Thread(target=called, name=self.name)
        thread.start()
        thread.join()
        assert found, "it failed in the namespace"
        return found[0]

    def _make(self) -> None:
        near, far = self._devices
        _ip(None, "netns", "add", self.name)
        self._files = [_tun(near), _tun(far)]
        _ip(None, "link", "set", far, "netns", self.name)
        _ip(self.name, "link", "set", "lo", "up")
        for where, device, own, other in ((None, near, self.near, self.far), (self.name, far, self.far, self.near)):
            _ip(where, "address", "add", own, "peer", other, "dev", device)
            _ip(where, "link", "set", device, "up")
        self._thread.__enter__()
        self._thread.call(self._move)

    def _move(self) -> None:
        near, far = self._files
        loop = self._thread.loop
        loop.add_reader(near, _take, loop, near, far, self.out)
        loop.add_reader(far, _take, loop, far, near, self.back)

    def _remove(self) -> None:
        for file in self._files:
            os.close(file)  # the device goes with it
        self._files = []
        _ip(None, "netns", "delete", self.name, check=False)


def _take(loop: asyncio.AbstractEventLoop, source: int, target: int, way: Way) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            packet = os.read(source, PACKET_BYTES_MAX)
            if way.loses():
                continue
            if way.delay_s or way.waiting:
                way.waiting += 1
                loop.call_later(way.delay_s, _give, target, packet, way)
            else:
                _put(target, packet)


def _give(target: int, packet: bytes, way: Way) -> None:
    way.waiting -= 1
    _put(target, packet)


def _put(target: int, packet: bytes) -> None:
    with contextlib.suppress(OSError):  # a device that is full or down drops
        os.write(target, packet)


def _tun(name: str) -> int:
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(file, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    except OSError:
        os.close(file)
        raise
    return file


def _enter(name: str) -> None:
    """Move this thread into a namespace; the thread must end there."""
    library = ctypes.CDLL(None, use_errno=True)
    file = os.open(_FOLDER / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if library.setns(file, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter the namespace {name}")
    finally:
        os.close(file)


def _free_addresses() -> tuple[str, str]:
    """Return two neighbours that no route of this machine knows more of than its default."""
    routes = subprocess.run(("ip", "-4", "route", "show", "table", "all"), check=True, capture_output=True, text=True)
    while True:
        start = random.SystemRandom().randrange(0, _NETWORK.num_addresses, 4)
        near, far = str(_NETWORK[start + 1]), str(_NETWORK[start + 2])
        if near not in routes.stdout and far not in routes.stdout:
            return near, far


def _sweep() -> None:
    """Remove the namespaces of runs that were killed."""
    for path in _FOLDER.glob(f"{_PREFIX}-*") if _FOLDER.exists() else ():
        if not Path("/proc", path.name.split("-")[1]).exists():
            _ip(None, "netns", "delete", path.name, check=False)


def _ip(where: str | None, *arguments: str, check: bool = True) -> None:
    _run("ip", *(("-n", where) if where else ()), *arguments, check=check)


def _tc(where: str | None, *arguments: str, check: bool = True) -> None:
    _run("tc", *(("-n", where) if where else ()), *arguments, check=check)


def _run(*command: str, check: bool) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=10)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
