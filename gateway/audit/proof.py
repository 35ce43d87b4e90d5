"""What a chain of audit entries proves, and what breaks it. Pure.

Files are given whole and in order. Checked are: each line against its own hash; each entry's number and `previous`
against the entry before it; the oldest entry against the newest anchor, which says what rotation has removed; the end
against what else is known of it, which is what was handed on last and what a region has. A chain alone cannot show
that its end was cut off, or that somebody has written all of it anew: for that a copy elsewhere is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.audit.entry import ANCHOR, BEGAN, NOTHING_BEFORE, Entry, hash_of, parsed, split

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FAULTS_MAX: Final = 1000


class File(NamedTuple):
    """A file: the number in its name, and its bytes."""

    first: int
    data: bytes


class Fault(NamedTuple):
    """What is wrong at the entry of this number, or between it and the one before it."""

    number: int
    sentence: str


class Proof(NamedTuple):
    """What was found: entries that can be read with their hashes, faults, and bytes of a torn end."""

    entries: Sequence[tuple[Entry, str]]
    faults: Sequence[Fault]
    torn_bytes: int = 0

    @property
    def first(self) -> int:
        """The number of the oldest entry that is there, 0 when there is none."""
        return self.entries[0][0].number if self.entries else 0

    @property
    def last(self) -> int:
        """The number of the newest entry that is there, 0 when there is none."""
        return self.entries[-1][0].number if self.entries else 0


def proof_of(files: Iterable[File]) -> Proof:
    """Return what the files of one log prove by themselves."""
    walk = _Walk()
    torn = 0
    given = list(files)
    for file, limit in zip(given, [*(one.first for one in given[1:]), 1 << 63], strict=False):
        *lines, rest = file.data.split(b"\n")
        walk.begin(file.first)
        # The later file is right: what failed to be written to the earlier one was written anew.
        for line in lines[: max(0, limit - file.first)]:
            walk.take(line)
        torn = len(rest)
    walk.end()
    return Proof(walk.entries, walk.faults[:FAULTS_MAX], torn)


class _Walk:
    """Goes from entry to entry."""

    def __init__(self) -> None:
        self.entries: list[tuple[Entry, str]] = []
        self.faults: list[Fault] = []
        self.number = 0
        """What the next entry should have; 0 before the first."""
        self._previous = ""

    def fault(self, number: int, sentence: str) -> None:
        self.faults.append(Fault(number, sentence))

    def begin(self, first: int) -> None:
        if self.number and first != self.number:
            self._jump(first)
        self.number = first

    def take(self, line: bytes) -> None:
        stated, content = split(line)
        computed = hash_of(content)
        entry = parsed(content)
        if entry is None or stated != computed:
            self.fault(self.number, "it was changed: it does not fit its hash")
        if entry is None:
            self.number, self._previous = self.number + 1, computed
            return
        if entry.number != self.number:
            self._jump(entry.number)
        elif self._previous and entry.previous != self._previous:
            self.fault(entry.number, "it does not follow the entry before it: that one was changed, or this one was")
        if stated == computed:
            self.entries.append((entry, computed))
        self.number, self._previous = entry.number + 1, computed

    def end(self) -> None:
        if not self.entries:
            return
        oldest = self.entries[0][0]
        anchors = [entry for entry, _ in self.entries if entry.kind == ANCHOR]
        if anchors:
            stated = anchors[-1].what.get("oldest")
            allowed = stated if isinstance(stated, int) else 0
            if oldest.number > allowed:
                missing = f"entries {allowed} to {oldest.number - 1}"
                self.fault(oldest.number, f"{missing} are missing, no rotation took them")
            elif oldest.number == allowed and oldest.previous != anchors[-1].what.get("oldest_previous"):
                self.fault(oldest.number, "it does not follow the entry that rotation removed last")
        elif oldest.number != 1:
            self.fault(oldest.number, f"entries 1 to {oldest.number - 1} are missing, no rotation took them")
        if oldest.number == 1 and (oldest.kind != BEGAN or oldest.previous != NOTHING_BEFORE):
            self.fault(1, "the log does not begin with its beginning")

    def _jump(self, number: int) -> None:
        if number > self.number:
            missing = number - self.number
            which = f"entry {self.number} is" if missing == 1 else f"entries {self.number} to {number - 1} are"
            self.fault(number, f"{which} missing before it")
        else:
            self.fault(number, f"it stands where entry {self.number} should: the order was changed")


def against(proof: Proof, known: Mapping[int, str], who: str) -> list[Fault]:
    """Hold a log against the hashes of entries that somebody else has, by number; `who` is "the region" for example.

    What rotation has removed since cannot be compared and is no fault.
    """
    here = {entry.number: computed for entry, computed in proof.entries}
    faults = []
    for number, stated in sorted(known.items()):
        if number < proof.first:
            continue
        if number not in here:
            end = ": the end was cut off" if number > proof.last else ""
            faults.append(Fault(number, f"it is not here, and {who} has it{end}"))
        elif here[number] != stated:
            faults.append(Fault(number, f"{who} has another one: it was written anew here"))
    if known and not proof.entries:
        faults = [Fault(max(known), f"no entry is here, and {who} has {len(known)}")]
    return faults[:FAULTS_MAX]
