"""Every format over the real broker, from the payload to what the region holds."""

from __future__ import annotations

import json
from pathlib import Path

import cbor2
import msgspec

from gateway.demo.pki import write_pki
from tests.support.mosquitto import Mosquitto
from tests.support.sensors import PahoSensor
from tests.support.site import Site, region_tls
from tests.support.tahu import message, metric
from tests.support.waiting import wait_for

PROTOBUF = Path(__file__).resolve().parents[1] / "fixtures" / "messages" / "protobuf"
AVRO = '{"type": "record", "name": "R", "fields": [{"name": "t", "type": "double"}]}'
ROW = {"t": 21.5}
BIRTH = message(
    "Payload", timestamp=1, seq=0, metrics=[metric("t", datatype=10, double_value=21.5)]
).SerializeToString()
PAYLOADS = {
    "json": json.dumps(ROW).encode(),
    "cbor": cbor2.dumps(ROW),
    "msgpack": msgspec.msgpack.encode(ROW),
    "scalar": b"21.5",
    "raw": b"21.5",
    "line": b"m,a=b t=21.5 1764000000000000000",
    "csv": b"t\n21.5\n",
    "senml-json": b'[{"n":"t","v":21.5}]',
    "senml-cbor": cbor2.dumps([{0: "t", 2: 21.5}]),
    "protobuf": (PROTOBUF / "reading.payload").read_bytes(),
    "avro": b"\x00\x00\x00\x00\x00\x80\x35\x40",
}


def routes(folder: Path) -> str:
    (folder / "r.avsc").write_text(AVRO)
    text = ""
    for name in PAYLOADS:
        text += f'[[route]]\nname = "{name}"\ntopics = ["{name}/#"]\nlane = "telemetry"\ndecoder = "{name}"\n'
        if name == "protobuf":
            text += f'[route.protobuf]\ndescriptor_file = "{PROTOBUF}/plant.desc"\nmessage = "plant.Reading"\n'
        if name == "avro":
            text += f'[route.avro]\nschema_file = "{folder}/r.avsc"\n'
    return text + '[[route]]\nname = "sparkplug"\ntopics = ["spBv1.0/#"]\nlane = "telemetry"\ndecoder = "sparkplug"\n'


def test_one_message_of_every_format_arrives_at_the_region(tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    write_pki(pki)
    with (
        Mosquitto(tmp_path / "local") as local,
        Mosquitto(tmp_path / "central", **region_tls(pki)) as central,
        Site(tmp_path, routes(tmp_path), broker_port=local.port, region_port=central.port, pki=pki) as site,
        PahoSensor(local.port, "sensor", 5) as sensor,
    ):
        site.receiver.start()
        site.daemon.start()
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        for name, payload in PAYLOADS.items():
            sensor.publish(f"{name}/x", payload, 1)
        sensor.publish("spBv1.0/g/NBIRTH/e", BIRTH, 1)
        sensor.wait_until_at_most()
        number = len(PAYLOADS) + 1
        site.wait_received(number)
        assert site.ledger()["message.decoded"] == number, site.ledger()
        decoded = site.ledger()["reading.decoded"]
        wait_for(lambda: site.ledger().get("reading.sealed") == decoded, "all readings are in batches")
        wait_for(lambda: len(site.readings()) == decoded, "all readings are at the region")
        found = {(one.topic, one.field): one.value for one in site.readings()}
        assert found.pop(("protobuf/x", "sensor")) == "t-4"
        assert {key: value for key, value in found.items() if key[0] != "protobuf/x"} == {
            ("json/x", "t"): 21.5,
            ("cbor/x", "t"): 21.5,
            ("msgpack/x", "t"): 21.5,
            ("scalar/x", "value"): 21.5,
            ("raw/x", "value"): b"21.5",
            ("line/x/m,a=b", "t"): 21.5,
            ("csv/x", "t"): 21.5,
            ("senml-json/x/t", "value"): 21.5,
            ("senml-cbor/x/t", "value"): 21.5,
            ("avro/x", "t"): 21.5,
            ("spBv1.0/g/e", "t"): 21.5,
            ("spBv1.0/g/e/sparkplug", "online"): True,
        }
