"""What the kernel has counted on a TCP connection, how one is answered soon, and how one is ended at once.

Source: `struct tcp_info` of linux/tcp.h, since 4.19; `struct linger` of socket(7).
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Final, NamedTuple

SEGMENT_OVERHEAD_BYTES: Final = 52
"""Headers of IPv4 and of TCP with its timestamps."""

_TCP_INFO: Final = struct.Struct("@120xQQII56xQ")
"""bytes_acked, bytes_received, segs_out, segs_in, bytes_sent."""
_RESET: Final = struct.pack("ii", 1, 0)


class Counts(NamedTuple):
    """What TCP counts of a connection; `sent` includes what was sent again, `acknowledged` is what the peer took."""

    acknowledged: int = 0
    received: int = 0
    segments_out: int = 0
    segments_in: int = 0
    sent: int = 0

    @property
    def traffic(self) -> int:
        """Bytes on the line, both ways, with all headers."""
        return self.sent + self.received + (self.segments_out + self.segments_in) * SEGMENT_OVERHEAD_BYTES


def counts_of(sock: socket.socket | None, before: Counts) -> Counts:
    """Return what the kernel counts now; `before`, what it said last, when the socket is closed."""
    if sock is None or sock.fileno() < 0:
        return before
    answer = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    return Counts(*_TCP_INFO.unpack(answer)) if len(answer) == _TCP_INFO.size else before


def acknowledge_soon(sock: socket.socket | None) -> None:
    """Let the kernel acknowledge what was read, and what is read next, without waiting for data of ours to go with it.

    The option holds until the kernel thinks otherwise (tcp(7)), so it is set again at each read.
    """
    if sock is not None:
        with contextlib.suppress(OSError):  # closed by now, or not of TCP
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def drop_unsent(sock: socket.socket) -> None:
    """Let closing drop what is unsent, and reset: else the kernel sends it before all that the next connection does."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
