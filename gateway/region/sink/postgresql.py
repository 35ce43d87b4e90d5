"""A table of readings beside the watermarks in PostgreSQL, in one transaction with them, filled by COPY.

    reading (time, time_ns, node, topic, field, number, integer, text, bool, bytes)

`time` is a timestamptz, in microseconds, and what TimescaleDB wants to partition by; `time_ns` is exact. One of the
last five holds the value, by its type. PostgreSQL's text knows no NUL: a text value that has one is kept as UTF-8 in
`bytes`, in a name each becomes U+FFFD. The table has no index: who asks by series and time adds one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.region.sink import batches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.batch.decode import DecodedBatch
    from gateway.model import Value
    from gateway.region.postgresql import Session
    from gateway.region.sink import Taken

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS reading (
    time timestamptz NOT NULL, time_ns bigint NOT NULL, node text NOT NULL, topic text NOT NULL, field text NOT NULL,
    number double precision, integer bigint, text text, bool boolean, bytes bytea)
"""
_COPY: Final = "COPY reading (time, time_ns, node, topic, field, number, integer, text, bool, bytes) FROM STDIN"
_ESCAPES: Final = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_FIRST_NS: Final = -(2**63) + 1
_NULL: Final = r"\N"


class PostgresqlSink:
    """Writes through the transaction it is given, so there is nothing to sync or to undo."""

    def prepare(self, transaction: Session) -> None:
        """Make the table where it is missing."""
        transaction.connection.execute(_TABLE)

    def write(self, transaction: Session, taken: Sequence[Taken]) -> None:
        """Copy every reading."""
        with transaction.connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            for batch in batches(taken):
                for block in _blocks(batch):
                    copy.write(block)

    def sync(self) -> None:
        """Do nothing: the commit does it."""

    def close(self) -> None:
        """Do nothing: the connection is the store's."""


def _blocks(batch: DecodedBatch) -> Iterator[bytes]:
    """Yield the readings of each series in COPY's text format."""
    node = _name(batch.header.id.node)
    for topic, field, times_ns, values in batch.columns():
        # The lowest int64 is no time to numpy.
        micros = (
            np.maximum(np.array(times_ns, dtype=np.int64), _FIRST_NS).astype("datetime64[ns]").astype("datetime64[us]")
        )
        series = f"{node}\t{_name(topic)}\t{_name(field)}\t"
        yield "".join(
            f"{time}Z\t{time_ns}\t{series}{_cells(value)}\n"
            for time, time_ns, value in zip(np.datetime_as_string(micros).tolist(), times_ns, values, strict=True)
        ).encode()


def _cells(value: Value) -> str:
    """Return the last five columns."""
    cells = [_NULL] * 5
    if isinstance(value, bool):
        cells[3] = "t" if value else "f"
    elif isinstance(value, int):
        cells[1] = str(value)
    elif isinstance(value, float):
        cells[0] = repr(value)
    elif isinstance(value, bytes):
        cells[4] = rf"\\x{value.hex()}"
    elif "\0" in value:
        cells[4] = rf"\\x{value.encode().hex()}"
    else:
        cells[2] = value.translate(_ESCAPES)
    return "\t".join(cells)


def _name(text: str) -> str:
    return text.replace("\0", "\ufffd").translate(_ESCAPES)
