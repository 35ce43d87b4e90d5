"""How far each region has what each lane holds: the highest contiguous acknowledged sequence.

A cursor is a place (sequence, epoch, readings so far), because an acknowledgement is about an identity: after an epoch
began, a new batch may take a sequence that an old cursor is beyond, and that cursor must step back. Cursors are saved
now and then; a cursor that is lost or old costs duplicates, which receivers know, never data.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from gateway.spool.format import ORIGIN, Position
from gateway.spool.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from gateway.config.schema import Region
    from gateway.disk import Disk

_decode = msgspec.json.Decoder(dict[str, Position]).decode
_SLOT_NAME = re.compile(r"(.+)\.[01]")


def regions_in(disk: Disk, folder: Path) -> list[str]:
    """Return the regions that have cursors in `folder`, configured or not."""
    return sorted({match[1] for entry in disk.names(folder) if (match := _SLOT_NAME.fullmatch(entry))})


def forget_region(disk: Disk, folder: Path, region: str) -> None:
    """Remove the cursors of a region from `folder`; durable on return. Raises `StoreError`."""
    for name in disk.names(folder):
        match = _SLOT_NAME.fullmatch(name)
        if match is not None and match[1] == region:
            disk.remove(folder / name)
    disk.sync_folder(folder)


class Cursors:
    """The cursors of all configured regions. Not locked: the spool does that.

    `choice` maps the lanes that only some regions take to those; all others go to every region.
    """

    def __init__(
        self,
        disk: Disk,
        folder: Path,
        regions: Sequence[Region],
        choice: Mapping[str, frozenset[str]],
        report: list[str],
    ) -> None:
        disk.make_folder(folder)
        self._choice = choice
        self.required = frozenset(region.name for region in regions if region.required)
        self._lag_bytes_max = {region.name: region.lag_bytes_max for region in regions}
        self._slots = {region.name: Slots(disk, folder / region.name) for region in regions}
        self._places: dict[str, dict[str, Position]] = {}
        self.lost: set[str] = set()
        """Regions whose cursors existed and cannot be read."""
        self.unknown: list[str] = []
        """Regions that never had cursors."""
        self._dirty: set[str] = set()
        for name, slots in self._slots.items():
            self._places[name] = self._loaded(name, slots, report)
        report.extend(
            f"region {name} is not configured any more: it holds no segments"
            for name in regions_in(disk, folder)
            if name not in self._slots
        )

    @property
    def regions(self) -> list[str]:
        """The names of the configured regions."""
        return list(self._places)

    def of(self, lane: str) -> list[str]:
        """Return the regions that take a lane."""
        choice = self._choice.get(lane)
        return self.regions if choice is None else [region for region in self._places if region in choice]

    def place(self, region: str, lane: str) -> Position:
        """Return how far a region is in a lane."""
        return self._places[region].get(lane, ORIGIN)

    def is_known(self, region: str, lane: str) -> bool:
        """Say whether a region ever had a cursor in a lane."""
        return lane in self._places[region]

    def put(self, region: str, lane: str, place: Position) -> None:
        """Set a cursor."""
        self._places[region][lane] = place
        self._dirty.add(region)

    def lowest(self, lane: str) -> Position | None:
        """Return the place that all regions that take the lane have passed, None without any."""
        return min((self.place(region, lane) for region in self.of(lane)), default=None)

    def lowest_required(self, lane: str) -> int | None:
        """Return the sequence that all required regions that take the lane have passed, None without any."""
        required = (region for region in self.of(lane) if region in self.required)
        return min((self.place(region, lane).sequence for region in required), default=None)

    def may_lose(self, region: str, lane: str, end: int, sizes: Sequence[tuple[int, int]]) -> bool:
        """Say whether a segment that ends with `end` may go as far as a region is concerned.

        It has passed it; or it is optional and the segments that it still waits for take more than it may hold back.
        `sizes` are (last sequence, bytes) of all segments.
        """
        place = self.place(region, lane).sequence
        if place >= end:
            return True
        limit = self._lag_bytes_max[region]
        return region not in self.required and 0 < limit < sum(size for last, size in sizes if last > place)

    def step_back(self, lane: str, place: Position, epoch: int) -> None:
        """Let no cursor of an older epoch be beyond `place`, after which a batch of `epoch` is stored."""
        for region in self.of(lane):
            own = self.place(region, lane)
            if own.sequence > place.sequence and own.epoch != epoch:
                self.put(region, lane, place)

    def changed(self) -> Iterator[tuple[str, Slots, bytes]]:
        """Yield (region, slots, value) for everything that is not saved yet."""
        for region in sorted(self._dirty):
            yield region, self._slots[region], msgspec.json.encode(self._places[region])

    def note_saved(self, region: str, value: bytes) -> None:
        """Note that `value` is durable."""
        if msgspec.json.encode(self._places[region]) == value:
            self._dirty.discard(region)

    def _loaded(self, name: str, slots: Slots, report: list[str]) -> dict[str, Position]:
        data = slots.load()
        report.extend(f"cursor of region {name}: {note}" for note in slots.notes)
        try:
            if data is not None:
                return _decode(data)
        except msgspec.DecodeError as error:
            report.append(f"cursor of region {name}: {error}")
        if slots.was_found:
            self.lost.add(name)
            report.append(f"the cursors of region {name} are lost: it gets everything that is stored again")
        else:
            self.unknown.append(name)
        return {}
