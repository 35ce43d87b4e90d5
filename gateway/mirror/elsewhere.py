"""What a place must be told that it will never get, because another place has it: the gap `elsewhere`.

A receiver calls everything missing that lies before what it gets. So each place is told, when the mirror moves to it,
which batches went elsewhere since it was left: for a standby that begins, all before; for a region that was given back
the work, what its standby took; for a region that was added, what was freed before it came. The numbers are exact, as
in every gap, and a batch that comes all the same is taken back out of it.

Kept in two slots by place and lane: where the cursor stood when the place was left. A value that is lost costs a word,
not data: the receiver then says "missing", which is what it knows.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.errors import StoreError
from gateway.model import Gap
from gateway.spool.format import ORIGIN, Position
from gateway.spool.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gateway.disk import Disk

REASON: Final = "elsewhere"


class _Kept(msgspec.Struct):
    """`active` is the place that carried last, `left` where each of the others was left; None: it was told."""

    active: str
    left: dict[str, dict[str, Position]]


class Elsewhere:
    """The memory of one region. `places` are its own name and its standbys'; `is_new`: it never had a cursor."""

    def __init__(self, disk: Disk, path: Path, places: Sequence[str], *, is_new: bool) -> None:
        self._disk = disk
        self._folder = path.parent
        self._slots = Slots(disk, path)
        self._kept = self._load() or _Kept(places[0], {places[0]: {}} if is_new else {})
        for standby in places[1:]:
            self._kept.left.setdefault(standby, {})

    def moved(self, place: str, cursors: Mapping[str, Position]) -> None:
        """Note that `place` carries from now on, and where the one before it was left; from any thread."""
        if place != self._kept.active:
            self._kept.left[self._kept.active] = dict(cursors)
            self._kept.active = place
            self._save()

    def gaps(self, node: str, place: str, cursors: Mapping[str, Position]) -> list[Gap]:
        """Return what the place has to be told: for each lane what went elsewhere since it was left."""
        left = self._kept.left.get(place)
        if left is None:
            return []
        found = []
        for lane, at in cursors.items():
            since = left.get(lane, ORIGIN)
            if since.sequence < at.sequence and (since.epoch == at.epoch or not since.sequence):
                readings = max(0, at.readings - since.readings)
                first = since.sequence + 1
                found.append(Gap(node, lane, at.epoch, first, at.sequence, readings, since.readings, REASON))
        return found

    def told(self, place: str) -> None:
        """Note that the place knows; from any thread."""
        if self._kept.left.pop(place, None) is not None:
            self._save()

    def _load(self) -> _Kept | None:
        try:
            data = self._slots.load()
            return None if data is None else msgspec.json.decode(data, type=_Kept)
        except (StoreError, msgspec.DecodeError):
            return None

    def _save(self) -> None:
        with contextlib.suppress(StoreError):
            self._disk.make_folder(self._folder)
            self._slots.save(msgspec.json.encode(self._kept))
