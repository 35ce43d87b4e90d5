"""The console in a headless Chromium. Whatever leaves its origin, fails in a script or breaks its policy is noted.

With GATEWAY_PICTURES set to a folder, `Page.picture` writes there what a person would see.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import Browser, expect, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import ConsoleMessage, Locator
    from playwright.sync_api import Page as Tab

ANSWER_MS = 15_000
PICTURES = os.environ.get("GATEWAY_PICTURES", "")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Run the machine's Chromium."""
    program = shutil.which("chromium")
    assert program, "the tests need Chromium: apt-get install chromium"
    expect.set_options(timeout=ANSWER_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])  # root has no sandbox
        try:
            yield browser
        finally:
            browser.close()


class Page:
    """One tab with the console. `faults` is what must not happen; answers of 4xx that a test provokes are not in it."""

    def __init__(self, tab: Tab, origin: str) -> None:
        self.tab = tab
        self.faults: list[str] = []
        self._origin = origin
        tab.on("request", lambda one: self._note_request(one.url))
        tab.on("console", self._note_message)
        tab.on("pageerror", lambda error: self.faults.append(f"a script failed: {error}"))
        tab.on("dialog", lambda dialog: self.faults.append(f"a dialog was opened: {dialog.message}"))

    def open(self, view: str = "overview") -> None:
        """Go to a view, and wait until it has been answered."""
        self.tab.goto(f"{self._origin}/#/{view}")
        expect(self.tab.locator("#state")).not_to_have_text("asking …")
        expect(self.part(view)).to_be_visible()

    def part(self, view: str) -> Locator:
        return self.tab.locator(f"#{view}")

    def row(self, table: str, name: str) -> Locator:
        """Return the row with this header of the table with this caption."""
        found = self.tab.get_by_role("table", name=table)
        return found.get_by_role("row").filter(has=self.tab.get_by_role("rowheader", name=name, exact=True))

    def picture(self, name: str) -> None:
        if PICTURES:
            self.tab.screenshot(path=str(Path(PICTURES) / f"{name}.png"), full_page=True)

    def _note_request(self, url: str) -> None:
        if not url.startswith(f"{self._origin}/"):
            self.faults.append(f"something left the origin: {url}")

    def _note_message(self, message: ConsoleMessage) -> None:
        is_provoked = message.text.startswith("Failed to load resource")
        if message.type in {"error", "warning"} and not is_provoked:
            self.faults.append(f"{message.type}: {message.text}")


@contextlib.contextmanager
def page(browser: Browser, origin: str, width: int = 1280, height: int = 900, scheme: str = "light") -> Iterator[Page]:
    """Open a tab of this size, and check at the end that nothing happened that must not."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    try:
        found = Page(context.new_page(), origin)
        yield found
        assert found.faults == []
    finally:
        context.close()
