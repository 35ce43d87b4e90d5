"""Sockets that a library opens for us, and what the kernel has counted on them.

A library for HTTP shows neither how much of a request the peer has taken nor what it cost on the line. Linux knows both
(`struct tcp_info`), as long as a socket is open; what it said last is kept of those that were closed.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Any, Final, NamedTuple

SEGMENT_OVERHEAD_BYTES: Final = 52
"""Headers of IPv4 and of TCP with its timestamps."""

_TCP_INFO: Final = struct.Struct("@120xQQII56xQ")
"""Of linux/tcp.h, since 4.19: bytes_acked, bytes_received, segs_out, segs_in, bytes_sent."""
_RESET: Final = struct.pack("ii", 1, 0)
"""`struct linger` of socket(7): closing drops what is unsent, and resets."""


class _Told(NamedTuple):
    """What TCP counts of a connection."""

    acknowledged: int = 0
    received: int = 0
    segments_out: int = 0
    segments_in: int = 0
    sent: int = 0


class CountedSockets:
    """Makes the sockets of one connection after the other."""

    def __init__(self) -> None:
        self.made = 0
        self._open: list[tuple[socket.socket, _Told]] = []
        self._past_taken = self._past_traffic = 0

    def make(self, address: tuple[Any, ...]) -> socket.socket:
        """Return a new socket for an address as `socket.getaddrinfo` gives it."""
        self.look()
        family, kind, protocol = address[:3]
        made = socket.socket(family, kind, protocol)
        self.made += 1
        self._open.append((made, _Told()))
        return made

    def look(self) -> int:
        """Return the bytes that peers' kernels have taken so far. What closes between two looks is not counted."""
        found = [(sock, _told(sock, before)) for sock, before in self._open]
        self._open = [(sock, told) for sock, told in found if sock.fileno() >= 0]
        for sock, told in found:
            if sock.fileno() < 0:
                self._past_taken += told.acknowledged
                self._past_traffic += _traffic(told)
        return self._past_taken + sum(told.acknowledged for _, told in self._open)

    def traffic(self) -> int:
        """Return the bytes on the line so far, both ways: TCP's own count with what was sent again, and headers."""
        self.look()
        return self._past_traffic + sum(_traffic(told) for _, told in self._open)

    def abort(self) -> None:
        """End all connections now, with what is unsent, which else would go before all that comes next."""
        for sock, _ in self._open:
            with contextlib.suppress(OSError):  # the peer, or the library, may have closed it meanwhile
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                sock.shutdown(socket.SHUT_RDWR)  # the library hears of it, and closes


def _told(sock: socket.socket, before: _Told) -> _Told:
    if sock.fileno() < 0:
        return before
    answer = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    return _Told(*_TCP_INFO.unpack(answer)) if len(answer) == _TCP_INFO.size else before


def _traffic(told: _Told) -> int:
    return told.sent + told.received + (told.segments_out + told.segments_in) * SEGMENT_OVERHEAD_BYTES
