"""Log lines to systemd's journal in its native protocol: fields, and a write that never waits.

A datagram to `/run/systemd/journal/socket` holds one entry: `NAME=value` and a newline for each field; where a value
has a newline itself, the name, a newline, the length as 64 bits, the bytes, a newline. Unlike standard error, which is
a stream to the same journal, the socket is ours alone: it does not block, so a journal that hangs costs lines, which
are counted, and never the gateway's time.

Source: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/ and "JOURNAL_STREAM" in systemd.exec(5).
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET: Final = "/run/systemd/journal/socket"
VALUE_BYTES_MAX: Final = 32 * 1024
"""Bound of one value, so that an entry fits a datagram; what is longer is cut, and says so."""

_LENGTH: Final = struct.Struct("<Q")


def is_connected(descriptor: int = 2) -> bool:
    """Say whether a descriptor is the stream to the journal that systemd started us with."""
    try:
        device, inode = map(int, os.environ.get("JOURNAL_STREAM", "").split(":"))
        found = os.fstat(descriptor)
    except (ValueError, OSError):
        return False
    return (found.st_dev, found.st_ino) == (device, inode)


def entry(fields: Mapping[str, str]) -> bytes:
    """Return the bytes of one entry."""
    return b"".join(_field(name, value) for name, value in fields.items())


def _field(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "backslashreplace")
    if len(data) > VALUE_BYTES_MAX:
        data = data[:VALUE_BYTES_MAX] + f"… {len(data) - VALUE_BYTES_MAX} bytes are cut".encode()
    if b"\n" in data:
        return b"%s\n%s%s\n" % (name.encode(), _LENGTH.pack(len(data)), data)
    return b"%s=%s\n" % (name.encode(), data)


class JournalSocket:
    """The socket. `unheard` counts entries that the journal had no room for, until it is set back."""

    def __init__(self, path: str = SOCKET) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self.unheard = 0

    def send(self, fields: Mapping[str, str]) -> bool:
        """Hand over one entry, or count it; False when there is no journal to hand it to."""
        data = entry(fields)
        for _ in range(2):  # the journal may have begun anew since
            try:
                self._opened().send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except BlockingIOError:
                self.unheard += 1
                return True
            except OSError:
                self.close()
            else:
                return True
        return False

    def close(self) -> None:
        """Let go of the socket."""
        found, self._socket = self._socket, None
        if found is not None:
            found.close()

    def _opened(self) -> socket.socket:
        if self._socket is None:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            try:
                made.connect(self._path)
            except OSError:
                made.close()
                raise
            self._socket = made
        return self._socket
