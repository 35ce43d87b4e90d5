"""A whole system with Kafka in the middle: sensors, local broker and daemon, a far region, and what it holds.

    stream ─▶ local mosquitto ─▶ gateway run ─▶ fault proxy ─▶ bad line ─▶ Kafka ─▶ gateway region run

All are real processes. Kafka and the receiver live in a network namespace at the end of the line. The proxy ends and
spoils connections, the line loses and delays packets; Kafka tells the daemon the proxy's address as its own, so there
is no way past them. Needs root, for the namespace.
"""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from gateway.health.endpoint import ask
from tests.support.authority import Authority
from tests.support.fault_proxy import FaultProxy
from tests.support.kafka import KafkaCluster, Uplink
from tests.support.mosquitto import Mosquitto
from tests.support.netns import Line
from tests.support.receiver_books import ReceiverBooks
from tests.support.sensors import Stream
from tests.support.site import Program
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

REGION = "centre"
TOPIC = "edge"
TOPICS = [f"raw/{number}" for number in range(10)]
UPLINK_PORT = 9093
READY_S = 30.0
SETTLED_S = 120.0

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

[[region]]
name = "centre"
transport = "kafka"
acknowledge = "broker"
host = "localhost"
port = {uplink}
tls_ca = "{ca}"
tls_certificate = "{certificate}"
tls_key = "{key}"
backoff_min = "100ms"
backoff_max = "1s"
resend_after = "3s"
"""

RECEIVER = """
[receiver]
source = "kafka"
host = "localhost"
port = {port}
tls_ca = "{ca}"
tls_certificate = "{certificate}"
tls_key = "{key}"
share_group = "{group}"
state_folder = "{state}"
sinks = ["ndjson", "sqlite"]
"""


class Records(NamedTuple):
    """What the topic holds: records, and how many batches they are."""

    total: int
    batches: int


class KafkaRegion:
    """The system; it runs between entering and leaving. The line is as good as any until a test shapes it."""

    def __init__(self, folder: Path, seed: int, rate: float) -> None:
        self._folder = folder
        self._rate = rate
        self._stack = ExitStack()
        self._authority = Authority(folder / "pki")
        self.line = Line(seed)
        self.proxy = FaultProxy(UPLINK_PORT, self.line.far)
        self._authority.issue("server", "localhost")
        for party in ("operator", "receiver", "node-1"):
            self._authority.issue(party)
        self._kafka = KafkaCluster(
            folder,
            self._authority.files("server"),
            {name: str(path) for name, path in self._authority.files("operator").items()},
            uplink=Uplink(self.line.far, UPLINK_PORT, self.proxy.port),
        )
        self._groups = itertools.count(1)
        self._group = ""
        self.books = ReceiverBooks(folder / "receiver.toml", folder / "region")
        self.daemon = Program(folder, "daemon", ("run", "-c", str(folder / "gateway.toml")))
        self.receiver = Program(folder, "receiver", ("region", "run", "-c", str(folder / "receiver.toml")))
        self.receiver.prefix = self.line.prefix

    def __enter__(self) -> Self:
        folder = self._folder
        with ExitStack() as stack:
            stack.enter_context(self.line)
            stack.callback(self._kafka.kill)
            self.line.inside(self._kafka.__enter__)
            self.line.inside(lambda: self._kafka.make_topic(TOPIC))
            stack.enter_context(self.proxy)
            local = stack.enter_context(Mosquitto(folder / "local", max_queued_messages=0))
            self._write("gateway", NODE, "node-1", state=folder / "node", port=local.port, uplink=self.proxy.port)
            self.regroup()
            for program in (self.receiver, self.daemon):
                stack.callback(program.kill)
                program.spawn()
            for program in (self.receiver, self.daemon):
                program.wait_ready(READY_S)
            wait_for(lambda: self.status()["ingest"]["connected"], "the daemon has subscribed")
            self.stream = Stream(local.port, TOPICS, rate=self._rate)
            self.stream.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def kill_broker(self) -> None:
        """End Kafka with SIGKILL."""
        self._kafka.kill()

    def start_broker(self) -> None:
        """Start Kafka again, and wait until it answers."""
        self.line.inside(self._kafka.__enter__)

    def status(self) -> dict[str, Any]:
        """Ask the daemon for its status."""
        return ask(self._folder / "node" / "gateway.sock")

    def mirror(self) -> dict[str, Any]:
        """Return what the daemon says of the region."""
        found: dict[str, Any] = self.status()["regions"][REGION]
        return found

    def records(self) -> Records:
        """Return what the topic holds."""
        found = self.line.inside(lambda: self._kafka.messages(TOPIC))
        return Records(len(found), len({dict(one.headers() or ())["ce_id"] for one in found}))

    def publish(self, messages: int) -> None:
        """Let the sensors publish so many messages more."""
        goal = self.stream.total + messages
        wait_for(lambda: self.stream.total >= goal or self.stream.fault, f"{goal} messages are published", 60.0)
        assert self.stream.fault is None

    def regroup(self) -> None:
        """Let the next start of the receiver be of a new group, which has no offsets, so the whole topic comes."""
        self._group = f"receivers-{next(self._groups)}"
        options = {"state": self._folder / "region", "port": self._kafka.port, "group": self._group}
        self._write("receiver", RECEIVER, "receiver", **options)

    def wait_taken(self) -> None:
        """Wait until the topic holds at least the batches that are sealed now."""
        (lane,) = self.status()["lanes"]
        name, head = lane["name"], lane["head"]
        wait_for(lambda: self.mirror()["cursors"][name] >= head, f"the topic has batch {head}", SETTLED_S, 0.1)

    def wait_forgotten(self) -> None:
        """Wait until Kafka has given up the member of the group, which says nothing any more."""

        def is_empty() -> bool:
            return self.line.inside(lambda: self._kafka.members(self._group)) == 0

        wait_for(is_empty, "the group has no member", SETTLED_S, 0.5)

    def wait_held(self) -> None:
        """Wait until the receiver holds at least what was published until now."""
        goal = self.stream.total
        wait_for(lambda: self.books.held() >= goal, f"the receiver holds {goal} readings", SETTLED_S, 0.1)

    def check_everything_arrived_once(self) -> None:
        """Stop the sensors, wait until the receiver has it all, and hold all books against each other."""
        sent = self.stream.stop()
        assert self.stream.unmatched == 0
        self.wait_held()
        self.books.check_holds_once(sorted((topic, number) for topic, count in sent.items() for number in range(count)))
        wait_for(self._is_at_rest, "the mirror knows that the topic has everything", SETTLED_S)
        assert self.status()["residual"] == {"messages": 0, "readings": 0}
        for program in (self.daemon, self.receiver):
            program.stop()

    def _is_at_rest(self) -> bool:
        status = self.status()
        (lane,) = status["lanes"]
        cursors: dict[str, int] = status["regions"][REGION]["cursors"]
        return cursors == {lane["name"]: lane["head"]}

    def _write(self, name: str, text: str, party: str, **options: object) -> None:
        made = text.format(**options, **self._authority.files(party))
        (self._folder / f"{name}.toml").write_text(made, "utf-8")
