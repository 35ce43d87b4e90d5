"""Asks the HTTP endpoint and the console of the daemon each second for their pages, as a monitor and a browser would.

Which pages there are is found out at the beginning: those of `PAGES` that do not answer 404.
"""

from __future__ import annotations

import http.client
import threading
import time
from typing import Self

from benchmarks.rows import quantile
from benchmarks.verdict import Check

PAGES = {"health": ("/metrics", "/status", "/healthz", "/readyz"), "console": ("/", "/now", "/series")}
INTERVAL_S = 1.0
TIMEOUT_S = 5.0
OK = 200
NOT_FOUND = 404


class Scraper:
    """Scrapes in a thread of its own while it is entered."""

    def __init__(self, listens: dict[str, str]) -> None:
        assert all(listens.values()), f"something does not listen: {listens}"
        self._thread = threading.Thread(target=self._run, name="scraper", daemon=True)
        self._ending = threading.Event()
        self._seconds: list[float] = []
        self._bytes = 0
        self.scrapes = self.failures = 0
        self.last_fault = ""
        places = [(listens[name], page) for name, pages in PAGES.items() for page in pages]
        self.pages = [place for place in places if self._get(*place)[0] != NOT_FOUND]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def sample(self) -> dict[str, float]:
        """Return the slowest page since the last sample, and how much all pages weigh together."""
        seconds, self._seconds = self._seconds, []
        slowest = max(seconds, default=0.0) * 1000
        half = quantile(seconds, 0.5) * 1000 if seconds else 0.0
        return {
            "scrape_p50_ms": round(half, 2),
            "scrape_max_ms": round(slowest, 1),
            "scrape_bytes": self._bytes,
            "scrape_failures": self.failures,
        }

    def checks(self) -> list[Check]:
        """Return whether every page was there each time."""
        pages = ", ".join(page for _, page in self.pages)
        said = f"{self.scrapes:,} times {pages}, {self.failures} failed {self.last_fault}"
        return [Check("scraped each second", said.rstrip(), not self.failures)]

    def _run(self) -> None:
        while not self._ending.wait(INTERVAL_S):
            total = 0
            self.scrapes += 1
            for listens, page in self.pages:
                began = time.monotonic()
                try:
                    status, size = self._get(listens, page)
                except (OSError, http.client.HTTPException) as error:
                    status, size = 0, 0
                    self.last_fault = f"{page}: {error}"
                if status != OK:
                    self.failures += 1
                    self.last_fault = self.last_fault or f"{page}: {status}"
                self._seconds.append(time.monotonic() - began)
                total += size
            self._bytes = total

    def _get(self, listens: str, page: str) -> tuple[int, int]:
        connection = http.client.HTTPConnection(listens, timeout=TIMEOUT_S)
        try:
            connection.request("GET", page)
            answer = connection.getresponse()
            return answer.status, len(answer.read())
        finally:
            connection.close()
