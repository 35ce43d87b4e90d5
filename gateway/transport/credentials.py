"""The files that say who we are and whom we trust, and whether they have changed since they were read."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gateway.errors import CredentialError
from gateway.transport.tls import client_context

if TYPE_CHECKING:
    import ssl


class PemFiles(NamedTuple):
    """Contents of the files of one party, PEM; certificate and key are empty where it shows none."""

    ca: bytes
    certificate: bytes
    key: bytes


class Credentials:
    """CA, certificate and key of one region, and the files of `secrets` (passwords, tokens), which are only watched.

    Renewal may write file by file, or fail half-way: a set that does not fit is not used, and reported in `fault`; what
    was read before goes on being used, so that a link which breaks meanwhile can be made again.
    """

    def __init__(self, ca: str, certificate: str, key: str, *secrets: str) -> None:
        self._paths = (ca, certificate, key)
        self._secrets = tuple(path for path in secrets if path)
        self._context: ssl.SSLContext | None = None
        self._pem = PemFiles(b"", b"", b"")
        self._used: tuple[object, ...] | None = None
        self._refused: tuple[object, ...] | None = None
        self.fault = ""

    def context(self) -> ssl.SSLContext:
        """Return a context of the files as they are now, or of the last that fitted. Raises `CredentialError`."""
        state = self._state()
        try:
            self._context = client_context(*self._paths)
            self._pem = PemFiles(*map(_content, self._paths))
        except CredentialError as error:
            if self._context is None:
                raise
            self._refuse(state, error)
        else:
            self._used, self.fault = state, ""
        return self._context

    def pem_files(self) -> PemFiles:
        """Return the same for a library that makes its own context. Raises `CredentialError`."""
        self.context()
        return self._pem

    def have_changed(self) -> bool:
        """Say whether files other than those in use are there and fit together; what does not fit is in `fault`."""
        state = self._state()
        if state == self._used:
            self._refused, self.fault = None, ""  # what did not fit was taken back
            return False
        if state == self._refused:
            return False
        try:
            client_context(*self._paths)
        except CredentialError as error:
            self._refuse(state, error)
            return False
        return True

    def _refuse(self, state: tuple[object, ...], error: CredentialError) -> None:
        self._refused, self.fault = state, f"new credentials are not used: {error.fault}"

    def _state(self) -> tuple[object, ...]:
        return tuple(_state_of(Path(path)) for path in (*self._paths, *self._secrets))


def _content(path: str) -> bytes:
    try:
        return Path(path).read_bytes() if path else b""
    except OSError as error:
        raise CredentialError(f"cannot read {path}: {error.strerror}", path=path) from error


def _state_of(path: Path) -> object:
    """Return what tells one content from another, or why there is none.

    Not the file's times: they do not tell that a permission was repaired, and they do tell of a file that was only
    touched, for which no link need be made anew.
    """
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError as error:
        return error.errno
