"""A supervisor that only listens: what systemd would hear on NOTIFY_SOCKET, with the time of each word."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Self

from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

POLL_S = 0.1


class Word(NamedTuple):
    """The lines of one datagram, and when it came (CLOCK_MONOTONIC)."""

    at: float
    lines: tuple[str, ...]


class Supervisor:
    """Listens at `address`; `environment` is what the program under it is started with."""

    def __init__(self, folder: Path, *, watchdog_s: float = 0.0) -> None:
        self.address = str(folder / "notify")
        self.words: list[Word] = []
        self._watchdog_s = watchdog_s
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.settimeout(POLL_S)
        self._is_over = threading.Event()
        self._listening = threading.Thread(target=self._listen, name="supervisor")

    def __enter__(self) -> Self:
        self._listening.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._listening.join()
        self._socket.close()

    @property
    def environment(self) -> dict[str, str]:
        """What systemd would set."""
        watchdog = {"WATCHDOG_USEC": str(round(self._watchdog_s * 1e6))} if self._watchdog_s else {}
        return {**os.environ, "NOTIFY_SOCKET": self.address, **watchdog}

    def times(self, line: str) -> list[float]:
        """Return when a line came."""
        return [word.at for word in self.words if line in word.lines]

    def wait_for(self, line: str, number: int = 1, timeout_s: float = 30.0) -> float:
        """Wait until a line has come so often; return when it did."""
        wait_for(lambda: len(self.times(line)) >= number, f"the supervisor hears {line}, {number} times", timeout_s)
        return self.times(line)[number - 1]

    def statuses(self) -> list[str]:
        """Return what was said of how it goes."""
        lines = (line for word in self.words for line in word.lines)
        return [line.removeprefix("STATUS=") for line in lines if line.startswith("STATUS=")]

    def _listen(self) -> None:
        while not self._is_over.is_set():
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                continue
            self.words.append(Word(time.monotonic(), tuple(data.decode().split("\n"))))
