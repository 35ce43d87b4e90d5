"""Takes up an archive of another box's spool: for a box that takes the place of one that broke.

The batches keep their identity; what the new box makes itself goes on behind them under an epoch of its own. So they
must come first: a lane that has batches already is refused, and an import that was interrupted is gone on with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import ArchiveError, StoreError
from gateway.journal.checkpoint import CheckpointStore
from gateway.model import Gap
from gateway.spool import archive
from gateway.spool import format as layout
from gateway.spool.lanes import Appended, Spool
from gateway.spool.shares import draining, shapes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gateway.config import schema
    from gateway.disk import Disk
    from gateway.spool.archive import Manifest, Member
    from gateway.spool.format import Position
    from gateway.spool.shares import Shape

_NS = 10**9


def import_archive(
    disk: Disk,
    folder: Path,
    config: schema.Gateway,
    file: Path,
    manifest: Manifest,
    wall_ns: int,
    advance: Callable[[int], None],
) -> None:
    """Take an archive into the spool of the state `folder`; durable on return, and nothing is taken of a bad one.

    `advance` is told how many bytes were done, of twice what the file holds. Raises `ArchiveError`, `StoreError`,
    `OSError`.
    """
    assert config.node is not None
    if manifest.node != config.node.id:
        raise ArchiveError(
            f"{file}: holds batches of node {manifest.node}, and this is node {config.node.id}",
            hint="give the box that takes its place the same node.id",
        )
    room = _Room(config.spool)
    for member in archive.verify(file, manifest):
        room.take(member)
        advance(len(member.data))
    room.check()
    at = next((checkpoint.at for checkpoint, _ in CheckpointStore(disk, folder / "checkpoint").readable([])), 0)
    spool = Spool.open(disk, folder / "spool", config.spool, manifest.node, config.mirrored, wall_ns // _NS)
    try:
        _begin(spool, config, manifest)
        for member in archive.read(file):
            _take(spool, member, at)
            advance(len(member.data))
        spool.sync(at)
        for region in config.mirrored:
            for lane, place in manifest.regions.get(region.name, {}).items():
                if lane in manifest.lanes:  # of other lanes this box may have batches of its own
                    spool.acknowledge(region.name, lane, place.sequence)
        spool.save_cursors()
    finally:
        spool.close()


def _begin(spool: Spool, config: schema.Gateway, manifest: Manifest) -> None:
    lanes: dict[str, tuple[int, Mapping[str, Position]]] = {}
    for name, lane in manifest.lanes.items():
        known = {region.name: manifest.regions.get(region.name, {}).get(name, lane.begin) for region in config.mirrored}
        # What a region has of the archive is noted at the end: before, there is nothing that it could have.
        lanes[name] = lane.end.sequence, {region: min(place, lane.begin) for region, place in known.items()}
    spool.begin_import(lanes)


def _take(spool: Spool, member: Member, at: int) -> None:
    one = member.content
    if isinstance(one, Gap):
        spool.import_gap(one, at)
        return
    outcome = spool.append(one, at)
    if outcome not in (Appended.STORED, Appended.KNOWN):
        raise StoreError(f"batch {one.id} cannot be stored: {outcome.value}")


class _Room:
    """Counts the segments that an archive will take: what is imported must not push itself out of the ring."""

    def __init__(self, options: schema.Spool) -> None:
        self._options = options
        self._shapes = shapes(options)
        self._needed: dict[str, int] = {}
        self._filled: dict[str, tuple[int, int]] = {}

    def take(self, member: Member) -> None:
        """Take in the next member of the archive."""
        one = member.content
        if isinstance(one, Gap):
            return
        lane, size = one.id.lane, layout.batch_frame_bytes(len(one.data))
        used, batches = self._filled.get(lane, (0, 0))
        segment_bytes = self._shape(lane).segment_bytes
        if not batches or used + size + layout.OVERHEAD_BYTES + layout.index_frame_bytes(batches + 1) > segment_bytes:
            used, batches = 0, 0
            least = size + layout.OVERHEAD_BYTES + layout.index_frame_bytes(1)
            self._needed[lane] = self._needed.get(lane, 0) + max(segment_bytes, least)
        self._filled[lane] = used + size, batches + 1

    def check(self) -> None:
        """Raise `StoreError` when it is too much for a lane, or for all."""
        for lane, needed in self._needed.items():
            limit = self._shape(lane).bytes_max
            if lane in self._shapes and needed > limit:
                raise StoreError(
                    f"lane {lane}: the archive needs {needed:,} bytes, and the lane may have {limit:,}",
                    hint="raise bytes_max of the lane",
                )
        total = sum(self._needed.values())
        if total > self._options.bytes_max:
            raise StoreError(
                f"the archive needs {total:,} bytes, and all lanes may have {self._options.bytes_max:,}",
                hint="raise spool.bytes_max",
            )

    def _shape(self, lane: str) -> Shape:
        return self._shapes.get(lane) or draining(self._options)
