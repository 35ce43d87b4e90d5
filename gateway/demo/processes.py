"""Children of the demo: each is started with its log in a file, asked or killed, and never outlives the demo.

A child is started through this file run as a program: it asks the kernel to be killed when its parent dies (prctl(2),
PR_SET_PDEATHSIG, which survives exec) and then becomes what it is to be, under the same process id.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

from gateway.errors import LinkError

ANSWER_S: Final = 10.0
READY_S: Final = 20.0
STOP_S: Final = 10.0
LOG_END: Final = 2000
"""Characters of a log that are shown when its process ended too early."""

_PR_SET_PDEATHSIG: Final = 1


class Program:
    """One of the gateway's own verbs as a process, started and killed as often as the scene wants."""

    def __init__(self, name: str, folder: Path, arguments: Sequence[str]) -> None:
        self.name = name
        self.starts = 0
        self._folder = folder
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it says `ready`; raise `LinkError` with the end of its log when it does not."""
        self.starts += 1
        self._process = await _child(["-m", "gateway", *self._arguments], self._log(), stdin=DEVNULL)
        assert self._process.stdout is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_S):
                while line := await self._process.stdout.readline():
                    if line.strip() == b"ready":
                        return
        self._fail("did not get ready")

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def stop(self) -> None:
        """Ask it to end, and make it end."""
        await _stopped(self._process)

    def check(self) -> None:
        """Raise `LinkError` when it has ended, which nobody asked it to."""
        if self._process is not None and self._process.returncode is not None:
            self._fail("has ended")

    def _fail(self, what: str) -> None:
        end = self._log().read_text("utf-8", "replace")[-LOG_END:]
        raise LinkError(f"{self.name} {what}: {end}", hint="--keep DIR keeps the logs and configurations")

    def _log(self) -> Path:
        return self._folder / f"{self.name}-{self.starts}.log"


class BrokerProcess:
    """A broker of `gateway.demo.broker` as a process: one JSON line asks, one answers."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Start it, with no listener yet."""
        self._process = await _child(["-m", "gateway.demo.broker"], self._log, stdin=PIPE)

    async def order(self, do: str, **facts: str) -> dict[str, Any]:
        """Have it do something and return its answer; raise `LinkError` when there is none."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        async with self._turn:
            with contextlib.suppress(OSError, TimeoutError, ValueError):
                async with asyncio.timeout(ANSWER_S):
                    process.stdin.write(json.dumps({"do": do, **facts}).encode() + b"\n")
                    await process.stdin.drain()
                    return cast("dict[str, Any]", json.loads(await process.stdout.readline()))
        raise LinkError(f"{self.name} does not answer: {self._log.read_text('utf-8', 'replace')[-LOG_END:]}")

    async def listen(self, name: str, **files: Path) -> int:
        """Open a listener, with TLS when files are given (`ca`, `certificate`, `key`), and return its port."""
        answer = await self.order("listen", name=name, **{key: str(path) for key, path in files.items()})
        return int(answer["port"])

    async def stop(self) -> None:
        """End it."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        await _stopped(self._process)


async def _child(arguments: Sequence[str], log: Path, *, stdin: int) -> asyncio.subprocess.Process:
    with log.open("ab") as errors:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway.demo.processes",
            str(os.getpid()),
            *arguments,
            stdin=stdin,
            stdout=PIPE,
            stderr=errors,
            start_new_session=True,  # Ctrl-C at the terminal is for the demo, which then ends its children in order
        )


async def _stopped(process: asyncio.subprocess.Process | None) -> None:
    if process is None:
        return
    with contextlib.suppress(ProcessLookupError):
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def become(parent: int, arguments: Sequence[str]) -> None:
    """Tie this process to its parent, then run Python with `arguments` in its place."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == parent:  # else it died before we asked: nobody is left to run for
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606  # our own program, no shell wanted


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
