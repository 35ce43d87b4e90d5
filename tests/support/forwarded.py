"""A loopback port that leads to a Unix socket, as `ssh -L PORT:SOCKET` makes one for a browser."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Self

CHUNK_BYTES = 65536


class Forwarded:
    """Forwards each connection to `port` until the end of the block."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, name="forwarded", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(5)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._server.accept()[0]
                far = socket.socket(socket.AF_UNIX)
                try:
                    far.connect(str(self._path))
                except OSError:
                    far.close()
                    near.close()
                    continue
                pair = [threading.Thread(target=_pour, args=ends, daemon=True) for ends in ((near, far), (far, near))]
                for thread in pair:
                    thread.start()
                threading.Thread(target=_closed, args=(pair, near, far), daemon=True).start()


def _pour(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK_BYTES):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _closed(pair: list[threading.Thread], near: socket.socket, far: socket.socket) -> None:
    for thread in pair:
        thread.join()
    near.close()
    far.close()
