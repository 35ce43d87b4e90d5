"""The console in a real browser, of a real daemon with real brokers: what a person sees in each state of a node."""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from playwright.sync_api import Browser, expect

from gateway.demo.pki import write_pki
from tests.support.console_page import chromium, page
from tests.support.forwarded import Forwarded
from tests.support.mosquitto import Mosquitto
from tests.support.sensors import PahoSensor
from tests.support.site import PROGRAM, Site, region_tls
from tests.support.waiting import wait_for

TOKEN = "correct horse battery"  # noqa: S105  # of the tests
HOSTILE_TOPIC = "plant/<img src=x onerror=alert(1)>\"'&<script>alert(2)</script>/climate"
HOSTILE_PAYLOAD = b'{"temperature": <script>alert(3)</script>\xff\x00\xe2\x80\xae"}'
CONFIGURATION = """
[[spool.lanes]]
name = "bulk"
bytes_max = "256KiB"
batch_bytes_max = "32KiB"
linger = "50ms"

[journal]
commit_interval_max = "20ms"

[spool]
segment_bytes = "128KiB"

[[route]]
name = "climate"
topics = ["plant/#"]
lane = "telemetry"

[[route]]
name = "bulk"
topics = ["bulk/#"]
lane = "bulk"

[console]
listen = "{socket}"
token_file = "token"
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def plant(tmp_path_factory) -> Iterator[SimpleNamespace]:
    folder: Path = tmp_path_factory.mktemp("plant")
    write_pki(folder / "pki")
    (folder / "token").write_text(f"{TOKEN}\n", "utf-8")
    socket = folder / "console.sock"
    with (
        Mosquitto(folder / "local", max_queued_messages=0) as local,
        Mosquitto(folder / "central", **region_tls(folder / "pki")) as central,
        Site(
            folder,
            CONFIGURATION.format(socket=socket),
            broker_port=local.port,
            region_port=central.port,
            pki=folder / "pki",
            lane='linger = "50ms"\nbatch_bytes_max = "32KiB"',
        ) as site,
        Forwarded(socket) as forwarded,
    ):
        site.daemon.start()
        site.receiver.start()
        wait_for(lambda: site.status()["regions"]["centre"]["connected"], "the region is connected")
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        with PahoSensor(local.port, "plant", 5) as sensor:
            yield SimpleNamespace(
                site=site, central=central, sensor=sensor, origin=f"http://localhost:{forwarded.port}", sent=0
            )


def publish(plant: SimpleNamespace, topic: str, *payloads: bytes) -> None:
    """Publish, and wait until the daemon has decided them."""
    before = plant.site.ledger().get("message.received", 0)
    for payload in payloads:
        plant.sensor.publish(topic, payload, 1)
    plant.sensor.wait_until_at_most()
    plant.site.wait_received(before + len(payloads))


def audit_log(plant: SimpleNamespace) -> list[str]:
    """Return the kinds of the entries in the audit log that the console caused, by what `gateway audit ls` prints."""
    command = [PROGRAM, "audit", "ls", "-c", str(plant.site.configuration)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout
    return [line.split()[2] for line in said.splitlines() if "console, uid" in line]


def climate(temperature: float) -> bytes:
    return b'{"temperature": %.1f, "ok": true}' % temperature


def test_a_healthy_node_is_shown_with_its_flow_lanes_and_regions(browser, plant) -> None:
    with page(browser, plant.origin) as seen:
        seen.open()
        for number in range(30):
            publish(plant, f"plant/hall-{number % 3}/climate", climate(20 + number))
        expect(seen.tab.locator("#node")).to_have_text("node-1")
        expect(seen.tab.locator("#state")).to_have_text("ok")
        expect(seen.tab.locator("#attention")).to_be_hidden()
        expect(seen.tab.get_by_role("listitem").filter(has_text="received")).to_contain_text("30 messages")
        expect(seen.row("Lanes", "telemetry").get_by_role("img")).to_have_attribute("aria-label", re.compile("ring"))
        expect(seen.row("Regions", "centre")).to_contain_text("up")
        expect(seen.row("Fates", "unaccounted")).to_contain_text("0")
        seen.picture("normal")
    with page(browser, plant.origin, scheme="dark") as seen:
        seen.open()
        ground = seen.tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert sum(map(int, re.findall(r"\d+", ground)[:3])) < 3 * 64
        seen.picture("dark")


def test_a_phone_shows_everything_without_moving_sideways(browser, plant) -> None:
    publish(plant, "plant/" + "h" * 150 + "/climate", climate(1))
    with page(browser, plant.origin, width=390, height=844) as seen:
        for view in ("overview", "series", "quarantine", "recovery", "configuration"):
            seen.open(view)
            seen.tab.wait_for_timeout(300)
            assert seen.tab.evaluate("document.documentElement.scrollWidth") <= 390, view
            seen.picture(f"phone-{view}")


def test_series_are_found_by_words_and_drawn(browser, plant) -> None:
    with page(browser, plant.origin) as seen:
        seen.open("series")
        for number in range(12):
            publish(plant, "plant/hall-7/climate", climate(20 + number))
            seen.tab.wait_for_timeout(150)
        seen.tab.get_by_label("Words of topic or field").fill("HALL-7 temp")
        expect(seen.part("series")).to_contain_text("1 series")
        row = seen.row("Series", "plant/hall-7/climate")
        expect(row.get_by_role("img")).to_have_attribute("aria-label", re.compile(r"^\d+ readings in \d+ s, from 2\d"))
        expect(row).to_contain_text("31")
        seen.picture("series")


def test_a_cut_uplink_says_so_first_and_where_the_region_stands(browser, plant) -> None:
    with page(browser, plant.origin) as seen:
        seen.open()
        plant.central.kill()
        try:
            expect(seen.tab.locator("#attention")).to_contain_text("region centre is not connected")
            expect(seen.tab.locator("#state")).to_have_text("needs attention")
            expect(seen.row("Regions", "centre")).to_contain_text("down")
            publish(plant, "plant/hall-1/climate", *map(climate, range(50)))
            expect(seen.row("Regions", "centre")).to_contain_text("100")
            seen.picture("cut")
            noise = random.Random(1)
            for _ in range(30):
                publish(
                    plant, "bulk/noise", *(b'{"x": "%s"}' % noise.randbytes(2000).hex().encode() for _ in range(20))
                )
                if plant.site.status()["lanes"][1]["evicted_readings"]:
                    break
            expect(seen.tab.locator("#attention")).to_contain_text("lane bulk is full: its oldest batches are given up")
            expect(seen.row("Lanes", "bulk")).to_contain_text("evicted")
            seen.picture("full")
        finally:
            plant.central.start()
        expect(seen.tab.locator("#state")).to_have_text("ok", timeout=30_000)


def test_hostile_topics_and_payloads_are_text_and_can_be_published_again_or_removed(browser, plant) -> None:
    for _ in range(3):
        publish(plant, HOSTILE_TOPIC, HOSTILE_PAYLOAD)
    with page(browser, plant.origin) as seen:
        seen.open("quarantine")
        rows = seen.row("Messages in quarantine", HOSTILE_TOPIC)
        expect(rows).to_have_count(3)
        rows.first.get_by_role("button").click()
        detail = seen.part("quarantine").get_by_role("region", name="Message", exact=True)
        expect(detail).to_contain_text('{"temperature": <script>alert(3)</script>\ufffd\\u0000\\u202e"}')
        expect(detail).to_contain_text("7b 22 74 65 6d 70")
        seen.picture("quarantine")
        rows.first.get_by_role("checkbox").check()
        seen.part("quarantine").get_by_label("Token").fill("wrong")
        seen.tab.get_by_role("button", name="Publish again").click()
        said = seen.part("quarantine").get_by_role("status")
        expect(said).to_have_text("Not done: this is not the token.")
        seen.part("quarantine").get_by_label("Token").fill(TOKEN)
        seen.tab.get_by_role("button", name="Publish again").click()
        expect(said).to_have_text("1 message published again and removed.")
        wait_for(lambda: plant.site.status()["quarantine"]["kept"] == 4, "it is in quarantine again")
        expect(rows).to_have_count(3)
        seen.tab.get_by_label("all that are shown").check()
        expect(seen.part("quarantine")).to_contain_text("3 chosen")
        seen.tab.get_by_role("button", name="Remove for ever").click()
        seen.tab.get_by_role("button", name="Really remove 3 messages?").click()
        expect(said).to_have_text("3 messages removed.")
        expect(seen.part("quarantine")).to_contain_text("Nothing is in quarantine.")
        assert seen.tab.locator("img").count() == 0
        told = audit_log(plant)
        kinds = ["console.token.refused", "quarantine.redrive", "quarantine.redrive.done"]
        assert [one for one in told if one in {*kinds, "quarantine.purge", "quarantine.purge.done"}] == [
            *kinds,
            "quarantine.purge",
            "quarantine.purge.done",
        ]
        seen.tab.goto(f"{plant.origin}/#/series")
        expect(seen.part("series")).to_contain_text("temperature")


def test_the_configuration_is_shown_with_its_origins_and_reloaded(browser, plant) -> None:
    path = plant.site.configuration
    before = path.read_text("utf-8")
    with page(browser, plant.origin) as seen:
        seen.open("configuration")
        expect(seen.row("Options", "node.id")).to_contain_text("gateway.toml:3")
        seen.tab.get_by_label("only what the file says").uncheck()
        expect(seen.row("Options", "journal.commit_interval")).to_contain_text("default")
        assert TOKEN not in seen.tab.content()
        seen.picture("configuration")
        seen.part("configuration").get_by_label("Token").fill(TOKEN)
        said = seen.part("configuration").get_by_role("status")
        path.write_text(before.replace('lane = "bulk"', 'lane = "nowhere"'), "utf-8")
        seen.tab.get_by_role("button", name="Reload the file").click()
        expect(said).to_contain_text(
            "Refused, the gateway goes on as it was. gateway.toml:".replace("gateway.toml", str(path))
        )
        expect(seen.tab.locator("#attention")).to_contain_text("the last reload was refused")
        path.write_text(before + "\n[pressure]\nring_high = 0.9\n", "utf-8")
        seen.tab.get_by_role("button", name="Reload the file").click()
        expect(said).to_have_text("Taken up.")
        seen.tab.get_by_label("only what the file says").check()
        expect(seen.row("Options", "pressure.ring_high")).to_contain_text("0.9")
        path.write_text(before, "utf-8")


def test_a_daemon_that_dies_is_told_and_found_again(browser, plant) -> None:
    publish(plant, "plant/hall-1/climate", *map(climate, range(20)))
    with page(browser, plant.origin) as seen:
        seen.open()
        plant.site.daemon.kill()
        expect(seen.tab.get_by_role("alert")).to_contain_text("The gateway does not answer: no connection.")
        plant.site.daemon.start()
        expect(seen.tab.get_by_role("alert")).to_be_hidden()
        expect(seen.tab.locator("#state")).to_have_text("ok", timeout=30_000)
        seen.tab.goto(f"{plant.origin}/#/recovery")
        expect(seen.part("recovery")).to_contain_text("replayed from the journal")
        seen.picture("recovery")


def test_the_page_can_be_walked_through_by_keyboard_and_read_aloud(browser, plant) -> None:
    publish(plant, "plant/hall-1/climate", climate(1))
    with page(browser, plant.origin) as seen:
        seen.open()
        seen.tab.keyboard.press("Tab")
        assert seen.tab.evaluate("document.activeElement.textContent") == "To the content"
        for name in ("Overview", "Series"):
            seen.tab.keyboard.press("Tab")
            assert seen.tab.evaluate("document.activeElement.textContent") == name
        seen.tab.keyboard.press("Enter")
        expect(seen.part("series")).to_be_visible()
        expect(seen.tab.get_by_role("link", name="Series")).to_have_attribute("aria-current", "page")
        expect(seen.tab.get_by_role("navigation", name="Views")).to_be_visible()
        expect(seen.tab.get_by_role("banner")).to_be_visible()
        expect(seen.tab.get_by_role("main")).to_be_visible()
        expect(seen.part("series").get_by_role("columnheader").first).to_have_text("topic")
