"""What differs between the packages: the release decides Python and glibc, the architecture the machine code."""

from __future__ import annotations

from typing import Final, NamedTuple


class Release(NamedTuple):
    """A release of Debian. `suffix` makes the package of a later release the newer one, so that an upgrade takes it."""

    name: str
    suffix: str
    python: str
    glibc: str


class Architecture(NamedTuple):
    """A machine, as Debian, wheels and ELF files name it."""

    name: str
    wheels: str
    elf: str


RELEASES: Final = {
    one.name: one
    for one in (Release("bookworm", "+deb12", "3.11", "2_36"), Release("trixie", "+deb13", "3.13", "2_40"))
}
ARCHITECTURES: Final = {
    one.name: one
    for one in (Architecture("amd64", "x86_64", "EM_X86_64"), Architecture("arm64", "aarch64", "EM_AARCH64"))
}
