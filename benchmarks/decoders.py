"""What a message costs in each decoder, and what each step of a route adds: CPU time, whatever else the machine does.

Decoders are called as routes get them, with the same three values in every format as far as it can say them; where
Python has a bare parser of the format, it reads the same payloads for the baseline. `rows` are ten such objects in one
payload. Sparkplug B is data by aliases, after a birth. What is bare of Protobuf makes a message in C, whose fields have
not been looked at yet.

Steps are measured in the whole pipeline, JSON of three fields and 500 topics, with one step each; the baseline is the
pipeline without any, so a step that leaves readings out also saves what they would have cost behind it. Windows take
ten rows each. `added` in the JSON is the difference in ns.
"""

from __future__ import annotations

import io
import json
import random
import statistics
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cbor2
import fastavro
import msgspec
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

from benchmarks.pipeline import load
from gateway.config import schema
from gateway.decode.contract import Limits
from gateway.decode.formats import decoding_of
from gateway.ledger import residuals
from gateway.process.material import KEY_BYTES, Material
from gateway.process.pipeline import Pipeline
from tests.support.fuzz_seeds import BIRTH, CONTRACT_FILE, FILES
from tests.support.fuzzing import SPARKPLUG_TOPICS

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.model import MessageGroup

PAYLOADS = 1000
LAPS = 10
ROUNDS = 3
GROUPS = 100
TOPICS = 500
MS = 10**6
ARRIVAL_NS = 1_780_000_000 * 10**9
TOPIC = "plant/line1/sensor7"
KEY = "key"
FIELDS = ("temperature", "humidity", "pressure")


@dataclass(frozen=True)
class Format:
    """How values become a payload, what a route says to read it, and a bare parser."""

    encode: Callable[[dict], bytes]
    route: dict
    bare: Callable[[bytes], object] | None = None


def senml(values: dict) -> list[dict]:
    return [{"n": name, "v": value} for name, value in values.items()]


def senml_cbor(values: dict) -> bytes:
    return cbor2.dumps([{0: name, 2: value} for name, value in values.items()])


def sparkplug(values: dict) -> bytes:
    """Return data of the metrics 1 (float), 2 (boolean) and 3 (integer) of the birth."""
    temperature = b"\x10\x01\x65" + struct.pack("<f", values["temperature"])
    metrics = (temperature, b"\x10\x02\x70\x01", b"\x10\x03\x50" + bytes([values["humidity"]]))
    return b"".join(b"\x12" + bytes([len(metric)]) + metric for metric in metrics)


def compact(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def nested(values: dict) -> dict:
    return {"device": {"id": "a7", "values": values}}


def proto_file() -> FileDescriptorProto:
    """Return a schema of the three values."""
    file = FileDescriptorProto(name="bench.proto", syntax="proto3")
    kinds = (FieldDescriptorProto.TYPE_DOUBLE, FieldDescriptorProto.TYPE_INT32, FieldDescriptorProto.TYPE_DOUBLE)
    fields = [
        FieldDescriptorProto(name=name, number=number, type=kind, label=FieldDescriptorProto.LABEL_OPTIONAL)
        for number, (name, kind) in enumerate(zip(FIELDS, kinds, strict=True), 1)
    ]
    file.message_type.add(name="Climate", field=fields)
    return file


def proto_class() -> type:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(proto_file())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("Climate"))


def avro_encoded(values: dict) -> bytes:
    file = io.BytesIO()
    fastavro.schemaless_writer(file, AVRO, values)
    return file.getvalue()


def avro_parsed(payload: bytes) -> object:
    return fastavro.schemaless_reader(io.BytesIO(payload), AVRO, None)


Climate = proto_class()
AVRO = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Climate",
        "fields": [
            {"name": name, "type": kind} for name, kind in zip(FIELDS, ("double", "int", "double"), strict=True)
        ],
    }
)
SCHEMAS = {
    "bench.desc": FileDescriptorSet(file=[proto_file()]).SerializeToString(),
    "bench.avsc": json.dumps(AVRO).encode(),
}

parse_json, parse_msgpack = msgspec.json.Decoder().decode, msgspec.msgpack.Decoder().decode
FORMATS = {
    "json": Format(compact, {"decoder": "json"}, parse_json),
    "json, nested": Format(lambda values: compact(nested(values)), {"decoder": "json"}, parse_json),
    "json, with a contract": Format(
        lambda values: compact({"a": 1, **values}), {"decoder": "json", "schema_file": CONTRACT_FILE}, parse_json
    ),
    "json, 10 rows": Format(lambda values: compact([values] * 10), {"decoder": "json", "rows": "."}, parse_json),
    "cbor": Format(cbor2.dumps, {"decoder": "cbor"}, cbor2.loads),
    "cbor, 10 rows": Format(lambda values: cbor2.dumps([values] * 10), {"decoder": "cbor", "rows": "."}, cbor2.loads),
    "msgpack": Format(msgspec.msgpack.encode, {"decoder": "msgpack"}, parse_msgpack),
    "msgpack, nested": Format(
        lambda values: msgspec.msgpack.encode(nested(values)), {"decoder": "msgpack"}, parse_msgpack
    ),
    "msgpack, 10 rows": Format(
        lambda values: msgspec.msgpack.encode([values] * 10), {"decoder": "msgpack", "rows": "."}, parse_msgpack
    ),
    "scalar": Format(lambda values: b"%.2f" % values["temperature"], {"decoder": "scalar"}, float),
    "raw": Format(compact, {"decoder": "raw"}),
    "line": Format(
        lambda values: ("m,a=b " + ",".join(f"{name}={value}" for name, value in values.items())).encode(),
        {"decoder": "line"},
    ),
    "csv": Format(
        lambda values: "\n".join((",".join(FIELDS), ",".join(map(str, values.values())))).encode(), {"decoder": "csv"}
    ),
    "senml-json": Format(lambda values: compact(senml(values)), {"decoder": "senml-json"}, parse_json),
    "senml-cbor": Format(senml_cbor, {"decoder": "senml-cbor"}, cbor2.loads),
    "sparkplug": Format(sparkplug, {"decoder": "sparkplug"}),
    "protobuf": Format(
        lambda values: Climate(**values).SerializeToString(),
        {"decoder": "protobuf", "protobuf": schema.Protobuf(descriptor_file="bench.desc", message="Climate")},
        Climate.FromString,
    ),
    "avro": Format(avro_encoded, {"decoder": "avro", "avro": schema.Avro(schema_file="bench.avsc")}, avro_parsed),
}

PROTECTED = {"key_file": KEY}
STEPS = {
    "limit": {"limit": schema.Limit(messages_per_second=1e6, burst=1_000_000)},
    "topics_max": {"topics_max": 1000},
    "rename and rescale one field": {"field": (schema.Field(name="temperature", rename="t", factor=1.8, offset=32.0),)},
    "hash one field": {"field": (schema.Field(name="humidity", protect="hash"),), **PROTECTED},
    "encrypt one field": {"field": (schema.Field(name="humidity", protect="encrypt"),), **PROTECTED},
    "keep": {"keep": "temperature > -40 and humidity <= 100"},
    "duplicates": {"duplicates": schema.Duplicates(keys_max=100_000)},
    "every 2nd": {"sample": schema.Sample(every=2)},
    "half of the topics": {"sample": schema.Sample(share=0.5)},
    "deadband": {"sample": schema.Sample(deadband=dict.fromkeys(FIELDS, 0.5))},
    "percent": {"sample": schema.Sample(percent=dict.fromkeys(FIELDS, 1.0))},
    "on change": {"sample": schema.Sample(on_change=FIELDS)},
    "swinging door": {"sample": schema.Sample(swinging_door=dict.fromkeys(FIELDS, 2.0))},
    "windows": {"window": schema.Window(size_ns=50 * MS)},
    "windows that overlap 4 times": {"window": schema.Window(size_ns=50 * MS, hop_ns=12_500_000)},
    "sessions": {"window": schema.Window(gap_ns=20 * MS)},
    "windows, deviation and mean by time": {"window": schema.Window(size_ns=50 * MS, functions=("stddev", "twmean"))},
    "windows, quantiles": {"window": schema.Window(size_ns=50 * MS, functions=("p50", "p99"))},
}


def run() -> list[dict]:
    rows = [decoder_row(name, each) for name, each in FORMATS.items()]
    groups = load(TOPICS, with_time=False)[:GROUPS]
    baseline = statistics.median(pipeline_ns(groups, {}) for _ in range(ROUNDS))
    for name, steps in STEPS.items():
        figure = statistics.median(pipeline_ns(groups, steps) for _ in range(ROUNDS))
        rows.append({**row(f"pipeline with {name}", figure, baseline), "added": figure - baseline})
    return rows


def row(name: str, figure: float, baseline: float | None) -> dict:
    ratio = figure / baseline if baseline else None
    unit = "ns/message"
    return {"name": name, "figure": figure, "unit": unit, "baseline": baseline, "ratio": ratio, "budget": None}


def decoder_row(name: str, format_: Format) -> dict:
    """Measure one decoder, and its bare parser."""
    chance = random.Random(1)
    payloads = [
        format_.encode(
            {
                "temperature": round(chance.gauss(21, 3), 2),
                "humidity": chance.randrange(20, 90),
                "pressure": round(chance.gauss(1013, 4), 1),
            }
        )
        for _ in range(PAYLOADS)
    ]
    route = schema.Route(name="bench", topics=("#",), lane="telemetry", **format_.route)
    decoding = decoding_of(route, Limits(), FILES | SCHEMAS)
    decode = decoding.row
    if decode is None:
        records, topic = decoding.records, TOPIC
        if decoding.memory is not None:
            topic = SPARKPLUG_TOPICS[1]
            decoding.memory.decode(BIRTH, SPARKPLUG_TOPICS[0], ARRIVAL_NS)

        def decode(payload: bytes) -> object:
            return records(payload, topic, ARRIVAL_NS)

    bare = None if format_.bare is None else call_ns(format_.bare, payloads)
    found = row(f"decode {name}", call_ns(decode, payloads), bare)
    return {**found, "payload_bytes": statistics.mean(map(len, payloads))}


def call_ns(call: Callable[[bytes], object], payloads: list[bytes]) -> float:
    """Return ns for each call, the median of several rounds."""

    def once() -> float:
        started = time.thread_time_ns()
        for _ in range(LAPS):
            for payload in payloads:
                call(payload)
        return (time.thread_time_ns() - started) / (LAPS * len(payloads))

    return statistics.median(once() for _ in range(ROUNDS))


def pipeline_ns(groups: list[MessageGroup], steps: dict) -> float:
    """Return ns for each message in a fresh pipeline, whose books must balance."""
    route = schema.Route(name="bench", topics=("plant/#",), lane="telemetry", **steps)
    material = Material({}, {KEY: bytes(KEY_BYTES)})
    pipeline = Pipeline((route,), (schema.Lane(name="telemetry"),), schema.Broker(), "bench", 1, material)
    started = time.thread_time_ns()
    for position, group in enumerate(groups):
        for output in pipeline.apply(group, position):
            assert not output.quarantined
    elapsed = time.thread_time_ns() - started
    assert residuals(pipeline.ledger, pipeline.open_readings) == (0, 0)
    return elapsed / sum(len(group.payloads) for group in groups)
