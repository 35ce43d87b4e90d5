"""What one region still needs, and what it has said: a window over the ring of each lane. Pure.

A lane's **cursor** is the highest sequence up to which the region has everything. Beyond it, up to `in_flight_max`
parcels are in flight; a parcel is what the spool gives for one sequence: a batch, or a gap that covers a run of them.
Parcels may be acknowledged in any order, and the cursor moves over contiguous acknowledged ones only, in `_advance`
alone. It never moves back.

What is sent next is a matter of turns (`turns`). What is **live** of a lane goes in order of sequence. When more waits
than the window holds, because the link was away or is slow, all that waits becomes **backlog**: newer batches go past
it, and it is sent by and by, the oldest first, with its own weight and never with the last quarter of the window.

Every sequence from the cursor to the newest that was sent is backlog, in flight, or in a **run** of acknowledged ones;
there are never more runs than parcels in flight and stretches of backlog. So a batch that is never acknowledged (a
receiver that buried it says nothing) costs its place in the window, and no memory for what is acknowledged behind it.

Acknowledged means, by choice: the region's broker has taken it, or the receiver has said so after its durable write. A
receiver's word is about identities, so one that names another epoch than was sent is not ours and is counted.

A parcel is sent again when the link ended before the broker took it, after `GRACE_NS` in which words that waited at the
broker may still arrive; and when the broker took it and nobody acknowledged it within `resend_after_ns`, then after
twice that, and so on up to `2**DOUBLINGS_MAX` times (a receiver that is down for a night must not fill its broker with
copies). What is still on its way is never sent again: on a slow link the copies would leave no room for anything else.
Sending twice is harmless: the receiver knows identities. Times are nanoseconds on any clock that does not step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.mirror.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

STRETCHES_MAX: Final = 64
"""Stretches of backlog in a lane; while there are as many, what waits stays live and goes in order."""
GRACE_NS: Final = 500_000_000
DOUBLINGS_MAX: Final = 6


class Wanted(NamedTuple):
    """What to send next: the parcel that holds this sequence."""

    lane: str
    sequence: int
    is_backlog: bool = False


def _any(lane: str) -> bool:  # noqa: ARG001  # all are permitted
    return True


def _even(wanted: tuple[str, bool]) -> float:  # noqa: ARG001  # all are equal
    return 1.0


@dataclass(slots=True)
class Parcel:
    """Something in flight: sequences `first` to `last` of one lane, which the broker took `times_taken` times.

    `due_ns` is when it is sent again; None while it is on its way to the broker.
    """

    lane: str
    epoch: int
    first: int
    last: int
    times_taken: int = 0
    due_ns: int | None = None
    is_taken: bool = False


class Session:
    """The window. `cursors` say where the region stands, lanes in order of importance.

    `weight` is that of a lane's turns to send, for what is live and, where the second value says so, for its backlog.
    """

    def __init__(
        self,
        cursors: Mapping[str, int],
        *,
        by_receiver: bool,
        in_flight_max: int,
        resend_after_ns: int,
        weight: Callable[[tuple[str, bool]], float] = _even,
    ) -> None:
        self._by_receiver = by_receiver
        self._in_flight_max = in_flight_max
        self._resend_after_ns = resend_after_ns
        self._cursors: dict[str, int] = {}
        self._next: dict[str, int] = {}
        self._backlog: dict[str, list[tuple[int, int]]] = {}
        self._turns = Turns(weight)
        self._parcels: dict[str, dict[int, Parcel]] = {}
        self._runs: dict[str, list[tuple[int, int]]] = {}
        for lane, cursor in cursors.items():
            self.add_lane(lane, cursor)
        self.counts = {"sent": 0, "resent": 0, "acknowledged": 0, "foreign_acknowledgements": 0}

    def add_lane(self, lane: str, cursor: int) -> None:
        """Mirror one lane more, after those that are known; nothing when it is known already."""
        if lane not in self._cursors:
            self._cursors[lane] = cursor
            self._next[lane] = cursor + 1
            self._backlog[lane] = []
            self._parcels[lane] = {}
            self._runs[lane] = []

    @property
    def cursors(self) -> dict[str, int]:
        """Per lane the highest sequence up to which the region has everything."""
        return dict(self._cursors)

    def unsent(self, lane: str) -> tuple[int, int | None]:
        """Return the oldest stretch of a lane that was not sent yet, whose first may be being read; None: no end.

        A lane that the region does not take is unsent from 0 on.
        """
        if lane not in self._next:
            return 0, None
        return self._backlog[lane][0] if self._backlog[lane] else (self._next[lane], None)

    @property
    def backlog(self) -> dict[str, int]:
        """Per lane how many sequences wait while newer ones go past them."""
        return {lane: sum(last - first + 1 for first, last in found) for lane, found in self._backlog.items()}

    @property
    def in_flight(self) -> int:
        """How many parcels are sent and not acknowledged."""
        return sum(len(parcels) for parcels in self._parcels.values())

    def is_in_flight(self, lane: str, first: int) -> bool:
        """Whether the parcel that begins with this sequence is sent and not acknowledged."""
        return first in self._parcels.get(lane, ())

    @property
    def runs(self) -> int:
        """How many runs of sequences are acknowledged beyond the cursors."""
        return sum(len(runs) for runs in self._runs.values())

    def link_ended(self, now_ns: int) -> None:
        """Let what the broker has not taken become due again, after the grace."""
        for parcel in self._all():
            if not parcel.is_taken and parcel.due_ns is None:
                parcel.due_ns = now_ns + GRACE_NS

    def changed_place(self, now_ns: int, *, by_receiver: bool) -> None:
        """Let everything in flight become due: it was sent to a place that does not carry the mirror any more."""
        self._by_receiver = by_receiver
        for parcel in self._all():
            parcel.is_taken, parcel.times_taken, parcel.due_ns = False, 0, now_ns

    def next_wanted(
        self, head: Callable[[str], int], now_ns: int, permits: Callable[[str], bool] = _any
    ) -> Wanted | None:
        """Return what to send now: what is due again first, then by turns what is new while the window has room.

        Of lanes that are not permitted now nothing is sent.
        """
        for lane, parcels in self._parcels.items():
            if not permits(lane):
                continue
            for parcel in parcels.values():
                if parcel.due_ns is not None and parcel.due_ns <= now_ns:
                    # A gap may begin before the cursor; what lies there the spool may have forgotten.
                    return Wanted(lane, max(parcel.first, self._cursors[lane] + 1))
        waiting = self._waiting(head, permits)
        if not waiting:
            return None
        lane, is_backlog = self._turns.choose(list(waiting))
        return Wanted(lane, waiting[lane, is_backlog], is_backlog)

    def charge(self, wanted: Wanted, size: int) -> None:
        """Note how many bytes a turn came to."""
        self._turns.charge((wanted.lane, wanted.is_backlog), size)

    def has_something(self, head: Callable[[str], int], permits: Callable[[str], bool]) -> bool:
        """Say whether a lane that is permitted has anything in flight or not yet sent."""
        return any(
            permits(lane) and (self._parcels[lane] or self._backlog[lane] or first <= head(lane))
            for lane, first in self._next.items()
        )

    def _waiting(self, head: Callable[[str], int], permits: Callable[[str], bool]) -> dict[tuple[str, bool], int]:
        """Return the first sequence of everything that may be sent now, by lane and whether it is backlog."""
        waiting: dict[tuple[str, bool], int] = {}
        room = self._in_flight_max - self.in_flight
        for lane, first in self._next.items():
            newest = head(lane)
            if newest - first >= self._in_flight_max:
                self._put_off(lane, newest)
            if room > 0 and self._next[lane] <= newest and permits(lane):
                waiting[lane, False] = self._next[lane]
        for lane, backlog in self._backlog.items():
            # What the spool hides for now is beyond its head.
            if backlog and room > self._in_flight_max // 4 and backlog[0][0] <= head(lane) and permits(lane):
                waiting[lane, True] = backlog[0][0]
        return waiting

    def _put_off(self, lane: str, newest: int) -> None:
        """Let all that waits of a lane become backlog."""
        backlog, first = self._backlog[lane], self._next[lane]
        if backlog and backlog[-1][1] == first - 1:
            backlog[-1] = backlog[-1][0], newest
        elif len(backlog) < STRETCHES_MAX:
            backlog.append((first, newest))
        else:
            return
        self._next[lane] = newest + 1

    def _take_from_backlog(self, lane: str, first: int, last: int) -> bool:
        """Take a stretch out of the backlog; False when nothing of it was there."""
        kept: list[tuple[int, int]] = []
        for begin, end in self._backlog[lane]:
            kept += [
                (low, high) for low, high in ((begin, min(end, first - 1)), (max(begin, last + 1), end)) if low <= high
            ]
        was_there = kept != self._backlog[lane]
        self._backlog[lane] = kept
        return was_there

    def sending(self, lane: str, epoch: int, first: int, last: int) -> bool:
        """Note that the parcel `first` to `last` is being sent; it holds the sequence that was wanted.

        False when it need not be: it was acknowledged after it was wanted.
        """
        parcels, cursor = self._parcels[lane], self._cursors[lane]
        if last <= cursor or any(begin <= first and last <= end for begin, end in self._runs[lane]):
            return False
        is_new = self._take_from_backlog(lane, first, last) or max(first, cursor + 1) >= self._next[lane]
        self.counts["sent" if is_new else "resent"] += 1
        # What was a batch may be part of a gap by now: the gap takes its place.
        again = [parcel for parcel in parcels.values() if parcel.first <= last and first <= parcel.last]
        for parcel in again:
            del parcels[parcel.first]
        # The gap's acknowledgement will cover the runs inside it too; kept, they would add up as it grows.
        self._runs[lane] = [(begin, end) for begin, end in self._runs[lane] if begin < first or last < end]
        times_taken = max((parcel.times_taken for parcel in again), default=0)
        parcels[first] = Parcel(lane, epoch, first, last, times_taken)
        self._next[lane] = max(self._next[lane], last + 1)
        return True

    def broker_took(self, lane: str, first: int, last: int, now_ns: int) -> int | None:
        """Note the broker's acknowledgement; return the new cursor if it moved, where that is what counts."""
        parcel = self._parcels[lane].get(first)
        # A late word about a batch says nothing about the gap that took its place.
        if parcel is None or parcel.last != last:
            return None
        parcel.is_taken = True
        parcel.due_ns = now_ns + (self._resend_after_ns << min(parcel.times_taken, DOUBLINGS_MAX))
        parcel.times_taken += 1
        return None if self._by_receiver else self._acknowledge([parcel])

    def refused(self, lane: str, first: int, last: int, due_ns: int) -> None:
        """Note that the region does not take this parcel: it, or what takes its place, is due at `due_ns`."""
        parcel = self._parcels[lane].get(first)
        if parcel is not None and parcel.last == last:
            parcel.due_ns = due_ns

    def receiver_has(self, lane: str, epoch: int, done: Iterable[tuple[int, int]]) -> int | None:
        """Note the receiver's word about runs of sequences; return the new cursor if it moved."""
        found = {}
        for first, last in done:
            for parcel in self._parcels.get(lane, {}).values():
                if first <= parcel.first and parcel.last <= last:
                    found[parcel.first] = parcel
        ours = [parcel for parcel in found.values() if parcel.epoch == epoch]
        self.counts["foreign_acknowledgements"] += len(found) - len(ours)
        return self._acknowledge(ours) if ours else None

    @property
    def deadline_ns(self) -> int | None:
        """When something in flight is due again; None when nothing is."""
        return min((parcel.due_ns for parcel in self._all() if parcel.due_ns is not None), default=None)

    def _all(self) -> Iterable[Parcel]:
        return (parcel for parcels in self._parcels.values() for parcel in parcels.values())

    def _acknowledge(self, parcels: list[Parcel]) -> int | None:
        lane = parcels[0].lane
        for parcel in parcels:
            del self._parcels[lane][parcel.first]
        self.counts["acknowledged"] += len(parcels)
        return self._advance(lane, [(parcel.first, parcel.last) for parcel in parcels])

    def _advance(self, lane: str, acknowledged: list[tuple[int, int]]) -> int | None:
        """Move the cursor over contiguous acknowledged sequences; return where it is now if it moved."""
        before = self._cursors[lane]
        runs = [(before, before)]
        for first, last in sorted(self._runs[lane] + acknowledged):
            begin, end = runs[-1]
            if first <= end + 1:
                runs[-1] = begin, max(end, last)
            else:
                runs.append((first, last))
        (_, cursor), *self._runs[lane] = runs
        self._cursors[lane] = cursor
        return cursor if cursor > before else None
