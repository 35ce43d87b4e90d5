"""Dead letters: what a receiver could not take, for people to look at, to take again, or to remove.

`redrive` only marks them. Whoever runs as the receiver, now or next, takes the marked ones in again as if the broker
had just sent them, and then removes them: what cannot be taken again is buried anew, with today's reason. Stopped in
between, a letter is taken and stays, without its mark, or is only unmarked. So it works beside receivers that run.

What a forward refused is an event that was made here; it cannot be taken in, only looked at and removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.region.store import Database

OF_FORWARDS: Final = "refused_by_forward"

_COLUMNS: Final = "id, wall_ns, topic, reason, detail, bytes, length(payload)"


class DeadLetter(NamedTuple):
    """One of them, without its payload. `kept_bytes` of its `bytes` are kept."""

    id: int
    wall_ns: int
    topic: str
    reason: str
    detail: str
    bytes: int
    kept_bytes: int

    @property
    def why_not(self) -> str:
        """Why it cannot be taken in again; empty when it can."""
        if self.reason == OF_FORWARDS:
            return "a forward refused it; it did not come from a node"
        if self.kept_bytes < self.bytes:
            return f"only {self.kept_bytes} of its {self.bytes} bytes are kept"
        return ""


def listed(db: Database, reason: str = "") -> list[DeadLetter]:
    """Return all, or those of one reason, the oldest first."""
    where, given = ("WHERE reason = ?", (reason,)) if reason else ("", ())
    rows = db.execute(f"SELECT {_COLUMNS} FROM dead_letter {where} ORDER BY id", given)  # noqa: S608  # our own words
    return [DeadLetter(*row) for row in rows]


def payload(db: Database, number: int) -> bytes | None:
    """Return what is kept of one; None when there is none of this number."""
    row = db.execute("SELECT payload FROM dead_letter WHERE id = ?", (number,)).fetchone()
    return None if row is None else bytes(row[0])


def mark(db: Database, numbers: Sequence[int]) -> None:
    """Let these be taken in again."""
    db.executemany("INSERT INTO redrive VALUES (?) ON CONFLICT DO NOTHING", ((number,) for number in numbers))


def claimed(db: Database, count_max: int) -> list[tuple[int, str, bytes]]:
    """Take the marks off the first that are to be taken in again; return their number, topic and payload.

    Of several receivers on one database each gets others.
    """
    rows = db.execute(
        "DELETE FROM redrive WHERE id IN (SELECT id FROM redrive ORDER BY id LIMIT ?) RETURNING id", (count_max,)
    ).fetchall()
    found = []
    for (number,) in sorted(rows):
        letter = db.execute("SELECT topic, payload FROM dead_letter WHERE id = ?", (number,)).fetchone()
        if letter is not None:
            found.append((number, letter[0], bytes(letter[1])))
    return found


def remove(db: Database, numbers: Sequence[int]) -> None:
    """Forget these, and their marks."""
    for table in ("redrive", "dead_letter"):
        db.executemany(f"DELETE FROM {table} WHERE id = ?", ((number,) for number in numbers))  # noqa: S608  # our own words
