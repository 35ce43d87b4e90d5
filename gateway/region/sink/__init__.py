"""Where readings go at the region: the contract of a sink. One file per target.

A sink is handed whole groups of batches inside the transaction that also moves their watermarks, and each batch once.
Where it is of the store's own kind (`gateway.region.store`) it writes through that transaction; else in a way that a
repeated or abandoned write leaves no trace: what it wrote counts only from the commit on. So it keeps its own position
(a file's length, say) in the transaction and starts from there, whatever a crash or a failed commit left behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from gateway.batch.decode import DecodedBatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.model import Gap


class Taken(NamedTuple):
    """What was found fresh, and the envelope that it came in."""

    found: DecodedBatch | Gap
    payload: bytes


def batches(taken: Sequence[Taken]) -> Iterator[DecodedBatch]:
    """Yield the batches among what was taken."""
    for one in taken:
        if isinstance(one.found, DecodedBatch):
            yield one.found


class Sink(Protocol):
    """One target. Called by one thread; every failure is a `StoreError` or, through the transaction, its own.

    After a failure the transaction is rolled back and the same batches come again, perhaps in other groups.
    """

    def prepare(self, transaction: Any) -> None:  # noqa: ANN401  # the store's own kind of connection
        """Make the sink's tables where missing, undo what was written without a commit; called once, at the start."""

    def write(self, transaction: Any, taken: Sequence[Taken]) -> None:  # noqa: ANN401  # the same
        """Write every reading of what was taken."""

    def sync(self) -> None:
        """Make durable what `write` put outside the transaction; called once, right before the commit."""

    def close(self) -> None:
        """Give up files and connections."""
