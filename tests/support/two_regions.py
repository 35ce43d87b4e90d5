"""A whole system: sensors, local broker and daemon, and two regions with a broker and a receiver each.

    stream ─▶ local mosquitto ─▶ gateway run ┬─▶ fault proxy ─▶ mosquitto ─▶ gateway region run     "near"
                                             └─▶ bad line ────▶ mosquitto ─▶ gateway region run     "far"

All are real processes. The near region is on this machine, behind a TCP proxy; the far one lives in a network namespace
at the end of a line with loss, delay and a rate. Needs root, for the namespace.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from gateway.health.endpoint import ask
from tests.support.authority import Authority
from tests.support.fault_proxy import FaultProxy
from tests.support.mosquitto import Mosquitto
from tests.support.netns import Line
from tests.support.receiver_books import ReceiverBooks
from tests.support.sensors import Stream
from tests.support.site import Program
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

NEAR, FAR = "near", "far"
TOPICS = [f"raw/{number}" for number in range(10)]
READY_S = 30.0
SETTLED_S = 90.0

NODE = """
[node]
id = "node-1"
state_folder = "{state}"

[broker]
port = {port}

[[spool.lanes]]
name = "telemetry"
bytes_max = "64MiB"
linger = "300ms"

[[route]]
name = "raw"
topics = ["raw/+"]
lane = "telemetry"
"""

REGION = """
[[region]]
name = "{name}"
host = "{host}"
port = {port}
tls_ca = "{ca}"
tls_certificate = "{certificate}"
tls_key = "{key}"
keep_alive = "10s"
backoff_min = "100ms"
backoff_max = "1s"
resend_after = "{resend_after}"
"""

RECEIVER = """
[receiver]
host = "{host}"
port = {port}
tls_ca = "{ca}"
tls_certificate = "{certificate}"
tls_key = "{key}"
state_folder = "{state}"
sinks = ["ndjson", "sqlite"]
"""


class Region:
    """One region: its broker, its receiver, and what they hold."""

    def __init__(self, folder: Path, name: str, authority: Authority, host: str, prefix: tuple[str, ...]) -> None:
        self.name = name
        self.host = host
        self.folder = folder / name
        self._authority = authority
        self._state = self.folder / "state"
        self._configuration = self.folder / "receiver.toml"
        self.books = ReceiverBooks(self._configuration, self._state)
        self.folder.mkdir()
        authority.issue(f"server-{name}", host, "localhost")
        authority.issue(f"receiver-{name}")
        self.broker = Mosquitto(
            self.folder / "broker",
            **authority.files(f"server-{name}"),
            address=host,
            prefix=prefix,
            max_queued_messages=0,  # the receiver may be away
        )
        self.receiver = Program(self.folder, "receiver", ("region", "run", "-c", str(self._configuration)))
        self.receiver.prefix = prefix

    def __enter__(self) -> Self:
        self.broker.__enter__()
        options = {"host": self.host, "port": self.broker.port, "state": self._state}
        files = self._authority.files(f"receiver-{self.name}")
        self._configuration.write_text(RECEIVER.format(**options, **files), "utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self.receiver.kill()
        self.broker.__exit__()


class TwoRegions:
    """The system; it runs between entering and leaving. The line is as good as any until a test shapes it."""

    def __init__(self, folder: Path, seed: int, rate: float) -> None:
        self._folder = folder
        self._rate = rate
        self._stack = ExitStack()
        self.authority = Authority(folder / "pki")
        self.line = Line(seed)
        self.near = Region(folder, NEAR, self.authority, "127.0.0.1", ())
        self.far = Region(folder, FAR, self.authority, self.line.far, self.line.prefix)
        self.regions = (self.near, self.far)
        self._configuration = folder / "gateway.toml"
        self.daemon = Program(folder, "daemon", ("run", "-c", str(self._configuration)))

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.line)
            local = stack.enter_context(Mosquitto(self._folder / "local", max_queued_messages=0))
            for region in self.regions:
                stack.enter_context(region)
            self.proxy = stack.enter_context(FaultProxy(self.near.broker.port))
            stack.callback(self.daemon.kill)
            self._configure(local.port)
            for program in (*(region.receiver for region in self.regions), self.daemon):
                program.spawn()
            for program in (*(region.receiver for region in self.regions), self.daemon):
                program.wait_ready(READY_S)
            wait_for(lambda: self.status()["ingest"]["connected"], "the daemon has subscribed")
            self.stream = Stream(local.port, TOPICS, rate=self._rate)
            self.stream.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def renew(self, region: str, valid_s: float = 3600.0) -> None:
        """Give the node another certificate for a region, as its renewal would."""
        self.authority.issue(f"node-{region}", name="node-1", valid_s=valid_s)

    def status(self) -> dict[str, Any]:
        """Ask the daemon for its status."""
        return ask(self._folder / "node" / "gateway.sock")

    def region(self, name: str) -> dict[str, Any]:
        """Return what the daemon says of a region."""
        found: dict[str, Any] = self.status()["regions"][name]
        return found

    def publish(self, messages: int) -> None:
        """Let the sensors publish so many messages more."""
        goal = self.stream.total + messages
        wait_for(lambda: self.stream.total >= goal or self.stream.fault, f"{goal} messages are published", 60.0)
        assert self.stream.fault is None

    def wait_caught_up(self) -> None:
        """Wait until both regions hold at least what was published until now."""
        goal = self.stream.total
        for region in self.regions:
            self._wait_held(region, goal)

    def _wait_held(self, region: Region, goal: int) -> None:
        wait_for(lambda: region.books.held() >= goal, f"{region.name} holds {goal} readings", SETTLED_S, 0.1)

    def check_everything_arrived_once(self) -> None:
        """Stop the sensors, wait until both regions have it all, and hold all books against each other."""
        books = self.stream.stop()
        assert self.stream.unmatched == 0
        expected = sorted((topic, number) for topic, count in books.items() for number in range(count))
        self.wait_caught_up()
        for region in self.regions:
            region.books.check_holds_once(expected)
        wait_for(self._is_at_rest, "the mirror knows that both regions have everything", SETTLED_S)
        assert self.status()["residual"] == {"messages": 0, "readings": 0}
        self.daemon.stop()

    def _is_at_rest(self) -> bool:
        status = self.status()
        (lane,) = status["lanes"]
        return all(region["cursors"] == {lane["name"]: lane["head"]} for region in status["regions"].values())

    def _configure(self, local_port: int) -> None:
        text = NODE.format(state=self._folder / "node", port=local_port)
        for name, host, port, resend_after in (
            (NEAR, "localhost", self.proxy.port, "1s"),
            (FAR, self.far.host, self.far.broker.port, "3s"),
        ):
            self.renew(name)
            options = {"name": name, "host": host, "port": port, "resend_after": resend_after}
            text += REGION.format(**options, **self.authority.files(f"node-{name}"))
        self._configuration.write_text(text, "utf-8")
