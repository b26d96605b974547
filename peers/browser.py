"""A real browser: Debian's Chromium, driven by Playwright. It reaches nothing but the files that it is given."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from peers.missing import need, need_module

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

CHROMIUM = "/usr/bin/chromium"

PHONE, NARROW_PHONE, DESK = (390, 844), (320, 568), (1280, 800)
"""Sizes of windows in CSS pixels; 320 is the narrowest that WCAG 2.2 asks for (reflow, 1.4.10)."""


@dataclass
class Visit:
    """A page that a browser has opened.

    Attributes:
        page: the page, in Playwright's words.
        messages: what it wrote to the console, policies that it broke among it.
        requests: the addresses that it asked for.
    """

    page: Page
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def scrolls_sideways(self) -> bool:
        """Whether the page is wider than the window."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


@contextmanager
def start_browser() -> Iterator[Browser]:
    """Run Chromium; skip or fail the test where it is missing."""
    need("chromium", CHROMIUM)
    need_module("playwright")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not installed for Python 3.15

    with sync_playwright() as playwright:
        # Root has no sandbox, and the network is not to be used: component updates and the like are off.
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visit(
    browser: Browser, path: Path, size: tuple[int, int] = DESK, *, dark: bool = False, scripts: bool = False
) -> Iterator[Visit]:
    """Open a file.

    Args:
        browser: the browser.
        path: the file.
        size: of the window.
        dark: whether the person prefers dark colours.
        scripts: whether JavaScript is on; Tor Browser's safest level has it off. Then policies are off too, so that a
            test can run a script of its own in the page.
    """
    with browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        java_script_enabled=scripts,
        bypass_csp=scripts,
        offline=True,
    ) as context:
        opened = Visit(context.new_page())
        opened.page.on("console", lambda message: opened.messages.append(message.text))
        opened.page.on("pageerror", lambda error: opened.messages.append(str(error)))
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.goto(path.as_uri())
        yield opened
