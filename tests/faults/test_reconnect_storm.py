"""A fleet that loses its region at one moment comes back in a crowd that is bounded, and not in step.

What `gateway.transport.backoff` promises of one node bounds a fleet of N. The k-th wait has the ceiling base x 2^(k-1)
(the first one twice, after a link that was stable) and none before it lasted longer than its own, so t seconds after
the loss every node waits under a ceiling of at least t/2, or the highest one. A wait under a ceiling of w ends with a
density of 1/w, and about two of them end in the time of w. So on average N nodes try, a second,

    at most 2 N / base in the first moments, 4 N / t after t seconds, 2 N / ceiling in a long outage

and come back at no higher rate, whenever the region does. The first test holds the waits of fleets of 500 nodes against
this in virtual time. The second one has real links (MQTT 5 over mutual TLS, without spool and mirror, which would not
fit 500 times into one process) to a real mosquitto that is killed and comes back: 60 nodes, 500 with GATEWAY_LONG=1.
Histograms are printed.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.demo.pki import write_pki
from gateway.errors import LinkError
from gateway.transport.backoff import Backoff
from gateway.transport.credentials import Credentials
from gateway.transport.mqtt import MqttTransport
from tests.support.mirroring import region
from tests.support.mosquitto import Mosquitto
from tests.support.site import region_tls

IS_LONG = bool(os.environ.get("GATEWAY_LONG"))
NODES = 500
FLEETS = 40
OUTAGE_S = 400
STABLE_S = 30.0
DEVIATIONS = 4.0

REAL_NODES = 500 if IS_LONG else 60
REAL_BASE_S = 0.2
REAL_CEILING_S = 8.0 if IS_LONG else 2.0
PATIENCE_S = 60.0


def bound(nodes: int, after_s: float, base_s: float, ceiling_s: float) -> float:
    """Return the most attempts a second, on average, of a fleet that lost its region so long ago."""
    at_first = 2 / base_s
    return nodes * max(2 / ceiling_s, min(at_first, 4 / after_s if after_s else at_first))


def told(title: str, counts: Sequence[float], bounds: Sequence[float]) -> None:
    """Print a histogram; a `|` stands where the bound is."""
    scale = 60 / max(*counts, *bounds)
    print(title)  # noqa: T201  # for people
    for second, (count, most) in enumerate(zip(counts, bounds, strict=True)):
        bar = ("#" * round(count * scale)).ljust(61)
        at = round(most * scale)
        print(f"  {second:3} s {count:7.1f} of {most:7.1f} {bar[:at]}|{bar[at + 1 :]}".rstrip())  # noqa: T201


@pytest.mark.parametrize(("base_s", "ceiling_s"), [(0.5, 120.0), (2.0, 30.0)])
@pytest.mark.parametrize("up_s", [1.0, 3600.0])
def test_500_nodes_stay_within_the_bound_however_long_their_region_is_away(base_s, ceiling_s, up_s) -> None:
    tried: Counter[int] = Counter()
    for number in range(FLEETS * NODES):
        backoff = Backoff(random.Random(number), base_s, ceiling_s, STABLE_S)
        now_s = backoff.next_wait_s(up_s)
        while now_s < OUTAGE_S:
            tried[int(now_s)] += 1
            now_s += backoff.next_wait_s(0.0)
    counts = [tried[second] / FLEETS for second in range(OUTAGE_S)]
    bounds = [bound(NODES, second, base_s, ceiling_s) for second in range(OUTAGE_S)]
    told(f"{NODES} nodes, base {base_s} s, ceiling {ceiling_s} s: attempts in each second", counts[:20], bounds[:20])
    for second, (count, most) in enumerate(zip(counts, bounds, strict=True)):
        assert count <= most + DEVIATIONS * (most / FLEETS) ** 0.5, second
    assert min(counts[-100:]) > 0, "they go on trying"


class Fleet:
    """Nodes that are nothing but their links, made anew for ever. Times are the loop's, in seconds."""

    def __init__(self, pki: Path, port: int, seed: int) -> None:
        self._seed = seed
        self._options = region(pki, port, resend_after_ns=30 * 10**9)
        self.attempts: list[float] = []
        self.connects: list[float] = []
        self.connected: set[int] = set()

    async def node(self, number: int) -> None:
        """Be one node."""
        options = self._options
        credentials = Credentials(options.tls_ca, options.tls_certificate, options.tls_key)
        transport = MqttTransport(options, f"node-{number}", credentials)
        backoff = Backoff(random.Random(self._seed + number), REAL_BASE_S, REAL_CEILING_S, STABLE_S)
        loop = asyncio.get_running_loop()
        await asyncio.sleep(number / 100)  # a fleet is not switched on in one moment
        while True:
            up_since = None
            self.attempts.append(loop.time())
            try:
                async with transport.connected() as link:
                    up_since = loop.time()
                    self.connects.append(up_since)
                    self.connected.add(number)
                    async for _ in link.words():
                        pass
            except LinkError:
                self.connected.discard(number)
            await asyncio.sleep(backoff.next_wait_s(0.0 if up_since is None else loop.time() - up_since))

    async def wait_connected(self, count: int) -> None:
        """Wait until so many nodes are connected."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.connected) != count:  # noqa: ASYNC110  # polled, bounded
                await asyncio.sleep(0.05)


def per_second(times: Sequence[float], since: float, until: float) -> list[float]:
    """Return how many of the times lie in each second from `since` on."""
    found = Counter(int(moment - since) for moment in times if since <= moment < until)
    return [float(found[second]) for second in range(int(until - since) + 1)]


async def test_a_fleet_of_real_links_comes_back_within_the_bound_after_an_outage(tmp_path: Path) -> None:
    write_pki(tmp_path / "pki")
    with Mosquitto(tmp_path / "central", max_connections=-1, **region_tls(tmp_path / "pki")) as central:
        fleet = Fleet(tmp_path / "pki", central.port, seed=1)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(fleet.node(number)) for number in range(REAL_NODES)]
            await fleet.wait_connected(REAL_NODES)
            loop = asyncio.get_running_loop()
            lost_at = loop.time()
            central.kill()
            await fleet.wait_connected(0)
            await asyncio.sleep(2 * REAL_CEILING_S)  # the outage: till every wait is under the highest ceiling
            central.start()
            back_at = loop.time()
            await fleet.wait_connected(REAL_NODES)
            for task in tasks:
                task.cancel()
    attempts = per_second(fleet.attempts, lost_at, loop.time())
    told(
        f"{REAL_NODES} links, base {REAL_BASE_S} s, ceiling {REAL_CEILING_S} s: attempts since the broker was killed",
        attempts,
        [bound(REAL_NODES, second, REAL_BASE_S, REAL_CEILING_S) for second in range(len(attempts))],
    )
    connects = per_second(fleet.connects, back_at, loop.time())
    most = bound(REAL_NODES, back_at - lost_at, REAL_BASE_S, REAL_CEILING_S)
    told("connections since the broker is back", connects, [most] * len(connects))
    assert sum(connects) == REAL_NODES
    assert max(connects) <= most + DEVIATIONS * most**0.5
    for second, tried in enumerate(attempts):
        most = bound(REAL_NODES, second, REAL_BASE_S, REAL_CEILING_S)
        assert tried <= most + DEVIATIONS * most**0.5, second
