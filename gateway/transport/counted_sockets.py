"""Sockets that a library opens for us, and what the kernel has counted on them.

A library for HTTP shows neither how much of a request the peer has taken nor what it cost on the line. Linux knows both
(`struct tcp_info`), as long as a socket is open; what it said last is kept of those that were closed.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from gateway.transport.counted import Counts, counts_of, drop_unsent


class CountedSockets:
    """Makes the sockets of one connection after the other."""

    def __init__(self) -> None:
        self.made = 0
        self._open: list[tuple[socket.socket, Counts]] = []
        self._past_taken = self._past_traffic = 0

    def make(self, address: tuple[Any, ...]) -> socket.socket:
        """Return a new socket for an address as `socket.getaddrinfo` gives it."""
        self.look()
        family, kind, protocol = address[:3]
        made = socket.socket(family, kind, protocol)
        self.made += 1
        self._open.append((made, Counts()))
        return made

    def look(self) -> int:
        """Return the bytes that peers' kernels have taken so far. What closes between two looks is not counted."""
        found = [(sock, counts_of(sock, before)) for sock, before in self._open]
        self._open = [(sock, told) for sock, told in found if sock.fileno() >= 0]
        for sock, told in found:
            if sock.fileno() < 0:
                self._past_taken += told.acknowledged
                self._past_traffic += told.traffic
        return self._past_taken + sum(told.acknowledged for _, told in self._open)

    def traffic(self) -> int:
        """Return the bytes on the line so far, both ways: TCP's own count with what was sent again, and headers."""
        self.look()
        return self._past_traffic + sum(told.traffic for _, told in self._open)

    def abort(self) -> None:
        """End all connections now, with what is unsent, which else would go before all that comes next."""
        for sock, _ in self._open:
            with contextlib.suppress(OSError):  # the peer, or the library, may have closed it meanwhile
                drop_unsent(sock)
                sock.shutdown(socket.SHUT_RDWR)  # the library hears of it, and closes
