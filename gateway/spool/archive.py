"""Carries the content of a spool to another box: a tar file of batches and gaps, as they are, and a manifest.

    <lane>/<sequence>.batch      the envelope of one batch, what a region would get
    <lane>/<first>-<last>.gap    the envelope of a gap: these batches are lost, and why
    manifest.json                last: what must be in the file, and how far each region was; without it, it is torn

Members of a lane stand in order. An archive is verified as a whole before anything of it is taken in, and taking it in
again is harmless.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import tarfile
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from gateway.batch import envelope
from gateway.batch import gap as gap_envelope
from gateway.batch.decode import decode
from gateway.errors import ArchiveError, BatchError
from gateway.model import Gap, SealedBatch
from gateway.spool.format import Position

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

VERSION: Final = 1
MANIFEST: Final = "manifest.json"
_FORMAT: Final = "edge-gateway-spool"
_MEMBER_BYTES_MAX: Final = 256 << 20
_PART: Final = ".part"


class LaneManifest(msgspec.Struct):
    """What an archive holds of a lane: everything after `begin` up to and including `end`."""

    begin: Position
    end: Position
    batches: int = 0
    gaps: int = 0
    readings: int = 0


class Manifest(msgspec.Struct):
    """What an archive holds. `made_ns` is a wall time; `regions` tells how far each region was in each lane."""

    node: str
    made_ns: int
    format: str = _FORMAT
    version: int = VERSION
    regions: dict[str, dict[str, Position]] = msgspec.field(default_factory=dict)
    lanes: dict[str, LaneManifest] = msgspec.field(default_factory=dict)


class Member(NamedTuple):
    """One batch or gap, and the bytes of its envelope."""

    content: SealedBatch | Gap
    data: bytes


def write(path: Path, manifest: Manifest, items: Iterable[SealedBatch | Gap], advance: Callable[[int], None]) -> None:
    """Write an archive that was not there before; durable on return, and nothing is left behind otherwise.

    `manifest.lanes` is filled in; `advance` is told how many bytes were written. Raises `OSError`, `FileExistsError`.
    """
    if path.exists():
        raise FileExistsError(errno.EEXIST, "is there already, and is not overwritten", str(path))
    aside = path.with_name(path.name + _PART)
    try:
        with aside.open("wb") as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                for one in items:
                    data = gap_envelope.encode(one) if isinstance(one, Gap) else one.data
                    _note(manifest, one)
                    _add(tar, _name(one), data, manifest.made_ns)
                    advance(len(data))
                _add(tar, MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)), manifest.made_ns)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
        _sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def manifest_of(path: Path) -> Manifest:
    """Return the manifest. Raises `ArchiveError` for what is no whole archive, `OSError`."""
    with _opened(path) as tar:
        members = tar.getmembers()
        if not members or members[-1].name != MANIFEST:
            raise ArchiveError(f"{path}: has no manifest at its end: it is no export of a spool, or is torn")
        try:
            manifest = msgspec.json.decode(_content(tar, members[-1]), type=Manifest)
        except msgspec.DecodeError as error:
            raise ArchiveError(f"{path}: its manifest cannot be used: {error}") from error
    if manifest.format != _FORMAT or manifest.version != VERSION:
        raise ArchiveError(f"{path}: is {manifest.format} version {manifest.version}, this program reads {VERSION}")
    return manifest


def read(path: Path) -> Iterator[Member]:
    """Yield what is in an archive, each envelope verified. Raises `ArchiveError`, `OSError`."""
    with _opened(path) as tar:
        for info in tar:
            if info.name == MANIFEST:
                return
            data = _content(tar, info)
            try:
                found = decode(data)
            except BatchError as error:
                raise ArchiveError(f"{path}: {info.name}: {error.fault}") from error
            if isinstance(found, Gap):
                content: SealedBatch | Gap = found
            else:
                content = SealedBatch(found.header.id, found.header.readings, found.header.hash, data)
            if _name(content) != info.name:
                raise ArchiveError(f"{path}: {info.name} holds another batch than its name says")
            yield Member(content, data)


def verify(path: Path, manifest: Manifest) -> Iterator[Member]:
    """Yield what is in an archive; when all was seen it is what the manifest says. Raises `ArchiveError`, `OSError`."""
    seen = Manifest(manifest.node, manifest.made_ns)
    for member in read(path):
        one = member.content
        node = one.node if isinstance(one, Gap) else one.id.node
        if node != manifest.node:
            raise ArchiveError(f"{path}: {_name(one)} is of node {node}, not of {manifest.node}")
        _note(seen, one)
        yield member
    if seen.lanes != manifest.lanes:
        raise ArchiveError(f"{path}: does not hold what its manifest says: it was changed")


def _note(manifest: Manifest, one: SealedBatch | Gap) -> None:
    """Count one item into the manifest. Raises `ArchiveError` when it stands before another of its lane."""
    if isinstance(one, Gap):
        name, first, last, epoch, readings, before = (
            one.lane, one.first, one.last, one.epoch, one.readings, one.readings_before,
        )  # fmt: skip
    else:
        name, first, last, epoch = one.id.lane, one.id.sequence, one.id.sequence, one.id.epoch
        readings, before = one.readings, envelope.peek(one.data).readings_before
    begin = Position(first - 1, epoch, before)
    lane = manifest.lanes.setdefault(name, LaneManifest(begin, begin))
    if first <= lane.end.sequence:
        raise ArchiveError(f"{_name(one)} does not follow batch {lane.end.sequence}")
    lane.end = Position(last, epoch, before + readings)
    if isinstance(one, Gap):
        lane.gaps += 1
    else:
        lane.batches += 1
        lane.readings += readings


def _name(one: SealedBatch | Gap) -> str:
    if isinstance(one, Gap):
        return f"{one.lane}/{one.first:016d}-{one.last:016d}.gap"
    return f"{one.id.lane}/{one.id.sequence:016d}.batch"


def _add(tar: tarfile.TarFile, name: str, data: bytes, wall_ns: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(data), wall_ns // 10**9, 0o640
    tar.addfile(info, io.BytesIO(data))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, mode="r:") as tar:
            yield tar
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
        raise ArchiveError(f"{path}: is no export of a spool: {error}") from error


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(info) if info.isreg() and info.size <= _MEMBER_BYTES_MAX else None
    if file is None:
        raise ArchiveError(f"{info.name} is nothing that an export writes")
    return file.read()


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
