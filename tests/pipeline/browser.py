"""A real browser without a screen: Debian's chromium, driven by playwright. Tests skip where either is missing."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

CHROMIUM = shutil.which("chromium")


@contextmanager
def opened(address: str) -> Iterator:
    """A page at `address`, and the addresses that it asked for, data within the page aside."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("needs chromium: apt install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)
        asked: list[str] = []
        page.on("response", lambda answer: asked.append(answer.url))
        page.on("pageerror", lambda error: asked.append(f"error: {error}"))
        page.goto(address)
        yield page, asked
        browser.close()
