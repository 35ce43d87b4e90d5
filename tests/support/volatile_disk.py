"""A disk with a write cache that forgets: what its machine has not flushed may be gone after a power cut.

A block device for one qemu over a loopback port, in the NBD protocol's oldest form (no negotiation: the greeting says
size and abilities; `doc/proto.md` of the NBD project). Writes go to the file at once, and what stood there before is
remembered until the machine flushes. A cut puts some of that back, block by block and at random, so that late writes
may be there without the early ones, as with a real drive's cache.

The disk can be told to lose its power at the n-th write from now: it answers nothing more, so that the moment lies
exactly between two of the machine's operations, however long it takes until somebody kills the machine.

Invariant: a flush is answered when nothing before it is remembered; so what was written before it stays.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from pathlib import Path

BLOCK = 4096
GREETING = struct.Struct(">8sQQI124x")
REQUEST = struct.Struct(">IHHQQI")
REPLY = struct.Struct(">IIQ")
OLDSTYLE = 0x00420281861253
REQUEST_MAGIC, REPLY_MAGIC = 0x25609513, 0x67446698
HAS_FLAGS, SENDS_FLUSH = 1, 4
READ, WRITE, DISCONNECT, FLUSH = range(4)


class VolatileDisk:
    """Serves `image` at loopback `port` to one machine at a time; `writes` and `flushes` count what was asked for."""

    def __init__(self, image: Path) -> None:
        self._file = os.open(image, os.O_RDWR)
        self._size = image.stat().st_size
        self._before: dict[int, bytes] = {}
        self._thread: threading.Thread | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._writes_left = -1
        self._is_dark = threading.Event()
        self.writes = self.flushes = 0

    def close(self) -> None:
        """End; the machine must be off."""
        self._listener.shutdown(socket.SHUT_RDWR)  # ends a wait for a machine that never came
        self._join()
        self._listener.close()
        os.close(self._file)

    def expect(self) -> None:
        """Serve the next machine that connects, until it is gone."""
        self._join()
        self._writes_left = -1
        self._is_dark.clear()
        self._thread = threading.Thread(target=self._serve, name="disk", daemon=True)
        self._thread.start()

    def go_dark_after(self, writes: int, timeout_s: float) -> bool:
        """Answer nothing after so many more writes; return whether that came true in time."""
        self._writes_left = writes
        return self._is_dark.wait(timeout_s)

    def cut(self, chance: random.Random, share: float) -> tuple[int, int]:
        """Undo about `share` of the blocks that were not flushed; return (undone, not flushed). The machine is dead."""
        self._join()
        waiting, self._before = self._before, {}
        undone = [block for block in waiting if chance.random() < share]
        for block in undone:
            os.pwrite(self._file, waiting[block], block * BLOCK)
        return len(undone), len(waiting)

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _serve(self) -> None:
        try:
            link, _ = self._listener.accept()
        except OSError:
            return
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with link, link.makefile("rb") as stream:
            try:
                link.sendall(GREETING.pack(b"NBDMAGIC", OLDSTYLE, self._size, HAS_FLAGS | SENDS_FLUSH))
                while head := stream.read(REQUEST.size):
                    magic, _, kind, handle, offset, length = REQUEST.unpack(head)
                    assert magic == REQUEST_MAGIC, head
                    if kind == DISCONNECT:
                        return
                    data = self._do(kind, offset, length, stream.read(length) if kind == WRITE else b"")
                    if kind == WRITE and self._writes_left == 0:
                        self._is_dark.set()
                        stream.read()  # until the machine is killed
                        return
                    link.sendall(REPLY.pack(REPLY_MAGIC, 0, handle) + data)
            except (ConnectionError, struct.error):
                return  # killed in the middle of a request

    def _do(self, kind: int, offset: int, length: int, data: bytes) -> bytes:
        if kind == READ:
            return os.pread(self._file, length, offset)
        if kind == FLUSH:
            self._before.clear()
            self.flushes += 1
            return b""
        assert kind == WRITE, kind
        if len(data) < length:
            raise ConnectionError
        for block in range(offset // BLOCK, -(-(offset + length) // BLOCK)):
            if block not in self._before:
                self._before[block] = os.pread(self._file, BLOCK, block * BLOCK)
        os.pwrite(self._file, data, offset)
        self.writes += 1
        self._writes_left -= 1
        return b""
