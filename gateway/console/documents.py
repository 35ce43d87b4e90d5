"""What the page shows, as JSON: one document for each view.

    now             the picture of the node, see `health.picture`; made once a second at most, however many ask
    series          recent readings of series whose names hold some words
    quarantine      the newest messages in quarantine, how many there are of each reason; one message with its payload
    configuration   every effective value with its origin

Pictures are made and files read in a thread of their own, one question at a time. No value that may be a secret leaves
the node: options name files of secrets, never hold them, and of a URL user, password and query are left out.
"""

from __future__ import annotations

import asyncio
import re
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway import redaction
from gateway.health.picture import Watch
from gateway.quarantine import FILE_NAME, Selection, look, payload, reasons, select

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeVar

    from gateway.console.contract import Desk
    from gateway.quarantine import Kept

    T = TypeVar("T")

MADE_ANEW_S: Final = 0.9
"""Less than the second in which a page asks again, so that none sees one answer twice."""

SERIES_MAX: Final = 60
MESSAGES_MAX: Final = 100
WORDS_CHARACTERS_MAX: Final = 200
PAYLOAD_BYTES_MAX: Final = 64 * 1024

_URL: Final = re.compile(r"\b([a-z][a-z0-9+.-]*://)(?:[^/\s\"'@]*@)?([^\s\"'?#]*)(\?[^\s\"'#]*)?")


class Documents:
    """The documents of one daemon."""

    def __init__(self, desk: Desk, folder: Path) -> None:
        self._desk = desk
        self.path = folder / FILE_NAME
        self.files = ThreadPoolExecutor(1, "console")
        self._watch = Watch()
        self._made_at = -MADE_ANEW_S
        self._picture = msgspec.Raw(b"null")
        self._making = asyncio.Lock()

    def close(self) -> None:
        """Let go of the thread."""
        self.files.shutdown(wait=False, cancel_futures=True)

    async def now(self) -> msgspec.Raw:
        """Return the picture of the node, encoded. Only the status is taken on the loop."""
        async with self._making:
            now = time.monotonic()
            if now - self._made_at >= MADE_ANEW_S:
                status = self._desk.status()
                self._picture = await self.asked(lambda: self._made(now, status))
                self._made_at = now
            return self._picture

    def _made(self, now_s: float, status: dict[str, object]) -> msgspec.Raw:
        picture = self._watch.look(now_s, status)
        return msgspec.Raw(msgspec.json.encode(redaction.masked_all(msgspec.to_builtins(picture))))

    def series(self, words: str) -> dict[str, Any]:
        """Return recent readings."""
        recent = self._desk.recent
        found, total = recent.find(words[:WORDS_CHARACTERS_MAX], SERIES_MAX) if recent is not None else ([], 0)
        return {"series": found, "total": total}

    async def quarantine(self, reason: str) -> dict[str, Any]:
        """Return the newest messages, newest first. Raises `StoreError`."""
        if not self.path.exists():
            return {"messages": [], "reasons": {}}

        def question(rows: sqlite3.Connection) -> tuple[list[Kept], dict[str, int]]:
            return select(rows, Selection(reason=reason), MESSAGES_MAX), reasons(rows, Selection())

        found, counts = await self.asked(lambda: look(self.path, question))
        return {"messages": [_said(one) for one in reversed(found)], "reasons": counts}

    async def message(self, key: int) -> dict[str, Any] | None:
        """Return one message with what is kept of its payload; None when it is not there. Raises `StoreError`."""
        if not self.path.exists():
            return None

        def question(rows: sqlite3.Connection) -> tuple[list[Kept], bytes | None]:
            return select(rows, Selection(keys=(key,))), payload(rows, key)

        found, data = await self.asked(lambda: look(self.path, question))
        if not found or data is None:
            return None
        return {**_said(found[0]), "payload": b64encode(data[:PAYLOAD_BYTES_MAX]).decode()}

    def configuration(self) -> dict[str, Any]:
        """Return every effective value of the node with its origin."""
        lines = [one for one in self._desk.effective if not one.key.startswith("receiver")]
        return {"values": [[one.key, shown_value(redaction.masked(one.value)), one.origin] for one in lines]}

    async def asked(self, question: Callable[[], T]) -> T:
        """Answer a question in the thread of files."""
        return await asyncio.get_running_loop().run_in_executor(self.files, question)


def shown_value(value: str) -> str:
    """Return a value without what is secret in it: user, password and query of a URL."""
    return _URL.sub(lambda url: f"{url[1]}{url[2]}{'?…' if url[3] else ''}", value)


def _said(one: Kept) -> dict[str, Any]:
    # Keys have more digits than a number of JavaScript holds.
    return {**one._asdict(), "key": str(one.key), "time_ms": one.wall_ns // 1_000_000, "is_whole": one.is_whole}
