"""What a person wants to know of the journal and its checkpoints. Everything is read, nothing is changed.

Every run of bytes that does not validate, and every run of positions that nothing holds, is one finding. Which kind it
is, is decided by what comes behind it, as in a replay (`gateway.journal.replay`):

    missing   positions go on with a gap, and there are no bytes that could have been in it
    damaged   the same, but there are; or a frame of the same file follows, and before it is one that was durable
    torn      the end of a file, and the next file goes on without a gap: what a crash or a failed write left; harmless
    unclear   the end of the last file: torn at a crash, or being written, or damaged. The bytes cannot tell; at its
              next start the gateway can, from what the spool knows (docs/decisions/0009)

A daemon may be at work meanwhile: files that it has removed are passed over, and when it has taken a checkpoint in
between, everything is read again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gateway.errors import StoreError
from gateway.journal import format as layout
from gateway.journal.checkpoint import checkpoint_names, position_of
from gateway.journal.files import DAMAGED_SUFFIX, journal_files
from gateway.journal.frames import Found, Pieces, Skipped, frames
from gateway.journal.replay import unreadable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.disk import Disk
    from gateway.journal.files import JournalFile

WHOLE: Final = "whole"
TORN: Final = "torn"
UNCLEAR: Final = "unclear"
DAMAGED: Final = "damaged"
MISSING: Final = "missing"

_WORST_FIRST: Final = (DAMAGED, UNCLEAR, TORN)
_ATTEMPTS: Final = 3


@dataclass(slots=True)
class FileState:
    """One journal file. `bytes_used` ends with the last frame that validates; times are wall times of entries."""

    name: str
    first: int
    entries: int = 0
    messages: int = 0
    bytes_used: int = 0
    bytes_allocated: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    state: str = WHOLE


@dataclass(slots=True)
class Finding:
    """One thing that is not as it was written.

    Positions `first` to `last` are missing for it: none when both are None, all to the end when only `last` is. What is
    not certain, in `unclear`, is meant the same way. `messages` is None when nobody can know. `needed`: the next start
    would replay these positions.
    """

    kind: str
    file: str
    offset: int | None = None
    size: int = 0
    first: int | None = None
    last: int | None = None
    messages: int | None = None
    why: str = ""
    needed: bool = False

    @property
    def is_damage(self) -> bool:
        """Whether the medium, or a person, has changed what was written, for certain."""
        return self.kind in (DAMAGED, MISSING)


@dataclass(slots=True)
class CheckpointState:
    """One checkpoint, whole when `fault` is empty. `has_journal`: the journal goes on from `position` without a gap."""

    name: str
    position: int
    size: int = 0
    fault: str = ""
    epoch: int = 0
    wall_ns: int | None = None
    has_journal: bool = False


@dataclass(slots=True)
class Inspection:
    """Everything. The journal holds positions from `first` up to `next_position`; `aside` are files put aside."""

    files: list[FileState] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    checkpoints: list[CheckpointState] = field(default_factory=list)
    first: int = 0
    next_position: int = 0
    aside: list[str] = field(default_factory=list)

    @property
    def newest_whole(self) -> CheckpointState | None:
        """The checkpoint that the next start will use."""
        return next((one for one in reversed(self.checkpoints) if not one.fault), None)

    @property
    def is_damaged(self) -> bool:
        """Whether anything is damaged for certain."""
        return any(one.is_damage for one in self.findings) or any(one.fault for one in self.checkpoints)


def journal_bytes(disk: Disk, state_folder: Path) -> int:
    """Return how many bytes `inspect` will read of the journal, at least."""
    total = 0
    for file in journal_files(disk, state_folder / "journal"):
        try:
            with Pieces(disk, state_folder / "journal" / file.name) as pieces:
                total += pieces.size
        except StoreError:
            continue
    return total


def inspect(disk: Disk, state_folder: Path, advance: Callable[[int], None] = lambda _: None) -> Inspection:
    """Read journal and checkpoints; `advance` is told how many bytes were read. Raises `StoreError` for a folder."""
    folder = state_folder / "checkpoint"
    for _ in range(_ATTEMPTS):
        names = checkpoint_names(disk, folder)
        found = Inspection(checkpoints=_checkpoints(disk, folder, names))
        _Walk(disk, state_folder / "journal", found, advance).run()
        if checkpoint_names(disk, folder) == names:
            break
    _hold_together(found)
    for place in (state_folder / "journal", folder):
        found.aside += [f"{place.name}/{name}" for name in disk.names(place) if name.endswith(DAMAGED_SUFFIX)]
    return found


def _checkpoints(disk: Disk, folder: Path, names: list[str]) -> list[CheckpointState]:
    found = []
    codec = layout.JournalCodec()
    for name in names:
        one = CheckpointState(name, position_of(name))
        try:
            data = disk.load(folder / name)
            one.size = len(data)
            checkpoint, slices = codec.checkpoint_of(data, one.position)
            one.epoch, one.wall_ns = checkpoint.epoch, checkpoint.wall_ns
            for _ in slices:
                pass
        except StoreError as error:
            if _is_gone(error):
                continue
            one.fault = error.fault
        found.append(one)
    return found


def _is_gone(error: StoreError) -> bool:
    return error.facts.get("errno") == "ENOENT"


def _hold_together(found: Inspection) -> None:
    """Say what the findings cost: which checkpoints the journal goes on from, and which findings a start will meet."""
    newest = found.newest_whole
    start = newest.position if newest else 0
    if start < found.first:
        found.findings.insert(0, Finding(MISSING, "", first=start, last=found.first - 1))
    elif found.files and start > found.next_position:
        found.findings.append(Finding(MISSING, "", first=found.next_position, last=start - 1))
    if start and not found.files:  # a node that has not taken in anything yet has a checkpoint of position 0 alone
        found.findings.append(Finding(MISSING, "", first=start, why="there is no journal file"))
    lost = [(one.first, one.last) for one in found.findings if one.is_damage and one.first is not None]
    for checkpoint in found.checkpoints:
        position = checkpoint.position
        is_held = bool(found.files) and found.first <= position <= found.next_position
        checkpoint.has_journal = is_held and all(last is not None and last < position for _, last in lost)
    for one in found.findings:
        one.needed = one.first is not None and (one.last is None or one.last >= start)
    for file in found.files:
        kinds = {one.kind for one in found.findings if one.file == file.name and one.kind != MISSING}
        file.state = next((kind for kind in _WORST_FIRST if kind in kinds), WHOLE)


@dataclass(slots=True)
class _Pending:
    """A finding of which it is not known yet what comes behind it. `start` is the position that its header tells."""

    finding: Finding
    start: int | None
    is_tail: bool


class _Walk:
    """Goes through all files in order; `_expected` is the position that must come next."""

    def __init__(self, disk: Disk, folder: Path, found: Inspection, advance: Callable[[int], None]) -> None:
        self._disk = disk
        self._folder = folder
        self._found = found
        self._advance = advance
        self._codec = layout.JournalCodec()
        self._pending: list[_Pending] = []
        self._expected: int | None = None

    def run(self) -> None:
        """Fill in files, findings and positions."""
        files = journal_files(self._disk, self._folder)
        for file in files:
            following = next((other.first for other in files if other.first > file.first), None)
            state = FileState(file.name, file.first)
            try:
                self._read(file, state, following)
            except StoreError as error:
                if _is_gone(error):
                    self._forget()
                    continue
                self._begin(file.first, file.name, is_sure=False)
                why = f"the disk cannot read it: {error.fault}"
                self._pend(Finding(DAMAGED, file.name, state.bytes_used or None, why=why))
            self._found.files.append(state)
        self._end()
        self._found.next_position = self._expected or 0

    def _forget(self) -> None:
        """A daemon trims the journal: what was read so far is gone, too."""
        self._found.files.clear()
        self._found.findings.clear()
        self._pending.clear()
        self._expected = None

    def _read(self, file: JournalFile, state: FileState, following: int | None) -> None:
        with Pieces(self._disk, self._folder / file.name) as pieces:
            state.bytes_allocated = pieces.size
            head = pieces.read(0, layout.FILE_HEADER_BYTES)
            opened = layout.parse_file_header(head)
            self._begin(file.first, file.name, is_sure=opened is not None)
            if opened is None:
                self._pend(Finding(DAMAGED, file.name, 0, pieces.size, why=unreadable(head)))
                self._advance(pieces.size)
                return
            state.bytes_used = done = len(head)
            self._advance(done)
            for one in frames(pieces, opened[0]):
                if isinstance(one, Found):
                    state.bytes_used = one.offset + one.header.frame_bytes
                    self._take(file.name, state, one, following)
                else:
                    self._skip(file.name, one)
                self._advance(state.bytes_used - done)
                done = state.bytes_used
            self._advance(max(0, pieces.size - done))

    def _begin(self, first: int, name: str, *, is_sure: bool) -> None:
        """A file begins with position `first`; the first file also tells where the journal begins."""
        if self._expected is None:
            self._expected = self._found.first = first
        if is_sure and first >= self._expected:
            self._reach(first, name)

    def _take(self, name: str, state: FileState, one: Found, following: int | None) -> None:
        """Take in a frame that validates."""
        entries = self._codec.entries_of(one.body)
        if entries is None:
            why = "its checksum is right, and its content cannot be decoded"
            finding = Finding(DAMAGED, name, one.offset, one.header.frame_bytes, messages=one.header.items, why=why)
            self._pend(finding, one.header.first)
            return
        state.entries += len(entries)
        state.messages += one.header.items
        if entries:
            state.first_ns = entries[0].wall_ns if state.first_ns is None else state.first_ns
            state.last_ns = entries[-1].wall_ns
        first, stop = one.header.first, one.header.first + len(entries)
        stop = stop if following is None else min(stop, following)  # the later file is right
        assert self._expected is not None
        if stop > max(first, self._expected):
            self._reach(max(first, self._expected), name)
            self._expected = stop

    def _skip(self, name: str, one: Skipped) -> None:
        header = one.header
        finding = Finding(DAMAGED, name, one.offset, one.size, messages=header.items if header else None)
        self._pend(finding, header.first if header else None, is_tail=one.is_tail)

    def _pend(self, finding: Finding, start: int | None = None, *, is_tail: bool = False) -> None:
        self._found.findings.append(finding)
        self._pending.append(_Pending(finding, start, is_tail))

    def _reach(self, position: int, name: str) -> None:
        """Decide what is pending: the journal goes on with `position`, in file `name`."""
        assert self._expected is not None
        pending, self._pending = self._pending, []
        if position == self._expected:
            for one in pending:
                one.finding.kind = TORN if one.is_tail else DAMAGED
            return
        self._blame(pending, self._expected, position - 1, name)
        self._expected = position

    def _blame(self, pending: list[_Pending], first: int, last: int | None, name: str) -> None:
        """Share out the missing positions `first` to `last` among what is damaged; the rest is plainly missing."""
        if pending and pending[0].start is None:
            pending[0].start = first
        until = last
        found = ((one.start, one.finding) for one in pending if one.start is not None)
        for start, finding in sorted(found, key=lambda one: one[0], reverse=True):
            if first <= start and (until is None or start <= until):
                finding.first, finding.last = start, until
                until = start - 1
        if until is not None and first <= until:
            self._found.findings.append(Finding(MISSING, name, first=first, last=until))

    def _end(self) -> None:
        """Decide what is pending at the end of everything; of the ends of files nobody can tell."""
        damaged = [one for one in self._pending if not one.is_tail]
        until = None
        for one in self._pending:
            if one.is_tail:
                one.finding.kind = UNCLEAR
                one.finding.first = self._expected if one.start is None and not damaged else one.start
                until = one.start
        if damaged:
            assert self._expected is not None
            self._blame(damaged, self._expected, None if until is None else until - 1, "")
