"""What a supervisor is told: sd_notify(3), for systemd and whatever else sets NOTIFY_SOCKET.

One datagram of `KEY=VALUE` lines to a Unix socket, which may be an abstract one ("@name"). Without NOTIFY_SOCKET
nothing is told and nothing else changes. Only `ready` waits for room in the supervisor's queue: everything else is said
again soon, and must not hold the loop.

Debian 12 has systemd 252, which does not know `Type=notify-reload` yet; `reloading` says what that wants as well.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

log = logging.getLogger(__name__)

READY_WAIT_S: Final = 5.0
STATUS_CHARACTERS_MAX: Final = 400
EXTENSION_S: Final = 60.0
"""How much longer a start that gets on may take, each time that is said."""
EXTEND_S: Final = 5.0
STANDSTILL_S: Final = 300.0
"""Time without progress after which no more is asked for: opening large rings, or a slow disk, takes less."""
_US: Final = 1_000_000


class Notifier:
    """Speaks for the process `pid`; `environ` is where a supervisor left its address and its patience."""

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        name = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self._is_unheard = False
        self.watchdog_s = _watchdog_s(environ, pid) if self._address else 0.0
        """Silence after which we are taken for dead; 0 when nobody listens for that."""

    @property
    def is_heard(self) -> bool:
        """Whether there is a supervisor."""
        return bool(self._address)

    def ready(self, status: str = "") -> None:
        """Say that input is taken in, after a start or a reload."""
        self._tell("READY=1", f"STATUS={_line(status)}", wait_s=READY_WAIT_S)

    def reloading(self, monotonic_ns: int) -> None:
        """Say that the configuration is read again; `monotonic_ns` is CLOCK_MONOTONIC. `ready` ends it."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={monotonic_ns // 1000}", "STATUS=taking up a new configuration")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._tell("STOPPING=1", "STATUS=bringing what was taken in to the spool")

    def status(self, status: str) -> None:
        """Say in one line how it goes."""
        self._tell(f"STATUS={_line(status)}")

    def busy(self, status: str, more_s: float) -> None:
        """Say that a start or an end takes longer, at most `more_s` from now, and that it gets on."""
        self._tell(f"EXTEND_TIMEOUT_USEC={round(more_s * _US)}", "WATCHDOG=1", f"STATUS={_line(status)}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._tell("WATCHDOG=1")

    def _tell(self, *lines: str, wait_s: float = 0.0) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
                link.settimeout(wait_s)
                link.connect(self._address)
                link.send("\n".join(lines).encode())
        except OSError as error:
            if not self._is_unheard:
                log.warning("the supervisor at NOTIFY_SOCKET does not hear: %s", error.strerror or error)
            self._is_unheard = True
        else:
            self._is_unheard = False


class Progress:
    """Counts the steps of long work, in whatever thread it is done."""

    def __init__(self) -> None:
        self.steps = 0

    def step(self) -> None:
        """Note that something was done."""
        self.steps += 1


@contextlib.contextmanager
def taking_long(notifier: Notifier, what: str, progress: Progress) -> Iterator[None]:
    """Ask for more time from a thread of its own, as long as what is done inside gets on."""
    if not notifier.is_heard:
        yield
        return
    is_over = threading.Event()
    asking = threading.Thread(target=_ask_for_time, args=(notifier, what, progress, is_over.wait), name="notify")
    asking.start()
    try:
        yield
    finally:
        is_over.set()
        asking.join()


def _ask_for_time(notifier: Notifier, what: str, progress: Progress, wait: Callable[[float], bool]) -> None:
    steps, moved_at = progress.steps, time.monotonic()
    while not wait(EXTEND_S):
        if progress.steps != steps:
            steps, moved_at = progress.steps, time.monotonic()
        if time.monotonic() - moved_at < STANDSTILL_S:
            notifier.busy(f"{what}: {steps:,} steps done", EXTENSION_S)


def _line(text: str) -> str:
    return " ".join(text.split())[:STATUS_CHARACTERS_MAX]


def _watchdog_s(environ: Mapping[str, str], pid: int) -> float:
    """Return what sd_watchdog_enabled(3) would: the patience, where it is meant for this process."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return 0.0
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / _US if text.isascii() and text.isdigit() else 0.0
