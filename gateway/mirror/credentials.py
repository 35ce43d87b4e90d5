"""The three files that say who we are and whom we trust, and whether they have changed since they were read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gateway.errors import CredentialError
from gateway.transport.tls import client_context

if TYPE_CHECKING:
    import ssl


class Credentials:
    """CA, certificate and key of one region. Renewal may write file by file: a set that does not fit is not used."""

    def __init__(self, ca: str, certificate: str, key: str) -> None:
        self._paths = (ca, certificate, key)
        self._used: tuple[object, ...] | None = None
        self._refused: tuple[object, ...] | None = None
        self.fault = ""

    def context(self) -> ssl.SSLContext:
        """Return a context of the files as they are now. Raises `CredentialError`."""
        state = self._state()
        context = client_context(*self._paths)
        self._used, self.fault = state, ""
        return context

    def have_changed(self) -> bool:
        """Say whether files other than those in use are there and fit together; what does not fit is in `fault`."""
        state = self._state()
        if state in (self._used, self._refused):
            return False
        try:
            client_context(*self._paths)
        except CredentialError as error:
            self._refused, self.fault = state, f"new credentials are not used: {error.fault}"
            return False
        return True

    def _state(self) -> tuple[object, ...]:
        return tuple(_state_of(Path(path)) for path in self._paths)


def _state_of(path: Path) -> object:
    try:
        status = path.stat()
    except OSError as error:
        return error.errno
    return status.st_mtime_ns, status.st_size, status.st_ino
