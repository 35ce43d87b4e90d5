"""The spool as the rest of the gateway sees it: batches in, batches or gaps out, cursors forward.

    <folder>/ledger.0, .1           epoch and the books of all lanes (`gateway.spool.books`)
    <folder>/cursors/<region>.0, .1  how far each region has each lane
    <folder>/lanes/<lane>/*.seg      the ring of a lane

Within a ring sequences start at 1 and keep rising, also when an epoch begins, so a sequence alone names a record. One
copy of a batch serves all regions; reading never deletes. A segment is removed when every region has it, when it is
older than its lane allows, or when room is needed (`gateway.spool.shares`); what was lost is in the books.

Invariant, per region and lane, in batches: head = cursor + stored beyond it + in gaps beyond it.

Two locks: `_writing` lets one thread at a time change files; `_lock` guards what readers see and is held for moments.
"""

from __future__ import annotations

from enum import Enum
from threading import Lock
from typing import TYPE_CHECKING

import msgspec

from gateway.batch import envelope
from gateway.errors import StoreError
from gateway.model import Gap, SealedBatch
from gateway.spool.aside import Aside
from gateway.spool.books import Books, LaneBooks
from gateway.spool.contents import Contents
from gateway.spool.cursor import Cursors
from gateway.spool.ring import Ring
from gateway.spool.shares import Shares, choice, draining, shapes
from gateway.spool.slots import Slots
from gateway.spool.status import lane_status
from gateway.spool.thinning import Thinner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gateway.config import schema
    from gateway.disk import Disk
    from gateway.spool.format import Position
    from gateway.spool.thinning import Coarser, Run


class Appended(Enum):
    """What became of a batch."""

    STORED = "stored"
    KNOWN = "known"
    CONFLICT = "conflict"
    REFUSED = "refused"


class Spool:
    """All lanes. `epoch` is part of the identity of new batches; `report` holds what was found damaged, in sentences.

    `taken_in` is how much input is known to have been acknowledged; it is saved with the books.
    """

    def __init__(
        self, disk: Disk, folder: Path, options: schema.Spool, node: str, regions: Sequence[schema.Region]
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._options = options
        self._node = node
        self._lock = Lock()
        self._writing = Lock()
        self.report: list[str] = []
        disk.make_folder(folder)
        self._aside = Aside(disk, folder / "aside")
        self._ledger = Slots(disk, folder / "ledger")
        self._books = Books()
        self._saved = b""
        self.taken_in = self._books.taken_in
        self._cursors = Cursors(disk, folder / "cursors", regions, choice(options), self.report)
        self._shapes = shapes(options)
        self._shares = Shares(options.bytes_max, options.memory_bytes_max, self._save)
        self._rings: dict[str, Ring] = {}
        self._thinner = Thinner(node, self._rings, self._cursors, self._shares, self._lock)
        self._counts: dict[str, dict[str, int]] = {}

    @classmethod
    def open(
        cls,
        disk: Disk,
        folder: Path,
        options: schema.Spool,
        node: str,
        regions: Sequence[schema.Region],
        now_s: int,
    ) -> Spool:
        """Open or create the spool in `folder`, whatever a crash or the medium did to it.

        Raises `StoreError` only when the disk cannot be listed or a new spool cannot be created on it.
        """
        spool = cls(disk, folder, options, node, regions)
        spool._load_books()
        lanes = folder / "lanes"
        disk.make_folder(lanes)
        for name in [*spool._shapes, *(name for name in disk.names(lanes) if name not in spool._shapes)]:
            spool._add_ring(name)
        spool._thinner.finish_runs_of_last_start()
        spool._note_new_regions()
        known = spool._epochs()
        if not spool._books.epoch and known:
            spool._books.epoch = known
            spool.report.append(f"the epoch was lost and is {known} by the newest batch")
        if not spool._books.epoch:
            spool.mint_epoch(now_s)
        return spool

    @property
    def epoch(self) -> int:
        """The epoch of new batches."""
        return self._books.epoch

    @property
    def lanes(self) -> tuple[str, ...]:
        """The names of all lanes: those configured, in order, then those that only drain."""
        return tuple(self._rings)

    def lanes_of(self, region: str) -> list[str]:
        """Return the lanes that a region takes, in the same order."""
        return [lane for lane in self._rings if region in self._cursors.of(lane)]

    def lose_up_to(self, lane: str, end: Position) -> None:
        """Note that all beyond the head up to `end` is gone from this disk; regions get a gap. At opening only."""
        ring = self._rings.get(lane)
        if ring is not None:
            with self._lock:
                ring.contents.note_hole(ring.contents.head, end)
                ring.contents.head = ring.durable = end

    def is_imported(self, lane: str) -> bool:
        """Say whether nothing is stored in a lane but what was imported."""
        ring = self._rings.get(lane)
        return ring is None or ring.contents.head.sequence <= ring.contents.books.imported

    def begin_import(self, lanes: Mapping[str, tuple[int, Mapping[str, Position]]]) -> None:
        """Let lanes take up what another ring held; durable on return, so that it can be gone on with.

        `lanes` maps lane → (its last sequence, how far each configured region is in it). Raises `StoreError` when one
        has batches of its own: their sequences would mean two things.
        """
        for lane in lanes:
            if not self.is_imported(lane):
                raise StoreError(
                    f"lane {lane} has batches of its own, up to {self.head(lane)}",
                    hint="import into a new state folder, before its gateway runs for the first time",
                )
        with self._writing:
            for lane, (end, places) in lanes.items():
                ring = self._rings.get(lane) or self._add_ring(lane)
                if not ring.contents.head.sequence:
                    with self._lock:
                        for region in self._cursors.of(lane):
                            self._cursors.put(region, lane, places[region])
                ring.contents.books.imported = end
            self._save()

    def import_gap(self, gap: Gap, at: int) -> None:
        """Take up what another ring had lost, at the node's own time `at`; durable on return. Raises `StoreError`.

        So is what came before it: the books must not be ahead of the batches, or those would be taken for lost.
        """
        ring = self._rings[gap.lane]
        with self._writing:
            if gap.first > ring.contents.head.sequence:
                ring.sync(at)
                ring.take_gap(gap)
                self._save()

    def newest(self, lane: str) -> SealedBatch | None:
        """Return the last batch that was stored in a lane, if it is still there and can be read."""
        ring = self._rings.get(lane)
        found = ring.reader.read(ring.contents.head.sequence) if ring else None
        return found if isinstance(found, SealedBatch) else None

    def mint_epoch(self, now_s: int) -> int:
        """Begin an epoch above all before; durable on return, in both copies of the books. Raises `StoreError`."""
        with self._writing:
            with self._lock:
                self._books.epoch = max(now_s, self._books.epoch + 1, self._epochs() + 1)
            for _ in range(2):
                self._save(even_if_saved=True)
            return self._books.epoch

    @property
    def is_held(self) -> bool:
        """Whether something waits for the disk, batches in memory alone or a run that is hidden; `sync` tries again."""
        return self._thinner.is_unfinished or any(ring.is_held for ring in self._rings.values())

    def note_space(self, *, is_low: bool, may_give: bool = True) -> None:
        """Note whether the file system is low on space: then no ring grows.

        `may_give`: what regions wait for may be evicted when the file system is full.
        """
        self._shares.may_grow = not is_low
        self._shares.may_give = may_give

    def shrink(self) -> bool:
        """Give some bytes back to a full file system; False when no lane's policy allows it. Raises `StoreError`."""
        with self._writing:
            return self._shares.shrink()

    def append(self, batch: SealedBatch, at: int = 0) -> Appended:
        """Store a batch at the node's own time `at` (ns); not durable before `sync`.

        Raises `StoreError` when neither disk nor memory takes it: then the same call may succeed later.
        """
        with self._writing:
            lane = batch.id.lane
            ring = self._rings.get(lane) or self._add_ring(lane)
            counts = self._counts[lane]
            if batch.id.sequence <= ring.contents.head.sequence:
                is_known = ring.reader.holds(batch)
                counts["known" if is_known else "conflicts"] += 1
                if not is_known:
                    self._keep_both(ring, batch)
                return Appended.KNOWN if is_known else Appended.CONFLICT
            before = envelope.peek(batch.data).readings_before
            return Appended.STORED if ring.append(batch, before, at) else Appended.REFUSED

    def thinning(self, unsent: Mapping[str, tuple[int, int]]) -> Run | None:
        """Return what is to be made coarser now, if anything; call `thin` with it in any case.

        `unsent` is by lane the stretch, both ends excluded, of which nothing is on its way to a region; a lane that is
        not there is free. Until `thin`, regions get nothing of the run.
        """
        with self._lock:
            return self._thinner.wanted(unsent)

    def coarser(self, run: Run) -> Coarser | None:
        """Return what a run becomes, None when it cannot be made smaller. Slow, for a thread of its own."""
        return self._thinner.coarser(run)

    def thin(self, run: Run, found: Coarser | None, at: int) -> None:
        """Let the coarser batch take the place of its run. Raises `StoreError`: the next `sync` goes on with it."""
        with self._writing:
            self._thinner.replace(run, found, self.epoch, at)

    def read(self, lane: str, sequence: int) -> SealedBatch | Gap | None:
        """Return a batch, the gap that covers it, or None beyond the head. From any thread. Raises `StoreError`.

        A gap may begin before `sequence`: its edges are exact, and a receiver fills only what it has not.
        """
        ring = self._rings.get(lane)
        return ring.reader.read(sequence) if ring else None

    def held(self, lane: str, sequence: int) -> SealedBatch | None:
        """Return a batch that is still in memory, and may be read; None when it must be read from the disk.

        Waits for no disk.
        """
        ring = self._rings.get(lane)
        return ring.reader.held(sequence) if ring else None

    def give_up(self, lane: str, sequence: int) -> None:
        """Take a batch that the disk cannot read for damaged, if the disk works otherwise: a write shows it.

        Raises `StoreError` when it does not: then nothing is given up.
        """
        with self._writing:
            self._save(even_if_saved=True)
            self._rings[lane].reader.give_up(sequence)

    def head(self, lane: str) -> int:
        """Return the last sequence of a lane that may be read; 0 when there is none."""
        ring = self._rings.get(lane)
        return ring.contents.visible if ring else 0

    def fill(self) -> dict[str, float]:
        """Return, for each lane, the share of its ring that is taken while a required region waits for the oldest."""
        with self._lock:
            return {
                ring.name: 0.0 if ring.oldest_is_passed else ring.allocated / ring.bytes_max
                for ring in self._rings.values()
            }

    def readings(self, lane: str) -> int:
        """Return how many readings a lane has been given up to its head, those that are gone included."""
        ring = self._rings.get(lane)
        return ring.contents.head.readings if ring else 0

    def oldest(self, lane: str) -> int:
        """Return the first sequence that is stored; one after the head when there is none."""
        ring = self._rings.get(lane)
        with self._lock:
            return ring.contents.oldest().sequence + 1 if ring else 1

    def acknowledge(self, region: str, lane: str, sequence: int) -> None:
        """Note that a region has everything in a lane up to `sequence`. Never goes back, never beyond the head."""
        ring = self._rings.get(lane)
        if ring is None:
            return
        with self._lock:
            sequence = min(sequence, ring.contents.head.sequence)
            if sequence > self._cursors.place(region, lane).sequence:
                self._cursors.put(region, lane, ring.contents.place_of(sequence))

    def cursor(self, region: str, lane: str) -> int:
        """Return the sequence up to which a region has everything in a lane."""
        with self._lock:
            return min(self._cursors.place(region, lane).sequence, self.head(lane))

    def places(self, region: str) -> dict[str, Position]:
        """Return by lane the place up to which a region has everything."""
        with self._lock:
            return {lane: self._cursors.place(region, lane) for lane in self.lanes_of(region)}

    def is_new(self, region: str) -> bool:
        """Say whether a region had no cursors when the spool was opened."""
        return region in self._cursors.unknown

    def sync(self, at: int = 0) -> None:
        """Make durable what was appended. Raises `StoreError`: it stays readable, and may be tried again."""
        with self._writing:
            for ring in list(self._rings.values()):
                ring.sync(at)
            self._thinner.finish()

    def expire(self, at: int) -> None:
        """Give up what is older than its lane allows, at the node's own time `at` (ns). Raises `StoreError`."""
        with self._writing:
            for ring in self._rings.values():
                ring.expire(at)
            self._shares.bury()

    def save_cursors(self) -> None:
        """Make cursors and books durable, and free the segments that every region has. Raises `StoreError`."""
        with self._writing:
            for ring in self._rings.values():
                ring.doom_passed()
            self._save()
            self._shares.bury()

    def status(self) -> list[dict[str, object]]:
        """Return one map per lane: sizes, counts, and per region the cursor and what it still waits for."""
        with self._lock:
            return [
                lane_status(ring, self._cursors, self._counts[ring.name], is_full=self._shares.is_full(ring))
                for ring in self._rings.values()
            ]

    def close(self) -> None:
        """Let go of the files; what was appended since the last `sync` is not made durable."""
        with self._writing:
            for ring in self._rings.values():
                ring.close()

    def _keep_both(self, ring: Ring, batch: SealedBatch) -> None:
        stored = ring.reader.read(batch.id.sequence)
        for one in (stored, batch):
            if one is not None and not isinstance(one, Gap):
                identity = one.id
                name = f"{identity.lane}-{identity.epoch}-{identity.sequence}-{one.hash.hex()[:8]}.batch"
                self._aside.keep(name, one.data)

    def _load_books(self) -> None:
        data = self._ledger.load()
        self.report.extend(f"books: {note}" for note in self._ledger.notes)
        if data is not None:
            try:
                self._books = msgspec.json.decode(data, type=Books)
                self.taken_in = self._books.taken_in
                self._saved = data
            except msgspec.DecodeError as error:
                self.report.append(f"the books cannot be used: {error}")
        elif self._ledger.was_found:
            self.report.append("the books are lost: what was evicted or damaged before is counted anew")

    def _add_ring(self, name: str) -> Ring:
        shape = self._shapes.get(name) or draining(self._options)
        books = self._books.lanes.setdefault(name, LaneBooks())
        contents = Contents(self._node, name, books, self.report)
        folder = self._folder / "lanes" / name
        ring = Ring(self._disk, folder, shape, contents, self._cursors, self._shares, self._lock, self._aside)
        ring.open()
        self._shares.rings.append(ring)
        with self._lock:
            self._counts[name] = {"known": 0, "conflicts": 0}
            self._rings[name] = ring
        return ring

    def _note_new_regions(self) -> None:
        if any(ring.contents.head.sequence for ring in self._rings.values()):
            for region in self._cursors.unknown:
                self.report.append(f"region {region} has no cursors: it gets everything that is stored")

    def _epochs(self) -> int:
        """Return the newest epoch that any batch or cursor names."""
        places = [ring.contents.head for ring in self._rings.values()]
        places += [self._cursors.place(region, lane) for region in self._cursors.regions for lane in self._rings]
        return max((place.epoch for place in places), default=0)

    def _save(self, *, even_if_saved: bool = False) -> None:
        with self._lock:
            for ring in self._rings.values():
                ring.contents.books.durable = ring.durable
            self._books.taken_in = self.taken_in
            data = msgspec.json.encode(self._books)
            cursors = list(self._cursors.changed())
        # Cursors first: books that say "removed" before a cursor says "passed" would make a gap of what was delivered.
        for region, slots, value in cursors:
            slots.save(value)
            with self._lock:
                self._cursors.note_saved(region, value)
        if even_if_saved or data != self._saved:
            self._ledger.save(data)
            self._saved = data
