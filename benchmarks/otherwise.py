"""The readings of a batch in the formats that others send or keep, each as compact as its own library makes it."""

from __future__ import annotations

import gzip
import io

import cbor2
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from gateway.batch.decode import decode

ZSTD_LEVEL = 3
GZIP_LEVEL = 6
NAME, VALUE, TIME, BASE_NAME, BASE_TIME = 0, 2, 6, -2, -3
"""Labels of SenML in CBOR, RFC 8428 section 6."""
SECOND_NS = 10**9


def sizes(data: bytes) -> dict[str, int]:
    """Return the bytes of a batch's readings by the name of the format."""
    readings = sorted(decode(data).readings(), key=lambda one: (one.time_ns, one.topic))
    lines = msgspec.json.Encoder().encode_lines([one._asdict() for one in readings])
    wide = wide_table(readings)
    return {
        "NDJSON + gzip": len(gzip.compress(lines, GZIP_LEVEL)),
        "SenML-CBOR + zstd-3": len(zstandard.ZstdCompressor(ZSTD_LEVEL).compress(senml(readings))),
        "Parquet + zstd": parquet_bytes(wide),
        "Arrow IPC + zstd": arrow_bytes(wide),
    }


def senml(readings: list) -> bytes:
    """Return one SenML pack: base name and base time once for each topic and moment, as RFC 8428 resolves them."""
    records: list[dict] = []
    topic, moment = "", -1
    for one in readings:
        record: dict[int, object] = {NAME: one.field, VALUE: one.value}
        if (one.topic, one.time_ns) != (topic, moment):
            record |= {BASE_NAME: f"{one.topic}/", BASE_TIME: one.time_ns / SECOND_NS}
            topic, moment = one.topic, one.time_ns
        records.append(record)
    return cbor2.dumps(records)


def wide_table(readings: list) -> pa.Table:
    """Return a row for each topic and moment, a column for each field: the best shape for columnar files."""
    rows: dict[tuple[str, int], dict] = {}
    for one in readings:
        rows.setdefault((one.topic, one.time_ns), {})[one.field] = one.value
    fields = sorted({field for row in rows.values() for field in row})
    ordered = sorted(rows)  # by topic, then time: runs of topics and rising times compress best
    columns = {
        "topic": pa.array([topic for topic, _ in ordered]).dictionary_encode(),
        "time": pa.array([moment for _, moment in ordered], pa.int64()),
    }
    columns |= {field: pa.array([rows[key].get(field) for key in ordered]) for field in fields}
    return pa.table(columns)


def parquet_bytes(table: pa.Table) -> int:
    """Return the size of a Parquet file with delta encoding of the time."""
    file = io.BytesIO()
    pq.write_table(
        table,
        file,
        compression="zstd",
        use_dictionary=[name for name in table.column_names if name != "time"],
        column_encoding={"time": "DELTA_BINARY_PACKED"},
    )
    return len(file.getvalue())


def arrow_bytes(table: pa.Table) -> int:
    """Return the size of an Arrow IPC stream with compressed buffers."""
    file = io.BytesIO()
    with pa.ipc.new_stream(file, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return len(file.getvalue())
