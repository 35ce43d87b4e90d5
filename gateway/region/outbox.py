"""What was committed and has to be handed on to a broker or server: envelopes as they came, in their order.

A batch enters the outbox in the transaction that moves its watermark, so it is handed on if and only if it counts as
received; it leaves when the other side has acknowledged it. Gaps go the same way: what is lost is told there too.
The outbox is bounded: once `bytes_max` wait, commits fail, nothing is acknowledged, and the region's broker and the
nodes hold the rest. So there is at most that and one group more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.region.sink import Taken
    from gateway.region.store import Database


class Waiting(NamedTuple):
    """One envelope to hand on."""

    id: int
    envelope: bytes


class Outbox:
    """A sink for what the receiver commits, and the place from which it is taken by whoever hands it on.

    It is of one receiver, also where several share a database: each hands on what it has committed itself.
    """

    def __init__(self, receiver: str, forward: str, bytes_max: int) -> None:
        self.name = forward
        self.bytes_max = bytes_max
        self._forward = f"{receiver}/{forward}"

    def prepare(self, transaction: Database) -> None:
        """Begin to count, where nothing is counted yet."""
        transaction.execute("INSERT INTO outbox_size VALUES (?, 0, 0) ON CONFLICT DO NOTHING", (self._forward,))

    def write(self, transaction: Database, taken: Sequence[Taken]) -> None:
        """Let all of it wait. Raises `StoreError` when as much as may wait does so already."""
        if not taken:
            return
        envelopes = [(self._forward, one.payload) for one in taken]
        size = sum(len(payload) for _, payload in envelopes)
        held = self.held(transaction)
        if held >= self.bytes_max:
            raise StoreError(
                f"the outbox of the forward {self._forward} is full: {held} bytes wait there",
                hint="see why it takes nothing; readings wait at the nodes meanwhile",
            )
        transaction.executemany("INSERT INTO outbox (forward, envelope) VALUES (?, ?)", envelopes)
        self._resize(transaction, len(envelopes), size)

    def sync(self) -> None:
        """Do nothing: the commit does it."""

    def close(self) -> None:
        """Do nothing: the database is the store's."""

    def held(self, transaction: Database) -> int:
        """Return the bytes that wait."""
        query = "SELECT bytes FROM outbox_size WHERE forward = ?"
        return int(transaction.execute(query, (self._forward,)).fetchone()[0])

    def oldest(self, transaction: Database, count_max: int, bytes_max: int) -> list[Waiting]:
        """Return the first envelopes that wait, at least one if any does."""
        query = "SELECT id, envelope FROM outbox WHERE forward = ? ORDER BY id LIMIT ?"
        found: list[Waiting] = []
        size = 0
        for number, envelope in transaction.execute(query, (self._forward, count_max)):
            size += len(envelope)
            if found and size > bytes_max:
                break
            found.append(Waiting(number, envelope))
        return found

    def remove_to(self, transaction: Database, last: int) -> None:
        """Forget what was handed on: all up to this id."""
        given = (self._forward, last)
        query = "SELECT count(*), coalesce(sum(length(envelope)), 0) FROM outbox WHERE forward = ? AND id <= ?"
        messages, size = transaction.execute(query, given).fetchone()
        transaction.execute("DELETE FROM outbox WHERE forward = ? AND id <= ?", given)
        self._resize(transaction, -int(messages), -int(size))

    def _resize(self, transaction: Database, messages: int, size: int) -> None:
        transaction.execute(
            "UPDATE outbox_size SET messages = messages + ?, bytes = bytes + ? WHERE forward = ?",
            (messages, size, self._forward),
        )
