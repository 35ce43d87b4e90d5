"""System calls of a running program that fail by order: strace answers them instead of the kernel.

A rule names calls, the error, and which of them fail, as in `fdatasync:error=EIO:when=3..5`. Calls are counted for each
thread on its own, from the moment of attaching. A call that fails so was never made.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Self

from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.site import Program

ATTACH_S = 10.0
DETACH_S = 10.0


class Injection:
    """Attached to a running process, all its threads, for as long as the context lasts."""

    def __init__(self, process_id: int, folder: Path, *rules: str) -> None:
        self._process_id = process_id
        self._rules = rules
        self._trace = folder / "strace.out"
        self._said = folder / "strace.err"
        self._tracer: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._trace.unlink(missing_ok=True)
        with self._said.open("wb") as said:
            command = [*_command(self._trace, self._rules), "-p", str(self._process_id)]
            self._tracer = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            wait_for(self._is_attached, "strace has attached", ATTACH_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        tracer, self._tracer = self._tracer, None
        if tracer is not None:
            tracer.terminate()  # it lets go of the process, which goes on
            try:
                tracer.wait(DETACH_S)
            except subprocess.TimeoutExpired:
                tracer.kill()
                tracer.wait()
                raise

    def hits(self) -> int:
        """Return how many calls failed by order so far."""
        return hits(self._trace)

    def wait_for_hits(self, number: int, timeout_s: float = 20.0) -> None:
        """Wait until so many calls have failed by order."""
        wait_for(lambda: self.hits() >= number, f"{number} calls failed by order", timeout_s)

    def _is_attached(self) -> bool:
        assert self._tracer is not None
        said = self._said.read_text("utf-8", "replace")
        assert self._tracer.poll() is None, said
        return "attached" in said


def start_under(program: Program, trace: Path, *rules: str) -> None:
    """Let the next starts of `program` run under strace from their first instruction; without rules no more.

    The tracer is a detached child, so that the process id stays the program's own.
    """
    trace.unlink(missing_ok=True)
    program.prefix = (*_command(trace, rules), "-D", "--seccomp-bpf") if rules else ()


def hits(trace: Path) -> int:
    """Return how many calls a trace shows that failed by order."""
    return trace.read_text("utf-8", "replace").count("(INJECTED)") if trace.exists() else 0


def _command(trace: Path, rules: tuple[str, ...]) -> list[str]:
    found = shutil.which("strace")
    assert found, "the tests need strace: apt-get install strace"
    calls = ",".join(rule.partition(":")[0] for rule in rules)
    injections = [part for rule in rules for part in ("-e", f"inject={rule}")]
    return [found, "-f", "-o", str(trace), "-e", f"trace={calls}", *injections]
