"""A TCP proxy that does to a connection what networks and peers do: cut, refuse, swallow, stall, dawdle, reset.

It stands between a client and one server, on a loopback port that the kernel chose and that stays its own while it
refuses. "Up" is from client to server. Faults are asked for by any thread, and hold for the connections that live and
for later ones until they are taken back; only these spoil a connection for good: `cut`, `reset_after`, and a black
hole, because bytes that were swallowed would be missing in the middle of a stream (what has been in a black hole stays
there until it ends).

    pump: read a piece (not while stalled; a small one if slow) ▸ swallow? ▸ pace by rate ▸ wait for `delay_s` ▸ write

Each direction of a connection is one pump with one piece in the hand and, under a delay, at most `DELAYED_BYTES_MAX`
behind it; so a side that does not read holds up the other side, as without a proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections import deque
from typing import TYPE_CHECKING, Literal, Self

from tests.support.loop_thread import LoopThread

if TYPE_CHECKING:
    from collections.abc import Iterable

Direction = Literal["up", "down"]
BOTH: tuple[Direction, Direction] = ("up", "down")

PIECE_BYTES = 65536
SLOW_PIECES_S = 20.0
"""Pieces a second under a rate limit: small and many, as a narrow line has them."""
DELAYED_BYTES_MAX = 1 << 20
LOOK_S = 0.01
_RESET = struct.pack("ii", 1, 0)


class Manner:
    """What is done to one direction."""

    def __init__(self) -> None:
        self.is_black = False
        self.is_stalled = False
        self.bytes_s = 0.0
        self.delay_s = 0.0
        self.reset_after: int | None = None
        self.total = 0


class FaultProxy:
    """The proxy of `host:port`; `port` is its own, `connects` when clients came (seconds, monotonic)."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._upstream = (host, port)
        self._thread = LoopThread("fault-proxy")
        self._manners: dict[Direction, Manner] = {direction: Manner() for direction in BOTH}
        self._pairs: set[_Pair] = set()
        self._window = 0
        self._listener: socket.socket | None = None
        self._serving: set[asyncio.Task[None]] = set()
        # Bound and never listening, it keeps the port ours while connections are refused.
        self._place = _bound(0)
        self.port: int = self._place.getsockname()[1]
        self.connects: list[float] = []

    def __enter__(self) -> Self:
        self._thread.__enter__()
        self._thread.call(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.call(self._deafen)
        self._thread.__exit__()
        self._place.close()

    def moved(self, direction: Direction) -> int:
        """Return how many bytes were read in a direction so far, over all connections."""
        return self._manners[direction].total

    def living(self) -> int:
        """Return how many connections live."""
        return len(self._pairs)

    def cut(self, *, with_reset: bool = False) -> int:
        """End every connection now, by FIN or RST; return how many there were."""

        async def end() -> int:
            pairs = list(self._pairs)
            for pair in pairs:
                pair.end(with_reset=with_reset)
            while any(pair in self._pairs for pair in pairs):  # noqa: ASYNC110  # bounded by the caller
                await asyncio.sleep(0)
            return len(pairs)

        return self._thread.wait(end())

    def refuse(self, *, refuses: bool = True) -> None:
        """Refuse new connections, or no more; those that live go on."""
        self._thread.call(self._deafen if refuses else self._listen)

    def black_hole(self, directions: Iterable[Direction] = BOTH, *, swallows: bool = True) -> None:
        """Swallow what is sent, while nothing closes: a half-open connection. New ones are accepted into it too."""
        self._each(directions, "is_black", swallows)

    def stall(self, directions: Iterable[Direction] = BOTH, *, stalls: bool = True) -> None:
        """Read nothing more, so that the sender's line fills up; what was held up goes on later."""
        self._each(directions, "is_stalled", stalls)

    def limit(self, bytes_s: float, directions: Iterable[Direction] = BOTH) -> None:
        """Let so many bytes a second through; 0 means any number."""
        self._each(directions, "bytes_s", bytes_s)

    def delay(self, delay_s: float, directions: Iterable[Direction] = BOTH) -> None:
        """Let everything arrive so much later."""
        self._each(directions, "delay_s", delay_s)

    def reset_after(self, count: int, direction: Direction = "up") -> None:
        """Let `count` bytes more through, then reset the connection that brought the next one, once."""
        self._each((direction,), "reset_after", count)

    def read_slowly(self, bytes_s: float, window_bytes: int = 4096) -> None:
        """Read what clients send at this rate, out of a small receive window; the window of new connections counts."""

        def slow() -> None:
            self._window = window_bytes if bytes_s else 0
            for pair in self._pairs:
                _narrow(pair.client, self._window)
            if self._listener is not None:  # connections have the window of their listener
                self._deafen()
                self._listen()

        self._thread.call(slow)
        self.limit(bytes_s, ("up",))

    def heal(self) -> None:
        """Take every fault back."""
        for name, value in (("is_black", False), ("is_stalled", False), ("bytes_s", 0.0), ("delay_s", 0.0)):
            self._each(BOTH, name, value)
        self._each(BOTH, "reset_after", None)
        self.read_slowly(0.0)
        self.refuse(refuses=False)

    def _each(self, directions: Iterable[Direction], name: str, value: object) -> None:
        for direction in directions:
            setattr(self._manners[direction], name, value)

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = _bound(self.port)
            _narrow(self._listener, self._window)
            self._listener.setblocking(False)
            self._listener.listen(1024)
            self._thread.loop.add_reader(self._listener, self._accept, self._listener)

    def _deafen(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            self._thread.loop.remove_reader(listener)
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        """Take a connection. Not with `sock_accept`: cancelled at the wrong moment it leaves its socket to nobody."""
        try:
            client, _ = listener.accept()
        except OSError:  # it is gone again
            return
        self.connects.append(time.monotonic())
        pair = _Pair(client)
        self._pairs.add(pair)
        task = asyncio.ensure_future(self._serve(pair))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        # However it ends, also when it is cancelled before its first step or again in its last one.
        task.add_done_callback(lambda _, pair=pair: self._closed(pair))

    def _closed(self, pair: _Pair) -> None:
        pair.close()
        self._pairs.discard(pair)

    async def _serve(self, pair: _Pair) -> None:
        work = asyncio.ensure_future(self._work(pair))
        over = asyncio.ensure_future(pair.over.wait())
        try:
            await asyncio.wait({work, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, over):
                task.cancel()
            await asyncio.gather(work, over, return_exceptions=True)  # a side that is gone ends the other one

    async def _work(self, pair: _Pair) -> None:
        if any(manner.is_black for manner in self._manners.values()):
            await _swallow(pair.client)
            return
        server = await self._reached()
        if server is None:
            return
        pair.server = server
        up = asyncio.ensure_future(_Pump(pair, pair.client, server, self._manners["up"]).run())
        down = asyncio.ensure_future(_Pump(pair, server, pair.client, self._manners["down"]).run())
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _reached(self) -> socket.socket | None:
        server = socket.socket()
        server.setblocking(False)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().sock_connect(server, self._upstream)
        except OSError:
            server.close()
            return None
        except asyncio.CancelledError:
            server.close()
            raise
        return server


class _Pair:
    """The two sockets of one connection."""

    def __init__(self, client: socket.socket) -> None:
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client = client
        self.server: socket.socket | None = None
        self.over = asyncio.Event()
        self._is_reset = False

    def end(self, *, with_reset: bool) -> None:
        """Ask for the end of both sides."""
        self._is_reset = with_reset
        self.over.set()

    def close(self) -> None:
        """Close both sides, when nothing is pumping any more."""
        for one in (self.client, self.server):
            if one is not None:
                if self._is_reset:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                one.close()


class _Pump:
    """One direction of one connection."""

    def __init__(self, pair: _Pair, source: socket.socket, target: socket.socket, manner: Manner) -> None:
        self._pair = pair
        self._source = source
        self._target = target
        self._manner = manner
        self._delayed: deque[tuple[float, bytes]] = deque()
        self._delayed_bytes = 0
        self._changed = asyncio.Event()
        self._is_black = False
        self._paced_at = 0.0

    async def run(self) -> None:
        """Move bytes until either side ends."""
        reading, writing = asyncio.ensure_future(self._read()), asyncio.ensure_future(self._write())
        try:
            await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reading, writing):
                task.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)

    async def _read(self) -> None:
        loop, manner = asyncio.get_running_loop(), self._manner
        while True:
            await self._free()
            data = await loop.sock_recv(self._source, self._piece())
            await self._free()  # a stall may have begun while we waited
            if not data:
                await self._delivered()
                return
            manner.total += len(data)
            self._is_black = self._is_black or manner.is_black
            if self._is_black:
                continue
            ends, data = self._shortened(data)
            await self._pace(len(data))
            self._delayed.append((loop.time() + manner.delay_s, data))
            self._delayed_bytes += len(data)
            self._changed.set()
            if ends:
                await self._delivered()
                self._pair.end(with_reset=True)

    async def _free(self) -> None:
        while self._manner.is_stalled or self._delayed_bytes > DELAYED_BYTES_MAX:  # noqa: ASYNC110  # told by a thread
            await asyncio.sleep(LOOK_S)

    def _piece(self) -> int:
        rate = self._manner.bytes_s
        return max(1, min(PIECE_BYTES, int(rate / SLOW_PIECES_S))) if rate else PIECE_BYTES

    def _shortened(self, data: bytes) -> tuple[bool, bytes]:
        left = self._manner.reset_after
        if left is None:
            return False, data
        if left > len(data):
            self._manner.reset_after = left - len(data)
            return False, data
        self._manner.reset_after = None
        return True, data[:left]

    async def _pace(self, size: int) -> None:
        now, rate = asyncio.get_running_loop().time(), self._manner.bytes_s
        self._paced_at = max(self._paced_at, now) + (size / rate if rate else 0.0)
        if rate:
            await asyncio.sleep(self._paced_at - now)

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._delayed:
                self._changed.clear()
                await self._changed.wait()
            due, data = self._delayed[0]
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            await loop.sock_sendall(self._target, data)
            self._delayed.popleft()
            self._delayed_bytes -= len(data)

    async def _delivered(self) -> None:
        while self._delayed:  # noqa: ASYNC110  # ends with the connection at the latest
            await asyncio.sleep(LOOK_S)


async def _swallow(client: socket.socket) -> None:
    """Accept everything and answer nothing, until the client ends."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while await loop.sock_recv(client, PIECE_BYTES):
            pass


def _bound(port: int) -> socket.socket:
    made = socket.socket()
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    return made


def _narrow(one: socket.socket, window_bytes: int) -> None:
    if window_bytes:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window_bytes)
