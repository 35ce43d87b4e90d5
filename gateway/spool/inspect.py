"""What a person wants to know of the spool: lanes, segments, cursors, and what is damaged. Nothing is changed.

Every run of bytes that does not validate, and every run of sequences that nothing holds and no book covers, is one
finding; `gateway.spool.findings` has their kinds.

A daemon may be at work meanwhile. So the books are read before the segments and after them: what the first ones call
durable was there to be found, and what was freed while we looked is in the second ones, because books are durable
before a file is removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.errors import StoreError
from gateway.spool.books import Books, LaneBooks
from gateway.spool.contents import Contents
from gateway.spool.cursor import regions_in
from gateway.spool.findings import DAMAGED, Finding, Inspection
from gateway.spool.format import Position
from gateway.spool.slots import Slots
from gateway.spool.walk import INDEX, LaneWalk, segment_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.disk import Disk

_ATTEMPTS: Final = 3
_places = msgspec.json.Decoder(dict[str, Position]).decode


def spool_bytes(disk: Disk, folder: Path) -> int:
    """Return how many bytes the segments in the spool `folder` take."""
    total = 0
    for lane in disk.names(folder / "lanes"):
        for _, name in segment_names(disk, folder / "lanes" / lane):
            try:
                handle = disk.open(folder / "lanes" / lane / name)
            except StoreError:
                continue
            total += disk.size(handle)
            disk.close(handle)
    return total


def inspect(
    disk: Disk, folder: Path, node: str = "", depth: str = INDEX, advance: Callable[[int], None] = lambda _: None
) -> Inspection:
    """Look at the spool in `folder`; `advance` is told how many bytes were read. Raises `StoreError` for a folder.

    `node` is whose batches these must be, for depth CONTENT; empty takes any.
    """
    found = Inspection()
    before = _books(disk, folder, Inspection())
    names = disk.names(folder / "lanes")
    walks = {lane: LaneWalk(disk, folder / "lanes" / lane, found, depth, node, advance) for lane in names}
    for lane, walk in walks.items():
        walk.run(before.lanes.get(lane, LaneBooks()).durable.sequence)
    after = _books(disk, folder, found)
    found.epoch = after.epoch
    found.cursors = {region: _cursor(disk, folder, region, found) for region in regions_in(disk, folder / "cursors")}
    for lane, walk in walks.items():
        books = after.lanes.get(lane, LaneBooks())
        books.durable = before.lanes.get(lane, LaneBooks()).durable
        places = {region: places.get(lane) for region, places in found.cursors.items()}
        walk.conclude(Contents(node, lane, books, []), places)
    found.aside += [f"aside/{name}" for name in disk.names(folder / "aside")]
    return found


def _books(disk: Disk, folder: Path, found: Inspection) -> Books:
    data = _slot(disk, folder / "ledger", found)
    try:
        return msgspec.json.decode(data, type=Books) if data is not None else Books()
    except msgspec.DecodeError as error:
        found.findings.append(Finding(DAMAGED, "", "ledger", why=f"the books cannot be used: {error}"))
        return Books()


def _cursor(disk: Disk, folder: Path, region: str, found: Inspection) -> dict[str, Position]:
    data = _slot(disk, folder / "cursors" / region, found)
    try:
        return _places(data) if data is not None else {}
    except msgspec.DecodeError as error:
        found.findings.append(Finding(DAMAGED, "", f"cursors/{region}", why=f"the cursors cannot be used: {error}"))
        return {}


def _slot(disk: Disk, path: Path, found: Inspection) -> bytes | None:
    """Return the newest value of a slot; a daemon that overwrites the older copy just now is no damage."""
    for _ in range(_ATTEMPTS):
        slots = Slots(disk, path)
        data = slots.load()
        if not slots.notes:
            return data
    found.findings += [Finding(DAMAGED, "", f"{path.parent.name}/{path.name}", why=note) for note in slots.notes]
    return data
