"""A daemon and a receiver with a broker between them that lies, withholds and leaves: what the books say in the end.

The broker is the tests' own (`tests.support.mqtt_liar`); daemon and receiver are real processes, seen through the
command line, the status and the sinks.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import mqtt5
import msgspec
import pytest

from tests.support.authority import Authority
from tests.support.mosquitto import Mosquitto
from tests.support.mqtt_liar import Liar, Manners
from tests.support.sensors import Stream
from tests.support.site import PROGRAM, Site
from tests.support.waiting import wait_for

TOPICS = [f"raw/{number}" for number in range(5)]
NODE = "edge-gateway-node-1"
RATE = 500.0
ROUTES = """
[[route]]
name = "raw"
topics = ["raw/+"]
lane = "telemetry"
"""
BY_RECEIVER = 'acknowledge = "receiver"\nin_flight_max = 8'
BY_BROKER = 'acknowledge = "broker"\nin_flight_max = 8'

Build = Callable[..., "Bench"]


class Bench(NamedTuple):
    """Everything that runs."""

    site: Site
    liar: Liar
    stream: Stream

    def region(self) -> dict[str, Any]:
        """Return what the daemon says of its region."""
        (found,) = self.site.status()["regions"].values()
        return found

    def fault(self) -> str:
        """Return why the link to the region ended last."""
        return str(self.region()["last_fault"])

    def send(self, messages: int) -> None:
        """Let the publisher send so many messages more."""
        goal = self.stream.total + messages
        wait_for(lambda: self.stream.total >= goal, f"{goal} messages are published")

    def region_status(self, *options: str) -> str:
        """Return what `gateway region status` prints."""
        command = [PROGRAM, "region", "status", "-c", str(self.site.folder / "receiver.toml"), *options]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout

    def lane(self) -> dict[str, Any]:
        """Return the receiver's books of the only lane."""
        (lane,) = msgspec.json.decode(self.region_status("--json"))["lanes"]
        return lane

    def settle(self) -> dict[str, int]:
        """Stop the publisher, wait until the region has everything exactly once, and return what was published."""
        books = self.stream.stop()
        total = sum(books.values())
        wait_for(lambda: len(self.site.readings()) >= total, f"{total} readings are at the region", 30.0)
        found = sorted((one.topic, one.value) for one in self.site.readings())
        assert found == sorted((topic, number) for topic, count in books.items() for number in range(count))
        wait_for(self.is_at_rest, "the mirror knows that the region has everything")
        assert "unaccounted: 0" in self.region_status()
        assert self.site.status()["residual"] == {"messages": 0, "readings": 0}
        return books

    def is_at_rest(self) -> bool:
        """Whether the region has all, and the daemon knows it."""
        status = self.site.status()
        return all(
            region["cursors"][lane["name"]] == lane["head"]
            for region in status["regions"].values()
            for lane in _named(status["lanes"])
        )


def _named(items: Any) -> list[dict[str, Any]]:
    return [{"name": name, **one} for name, one in items.items()] if isinstance(items, dict) else items


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    authority = Authority(tmp_path / "pki")
    authority.issue("server", "localhost", "127.0.0.1")
    authority.issue("node", name="node-1")
    authority.issue("receiver")
    with ExitStack() as stack:

        def built(region: str, **manners: object) -> Bench:
            files = {name: str(path) for name, path in authority.files("server").items()}
            liar = stack.enter_context(Liar(**files, **manners))
            local = stack.enter_context(Mosquitto(tmp_path / "local", max_queued_messages=0))
            options = {"broker_port": local.port, "region_port": liar.port, "pki": authority.folder, "region": region}
            site = stack.enter_context(Site(tmp_path, ROUTES, **options))
            site.receiver.start()
            site.daemon.start()
            wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
            stream = Stream(local.port, TOPICS, rate=RATE)
            stream.start()
            return Bench(site, liar, stream)

        yield built


def test_with_good_manners_everything_arrives_once(build) -> None:
    bench = build(BY_RECEIVER)
    bench.send(500)
    bench.settle()
    assert bench.liar.violations == []
    assert (bench.region()["faults"], bench.lane()["duplicates"]) == (0, 0)


def test_a_broker_that_never_acknowledges_is_left_and_named_and_the_cursor_stays(build) -> None:
    bench = build(BY_BROKER, acknowledges=False)
    bench.send(100)
    wait_for(lambda: "acknowledged nothing" in bench.site.daemon.log(), "it is named")
    wait_for(lambda: sum(NODE in client for _, client in bench.liar.connects) >= 2, "it is tried again")
    assert bench.region()["cursors"] == {"telemetry": 0}
    assert bench.region()["in_flight"] <= 8
    bench.liar.manners.acknowledges = True
    bench.settle()


def test_a_broker_that_forgets_what_it_acknowledged_costs_nothing_when_the_receivers_word_counts(build) -> None:
    bench = build(BY_RECEIVER, keeps=lambda number: number not in range(3, 9))
    bench.send(500)
    bench.settle()
    assert bench.liar.forgotten
    assert bench.region()["resent"] > 0


def test_what_a_broker_forgot_is_named_by_the_region_when_its_own_word_counts(build) -> None:
    bench = build(BY_BROKER, keeps=lambda number: number not in {5, 6})
    bench.send(500)
    bench.stream.stop()
    wait_for(bench.is_at_rest, "the mirror believes that the region has everything")
    wait_for(lambda: bench.lane()["highest"] == bench.region()["cursors"]["telemetry"], "the rest has arrived")
    assert len(bench.liar.forgotten) == 2
    lane = bench.lane()
    (hole,) = lane["holes"]
    assert hole["last"] - hole["first"] == 1
    assert lane["missing"] == hole["readings"] == bench.stream.total - len(bench.site.readings()) > 0
    assert f"batches {hole['first']} to {hole['last']} are missing" in bench.region_status()
    assert lane["unaccounted"] == 0


def test_a_window_of_one_is_kept(build) -> None:
    bench = build(BY_RECEIVER, receive_maximum=1, acknowledges_after_s=0.2)
    bench.send(500)
    bench.settle()
    assert bench.liar.violations == []
    assert bench.lane()["duplicates"] == 0


def test_nothing_larger_than_the_brokers_maximum_packet_size_is_sent_and_the_loss_is_named(build) -> None:
    bench = build(BY_RECEIVER)
    bench.send(100)
    wait_for(lambda: bench.lane()["received"] >= 100, "the first are there")
    sizes = [len(payload) for client, _, payload in bench.liar.taken if NODE in client]
    bench.liar.manners.packet_bytes_max = max(200, min(sizes) // 2)  # not even the smallest batch fits, a gap does
    bench.liar.drop(NODE)
    wait_for(lambda: bench.region()["parked"] > 0, "a batch is parked")
    bench.stream.stop()
    wait_for(bench.is_at_rest, "nothing is held up")
    lane = bench.lane()
    assert bench.liar.violations == []
    assert lane["lost"]["refused"] + lane["received"] == bench.stream.total
    assert (lane["missing"], lane["unaccounted"]) == (0, 0)


@pytest.mark.parametrize(
    "reason",
    [
        mqtt5.DisconnectReasonCode.SERVER_SHUTTING_DOWN,
        mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER,
        mqtt5.DisconnectReasonCode.QUOTA_EXCEEDED,
    ],
)
def test_a_disconnect_in_mid_stream_is_named_and_nothing_is_lost(build, reason) -> None:
    bench = build(BY_RECEIVER)
    for _ in range(3):
        bench.send(100)
        bench.liar.disconnect(NODE, reason)
        wait_for(lambda: bench.liar.connected(NODE), "it is back")
    bench.settle()
    assert reason.name.lower().replace("_", " ") in bench.site.daemon.log()


@pytest.mark.parametrize(
    "reason",
    [mqtt5.ConnAckReasonCode.NOT_AUTHORIZED, mqtt5.ConnAckReasonCode.SERVER_BUSY, mqtt5.ConnAckReasonCode.BANNED],
)
def test_a_refused_connection_is_named_and_tried_again(build, reason) -> None:
    bench = build(BY_RECEIVER)
    bench.send(100)
    bench.liar.manners.connack = reason
    bench.liar.drop(NODE)
    words = reason.name.lower().replace("_", " ")
    wait_for(lambda: words in bench.fault(), "the reason is named")
    assert words in bench.site.shown_status()
    bench.liar.manners.connack = mqtt5.ConnAckReasonCode.SUCCESS
    bench.settle()


def test_a_broker_that_answers_no_ping_is_left_while_nothing_is_sent(build) -> None:
    bench = build(BY_RECEIVER, keep_alive_s=1, answers_pings=False)
    bench.send(50)
    bench.stream.stop()
    wait_for(lambda: "silent" in bench.site.daemon.log(), "the silence is named", 10.0)
    bench.liar.manners.answers_pings = True
    bench.settle()
    assert bench.liar.pings > 0


def test_pings_that_are_answered_do_not_hide_that_nothing_is_acknowledged(build) -> None:
    bench = build(BY_BROKER, keep_alive_s=1, acknowledges=False)
    bench.send(50)
    bench.stream.stop()
    wait_for(lambda: "acknowledged nothing" in bench.site.daemon.log(), "it is named", 10.0)
    bench.liar.manners.acknowledges = True
    bench.settle()
    assert bench.liar.pings > 0


def test_a_message_that_is_refused_for_a_while_is_sent_until_it_is_taken(build) -> None:
    refused = mqtt5.PubAckReasonCode.QUOTA_EXCEEDED
    taken = mqtt5.PubAckReasonCode.SUCCESS
    bench = build(BY_RECEIVER, answer=lambda number, _: refused if 5 <= number < 8 else taken)
    bench.send(500)
    bench.settle()
    assert "quota exceeded" in bench.site.daemon.log()
    assert bench.region()["parked"] == 0


@pytest.mark.parametrize(
    "reason", [mqtt5.PubAckReasonCode.PAYLOAD_FORMAT_INVALID, mqtt5.PubAckReasonCode.TOPIC_NAME_INVALID]
)
def test_a_message_that_is_refused_for_good_is_parked_and_its_loss_is_exact(build, reason) -> None:
    taken = mqtt5.PubAckReasonCode.SUCCESS
    bench = build(BY_RECEIVER, answer=lambda number, _: reason if number == 5 else taken)
    bench.send(500)
    bench.stream.stop()
    wait_for(bench.is_at_rest, "nothing is held up")
    lane = bench.lane()
    assert bench.region()["parked"] == 1
    assert lane["lost"]["refused"] + lane["received"] == bench.stream.total == lane["expected"]
    assert (lane["missing"], lane["unaccounted"]) == (0, 0)


def test_a_message_that_is_refused_each_time_it_is_sent_is_parked_in_the_end(build) -> None:
    poison: list[bytes] = []

    def answer(number: int, payload: bytes) -> mqtt5.PubAckReasonCode:
        if number == 5:
            poison.append(payload)
        refused = payload in poison
        return mqtt5.PubAckReasonCode.IMPLEMENTATION_SPECIFIC_ERROR if refused else mqtt5.PubAckReasonCode.SUCCESS

    bench = build(BY_RECEIVER, answer=answer)
    bench.send(500)
    wait_for(lambda: bench.region()["parked"] == 1, "it is parked", 10.0)


def test_a_broker_that_forgets_its_sessions_costs_nothing(build) -> None:
    bench = build(BY_RECEIVER)
    for _ in range(2):
        bench.send(100)
        for client in (NODE, "edge-region"):
            bench.liar.drop(client)
        bench.liar.forget_sessions()
    bench.settle()


def test_manners_begin_good() -> None:
    assert Manners().keeps(1)
    assert Manners().answer(1, b"") == mqtt5.PubAckReasonCode.SUCCESS
