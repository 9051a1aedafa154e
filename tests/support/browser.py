"""A headless Chromium, and pages that are drawn once in each colour scheme and looked at by all tests of a file."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.exhaustive import EXHAUSTIVE

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]  # fmt: skip
NEEDS_BROWSER = pytest.mark.skipif(BROWSER is None, reason="no Chromium on the path")
SCHEMES = ["light", "dark"] if EXHAUSTIVE else ["light"]
"""Colour schemes of a test that does not ask for both."""
DESK = {"width": 1280, "height": 900}


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    with pytest.importorskip("playwright.sync_api", reason="needs playwright").sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        yield started
        started.close()


def open_page(browser: Any, address: str, scheme: str, ready: str, width: int = DESK["width"]) -> Any:
    """Return the page at an address, drawn, in a context of its own; what the browser complained of is in `complaints`."""
    page = browser.new_context(color_scheme=scheme, viewport=DESK | {"width": width}).new_page()
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda asked: None if asked.url == address else page.complaints.append(f"asked for {asked.url[:80]}"))
    page.goto(address)
    page.wait_for_function(ready)
    return page


def opener(browser: Any, address: str, ready: str) -> Iterator[Callable[[str], Any]]:
    """Give a function that opens the page in a colour scheme the first time, and returns the same page from then on."""
    pages: dict[str, Any] = {}

    def opened(scheme: str) -> Any:
        if scheme not in pages:
            pages[scheme] = open_page(browser, address, scheme, ready)
        return pages[scheme]

    yield opened
    for page in pages.values():
        page.context.close()


def violations(page: Any, context: str | None = None) -> list[dict[str, Any]]:
    """Return what axe-core finds: by all of its rules on a light page, by those of colours on a dark one, which is the same otherwise.

    Args:
        page: drawn.
        context: a selector of the part that is looked at; the whole page by default.
    """
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    is_dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    rules = {"runOnly": ["cat.color"]} if is_dark and not EXHAUSTIVE else {}
    found: list[dict[str, Any]] = axe.Axe().run(page, context, {"resultTypes": ["violations"], **rules}).response["violations"]
    return found
