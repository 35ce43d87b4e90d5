"""`gateway top` and a real daemon: one picture for scripts; live in a terminal while the daemon dies and returns."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
from pathlib import Path

from tests.support.mosquitto import Mosquitto
from tests.support.sensors import PahoSensor
from tests.support.site import PROGRAM, Site
from tests.support.waiting import wait_for

ROUTES = '[[route]]\nname = "all"\ntopics = ["plant/#"]\nlane = "telemetry"\n'


class Terminal:
    """A program in a terminal of its own, and everything that it wrote there."""

    def __init__(self, *words: str, size: tuple[int, int] = (24, 80)) -> None:
        self._fd, slave = pty.openpty()
        self.resize(*size)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        environment = {**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8"}
        self._process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env=environment)
        self._written = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def wait_for(self, text: str) -> None:
        """Wait until `text` has been written since the last time it was waited for something."""

        def is_there() -> bool:
            while select.select([self._fd], [], [], 0)[0]:
                self._written += os.read(self._fd, 65536)
            return text in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self._written.decode(errors="replace"))

        wait_for(is_there, f"{text!r} is shown")
        self._written = b""

    def end(self) -> int:
        return self._process.wait(10)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._fd)
        os.close(self.slave)


def test_a_single_picture_tells_scripts_what_flows_and_what_needs_a_person(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "local") as local, Site(tmp_path, ROUTES, broker_port=local.port) as site:
        site.daemon.start()
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        with PahoSensor(local.port, "sensor", 5) as sensor:
            sensor.publish("plant/a", b'{"value": 1}', 1)
            sensor.publish("plant/b", b"no JSON", 1)
        site.wait_received(2)
        command = [PROGRAM, "top", "--once", "-c", str(site.configuration)]
        said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout
        assert said.startswith("node-1  ok  up ")
        assert re.search(r"^received +[0-9.]+ +2  messages", said, re.MULTILINE)
        assert re.search(r"^message.quarantined.malformed_json +[0-9.]+ +1$", said, re.MULTILINE)
        assert "\x1b" not in said


def test_a_terminal_shows_the_daemon_come_and_go_and_is_left_as_it_was(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "local") as local, Site(tmp_path, ROUTES, broker_port=local.port) as site:
        terminal = Terminal(PROGRAM, "top", "--interval", "0.5", "-c", str(site.configuration))
        try:
            terminal.wait_for("no gateway answers on")
            site.daemon.start()
            terminal.wait_for("node-1  ok  up ")
            terminal.press(b" ")
            terminal.wait_for("held")
            terminal.press(b" ?")
            terminal.wait_for("hold the picture, or let it go on")
            terminal.press(b"?")
            terminal.resize(10, 60)
            terminal.wait_for("rows 1 to 8 of")
            terminal.press(b"G")
            terminal.wait_for("since then 0 to quarantine")
            site.daemon.kill()
            terminal.press(b"g")
            terminal.wait_for("no answer for ")
            terminal.press(b"q")
            assert terminal.end() == 0
            assert termios.tcgetattr(terminal.slave) == terminal.before
        finally:
            terminal.close()
