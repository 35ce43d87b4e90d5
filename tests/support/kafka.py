"""A real Apache Kafka (KRaft, no ZooKeeper) with mutual TLS: one node or several, on ports that the kernel chose."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

from tests.support.waiting import wait_for

START_S = 60.0
STOP_S = 20.0
ANSWER_S = 30.0
JARS = Path(__file__).resolve().parents[1] / ".kafka"
CLUSTER_ID = "edge-gateway-tests-1-w"
JAVA = (
    "-Xms64m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:CICompilerCount=1",
    "-Xshare:auto",
    "-Dlog4j2.level=WARN",
)

CONFIG = """
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=CONTROLLER://127.0.0.1:{controller},CLIENTS://127.0.0.1:{port},BROKERS://127.0.0.1:{between},USERS://127.0.0.1:{users}{uplink}
advertised.listeners=CLIENTS://localhost:{port},BROKERS://127.0.0.1:{between},USERS://localhost:{users}{uplink_advertised}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,CLIENTS:SSL,BROKERS:PLAINTEXT,USERS:SASL_SSL,UPLINK:SSL
listener.name.clients.ssl.client.auth=required
listener.name.uplink.ssl.client.auth=required
listener.name.users.ssl.client.auth=none
listener.name.users.sasl.enabled.mechanisms=PLAIN
listener.name.users.plain.sasl.jaas.config=\
  org.apache.kafka.common.security.plain.PlainLoginModule required user_press="secret";
controller.listener.names=CONTROLLER
inter.broker.listener.name=BROKERS
log.dirs={folder}/data
auto.create.topics.enable=false
num.partitions=1
message.max.bytes={message_bytes_max}
offsets.topic.num.partitions=1
offsets.topic.replication.factor={replicas}
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={least}
min.insync.replicas={least}
group.initial.rebalance.delay.ms=0
group.consumer.min.session.timeout.ms=1000
group.min.session.timeout.ms=1000
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
ssl.keystore.type=PEM
ssl.keystore.location={folder}/keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location={ca}
"""


class Uplink(NamedTuple):
    """A further way to a node, with a client's certificate: it listens at `address:port`, and clients that it has told
    where it is come to `localhost:advertised_port`, behind which stands whatever a test puts there.
    """

    address: str
    port: int
    advertised_port: int


class KafkaNode:
    """One broker that is a controller too; ports stay the same over `kill` and `start`.

    At `port` it wants a client's certificate, at `users_port` the user "press" with the password "secret" (PLAIN).
    """

    def __init__(self, folder: Path, config: dict[str, Any], files: dict[str, Path]) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port: int = config["port"]
        self.users_port: int = config["users"]
        folder.mkdir(parents=True)
        self._java = shutil.which("java") or ""
        assert self._java, "the tests need Java 17: apt-get install default-jre-headless"
        assert any(JARS.glob("kafka_2.13-*.jar")), "the tests need Kafka: make kafka, which `make test` does"
        self._number: int = config["node"]
        self._between: int = config["between"]
        self._keystore = folder / "keystore.pem"
        self._show(files)
        text = CONFIG.format(folder=folder, ca=files["ca"], **config)
        self._properties = folder / "server.properties"
        self._properties.write_text(text, "utf-8")
        done = self._run("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._properties))
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start it; `KafkaCluster.wait` says when it answers."""
        assert self._process is None, "it runs already"
        with (self._folder / "kafka.log").open("ab") as log:
            command = self._command("kafka.Kafka", str(self._properties))
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment())

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL; nothing when it does not run."""
        self._end(signal.SIGKILL)

    def hang(self) -> None:
        """Let it do nothing at all until `go_on`."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End `hang`."""
        self._signal(signal.SIGCONT)

    def renew(self, files: dict[str, Path]) -> None:
        """Let it show another certificate from now on, to whoever connects; it goes on running."""
        self._show(files)
        client = AdminClient({"bootstrap.servers": f"127.0.0.1:{self._between}"})
        resource = ConfigResource(ConfigResource.Type.BROKER, str(self._number))
        for listener in ("clients", "users", "uplink"):
            # The same path as before: being told of it is what makes Kafka read the file again.
            name = f"listener.name.{listener}.ssl.keystore.location"
            resource.add_incremental_config(
                ConfigEntry(name, str(self._keystore), incremental_operation=AlterConfigOpType.SET)
            )
        for done in client.incremental_alter_configs([resource]).values():
            done.result(ANSWER_S)

    def log(self) -> str:
        """Return what it wrote."""
        return (self._folder / "kafka.log").read_text("utf-8", "replace")

    def is_running(self) -> bool:
        """Say whether the process is there; fails when it ended by itself."""
        if self._process is not None:
            assert self._process.poll() is None, f"Kafka ended: {self.log()}"
        return self._process is not None

    def _show(self, files: dict[str, Path]) -> None:
        self._keystore.write_bytes(files["key"].read_bytes() + files["certificate"].read_bytes())

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(STOP_S)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _command(self, *arguments: str) -> list[str]:
        return [self._java, *JAVA, "-cp", f"{JARS}/*", *arguments]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "LANG": "C.UTF-8"}

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self._command(*arguments), capture_output=True, text=True, check=False, timeout=START_S)


class KafkaCluster:
    """All nodes of one cluster. `files`: ca, certificate and key of the servers; `client` the same of an operator."""

    def __init__(
        self,
        folder: Path,
        files: dict[str, Path],
        client: dict[str, str],
        *,
        nodes: int = 1,
        message_bytes_max: int = 1 << 20,
        uplink: Uplink | None = None,
    ) -> None:
        assert uplink is None or nodes == 1, "an uplink leads to one node"
        self._client = client
        ports = free_ports(4 * nodes)
        fours = [ports[4 * number : 4 * number + 4] for number in range(nodes)]
        voters = ",".join(f"{number}@127.0.0.1:{four[1]}" for number, four in enumerate(fours))
        shared = {
            "voters": voters,
            "replicas": min(nodes, 3),
            "least": min(nodes, 2),
            "message_bytes_max": message_bytes_max,
            "uplink": f",UPLINK://{uplink.address}:{uplink.port}" if uplink else "",
            "uplink_advertised": f",UPLINK://localhost:{uplink.advertised_port}" if uplink else "",
        }
        self.nodes = [
            KafkaNode(
                folder / f"kafka-{number}",
                {"node": number, **dict(zip(("port", "controller", "between", "users"), four, strict=True)), **shared},
                files,
            )
            for number, four in enumerate(fours)
        ]
        self.port = self.nodes[0].port

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self.kill)
            for node in self.nodes:
                node.start()
            self.wait()
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End all nodes with SIGKILL."""
        for node in self.nodes:
            node.kill()

    @property
    def servers(self) -> str:
        """host:port of each node, with commas."""
        return ",".join(f"localhost:{node.port}" for node in self.nodes)

    def settings(self, **more: object) -> dict[str, Any]:
        """Return what a client of the library needs to be let in."""
        return {
            "bootstrap.servers": self.servers,
            "security.protocol": "ssl",
            "ssl.ca.location": self._client["ca"],
            "ssl.certificate.location": self._client["certificate"],
            "ssl.key.location": self._client["key"],
            "log_level": 0,
            **more,
        }

    def wait(self) -> None:
        """Wait until every node that runs is known to the cluster."""
        client = AdminClient(self.settings(), logger=None)

        def is_whole() -> bool:
            running = sum(node.is_running() for node in self.nodes)
            found = client.describe_cluster(request_timeout=2.0)
            try:
                return len(found.result(3.0).nodes) >= running
            except Exception:  # noqa: BLE001  # the library passes on whatever it meets while the cluster starts
                return False

        wait_for(is_whole, "Kafka answers", START_S, 0.1)

    def make_topic(self, name: str, *, partitions: int = 1, **options: str) -> None:
        """Make a topic, as widely replicated as the cluster allows; it can be written when this returns."""
        client = AdminClient(self.settings())
        topic = NewTopic(name, partitions, min(len(self.nodes), 3), config=options)
        for made in client.create_topics([topic], operation_timeout=ANSWER_S).values():
            made.result(ANSWER_S)

        self.wait_replicated(name)

    def wait_replicated(self, topic: str) -> None:
        """Wait until each partition of a topic has its leader and all its replicas."""
        client = AdminClient(self.settings())

        def is_whole() -> bool:
            found = client.list_topics(topic, timeout=ANSWER_S).topics[topic].partitions.values()
            return bool(found) and all(one.leader >= 0 and len(one.isrs) == len(one.replicas) for one in found)

        wait_for(is_whole, f"the partitions of {topic} are whole", ANSWER_S, 0.1)

    def members(self, group: str) -> int:
        """Return how many consumers a group has."""
        client = AdminClient(self.settings())  # answers come as long as it lives
        (found,) = client.describe_consumer_groups([group]).values()
        return len(found.result(ANSWER_S).members)

    def messages(self, topic: str) -> list[Message]:
        """Return all that a topic holds and every transaction committed, by partition, in order."""
        settings = {
            "group.id": "tests",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 10,
        }
        consumer = Consumer(self.settings(**settings, **{"enable.partition.eof": True}))
        try:
            partitions = consumer.list_topics(topic, timeout=ANSWER_S).topics[topic].partitions
            found: list[Message] = []
            for number in sorted(partitions):
                consumer.assign([TopicPartition(topic, number, 0)])
                found += _until_end(consumer)
            return found
        finally:
            consumer.close()


def _until_end(consumer: Consumer) -> list[Message]:
    found = []
    while True:
        message = consumer.poll(ANSWER_S)
        assert message is not None, "Kafka does not answer"
        error = message.error()
        if error is None:
            found.append(message)
        elif error.name() == "_PARTITION_EOF":
            return found
        else:
            assert error.retriable(), error


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that are free now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]
