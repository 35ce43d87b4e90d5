"""A real spool mirrored over mTLS to real mosquittos that are cut, frozen, renewed and dead."""

from __future__ import annotations

import os
import signal
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import aiomqtt
import msgspec
import pytest

from gateway.demo.pki import write_pki
from gateway.transport.tls import client_context
from tests.support.mirroring import LANE, Node, receiving, region, until
from tests.support.mosquitto import Mosquitto
from tests.support.site import region_tls

# The client library leaves the socket of a refused handshake to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    write_pki(tmp_path / "pki")
    return tmp_path / "pki"


async def test_an_uplink_that_is_cut_again_and_again_loses_nothing(tmp_path: Path, pki: Path) -> None:
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        # A broker that was killed forgets whom it had batches for: each cut costs the wait for the receiver's word.
        node = Node(tmp_path, region(pki, central.port, resend_after_ns=5 * 10**8))
        async with receiving(pki, central.port) as receiver, node.running():
            for _ in range(3):
                node.append(30)
                await until(lambda: len(set(receiver.sequences)) > node.appended[LANE] - 25, "some have arrived")
                central.kill()
                node.append(10)
                central.start()
            await until(node.has_all, "the receiver has said that it has all")
        assert set(receiver.sequences) == set(range(1, node.appended[LANE] + 1))


async def test_while_a_region_cannot_be_reached_the_status_says_why_and_when_it_is_tried_again(
    tmp_path: Path, pki: Path
) -> None:
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        central.stop()
        node = Node(tmp_path, region(pki, central.port, acknowledge="broker", backoff_min_ns=4 * 10**9))
        mirror = node.mirrors[0]
        async with node.running():
            node.append(3)
            await until(lambda: mirror.status()["next_attempt_s"], "it waits")
            assert not mirror.status()["connected"]
            assert f":{central.port}" in str(mirror.status()["last_fault"])
            central.start()
            await until(node.has_all, "the broker has all")
            assert (mirror.status()["connected"], mirror.status()["next_attempt_s"]) == (True, 0.0)


async def test_a_frozen_broker_is_waited_for_and_nothing_is_lost(tmp_path: Path, pki: Path) -> None:
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        node = Node(tmp_path, region(pki, central.port, acknowledge="broker", resend_after_ns=10**9))
        async with node.running():
            node.append(5)
            await until(node.has_all, "the broker has all")
            os.kill(central.pid, signal.SIGSTOP)
            node.append(20)
            await until(lambda: node.mirrors[0].status()["faults"], "the silence is noticed")
            os.kill(central.pid, signal.SIGCONT)
            await until(node.has_all, "the broker has all")


async def test_without_a_word_of_the_receiver_the_cursor_stays(tmp_path: Path, pki: Path) -> None:
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        node = Node(tmp_path, region(pki, central.port, in_flight_max=3))
        async with receiving(pki, central.port, says=False) as receiver, node.running():
            node.append(10)
            await until(lambda: len(receiver.sequences) >= 6, "the window was sent twice")
            assert node.spool.cursor("centre", LANE) == 0
            assert set(receiver.sequences) == {1, 2, 3}
            receiver.says = True
            await until(node.has_all, "the receiver has said that it has all")


async def test_renewed_certificates_are_used_without_losing_anything(tmp_path: Path, pki: Path) -> None:
    with Mosquitto(tmp_path / "central", use_identity_as_username="true", **region_tls(pki)) as central:
        node = Node(tmp_path, region(pki, central.port))
        async with receiving(pki, central.port) as receiver, node.running():
            node.append(20)
            await until(node.has_all, "all is there")
            swap(pki, "node", "receiver")
            node.append(20)
            await until(lambda: node.mirrors[0].status()["connects"] == 2, "a new link is made")
            node.append(20)
            await until(node.has_all, "all is there")
            assert node.mirrors[0].status()["faults"] == 0
            names = [line.rpartition("u'")[2] for line in central.log().splitlines() if "edge-gateway-node-1" in line]
            assert [name.rstrip("').") for name in names if name.endswith("').")] == ["node-1", "receiver"]
        assert sorted(set(receiver.sequences)) == list(range(1, 61))


def swap(pki: Path, who: str, other: str) -> None:
    """Put the credentials of another party in the place of one's own, file by file."""
    for suffix in ("pem", "key"):
        data = (pki / f"{other}.{suffix}").read_bytes()
        (pki / f"{who}.{suffix}").unlink()
        (pki / f"{who}.{suffix}").write_bytes(data)


async def test_a_wrong_ca_is_reported_and_heals_when_it_is_put_right(tmp_path: Path, pki: Path) -> None:
    write_pki(tmp_path / "other")
    right = (pki / "ca.pem").read_bytes()
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        (tmp_path / "ca.pem").write_bytes((tmp_path / "other" / "ca.pem").read_bytes())
        options = region(pki, central.port, acknowledge="broker")
        options = msgspec.structs.replace(options, tls_ca=str(tmp_path / "ca.pem"))
        node = Node(tmp_path, options)
        async with node.running():
            node.append(3)
            await until(lambda: "certificate" in str(node.mirrors[0].status()["last_fault"]).lower(), "it is reported")
            (tmp_path / "ca.pem").write_bytes(right)
            await until(node.has_all, "the broker has all")
            assert node.mirrors[0].status()["last_fault"] == ""


async def test_missing_credentials_are_reported_and_heal_when_they_come(tmp_path: Path, pki: Path) -> None:
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        (pki / "node.key").rename(tmp_path / "away")
        node = Node(tmp_path, region(pki, central.port, acknowledge="broker"))
        async with node.running():
            node.append(3)
            await until(lambda: "node.key" in str(node.mirrors[0].status()["last_fault"]), "it is reported")
            (tmp_path / "away").rename(pki / "node.key")
            await until(node.has_all, "the broker has all")


async def test_a_client_without_a_certificate_is_refused_by_the_regions_broker(tmp_path: Path, pki: Path) -> None:
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        context = client_context(str(pki / "ca.pem"))
        with pytest.raises((aiomqtt.MqttError, ssl.SSLError)):
            async with aiomqtt.Client("localhost", central.port, tls_context=context, timeout=3):
                pytest.fail("the broker took a client without a certificate")


async def test_a_dead_region_does_not_hold_up_another(tmp_path: Path, pki: Path) -> None:
    async with AsyncExitStack() as stack:
        central = stack.enter_context(Mosquitto(tmp_path / "central", **region_tls(pki)))
        dead = stack.enter_context(Mosquitto(tmp_path / "dead", **region_tls(pki)))
        node = Node(
            tmp_path,
            region(pki, central.port, acknowledge="broker"),
            region(pki, dead.port, "dead", acknowledge="broker"),
        )
        await stack.enter_async_context(node.running())
        os.kill(dead.pid, signal.SIGSTOP)
        node.append(100)
        await until(node.has_all, "the living region has all")
        assert node.spool.cursor("dead", LANE) < 100
        os.kill(dead.pid, signal.SIGCONT)
        await until(lambda: node.has_all("dead"), "the other has all too")
