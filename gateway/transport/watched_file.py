"""A file with a secret that others renew: read again when it has changed, before the next use.

Renewal may be caught half-way: a content that is no good is reported once, and what was read before goes on being used.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from gateway import redaction
from gateway.errors import CredentialError

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

Secret = TypeVar("Secret")


class WatchedFile(Generic[Secret]):
    """The file at `path`; `parse` makes the secret of its bytes, and raises `ValueError` that says what is wrong."""

    def __init__(self, path: str, parse: Callable[[bytes], Secret]) -> None:
        self._path = Path(path)
        self._parse = parse
        self._seen: tuple[int, int, int] | None = None
        self._secret: Secret | None = None
        self._fault = ""

    def secret(self) -> Secret:
        """Return what the file holds, or held when it was last any good. Raises `CredentialError`."""
        try:
            self._read()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            fault = f"cannot use {self._path}: {reason}"
            if self._secret is None:
                raise CredentialError(fault, path=str(self._path)) from error
            if fault != self._fault:
                log.warning("%s; what was read before is used", fault)
            self._fault = fault
        assert self._secret is not None
        return self._secret

    def _read(self) -> None:
        found = self._path.stat()
        state = found.st_mtime_ns, found.st_size, found.st_ino
        if state != self._seen:
            data = self._path.read_bytes()
            redaction.learn(data.strip())
            self._secret = self._parse(data)
            self._seen, self._fault = state, ""
