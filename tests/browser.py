"""Debian's Chromium, driven as a person would use it, and axe-core as the judge of its pages."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Browser, Page, async_playwright, expect

CHROMIUM: Final = Path("/usr/bin/chromium")
#: A small phone, the 5-inch touch screen of a Pi, a tablet, a desk.
SIZES: Final = {
    "phone": (360, 640),
    "touch": (800, 480),
    "tablet": (820, 1180),
    "desk": (1280, 800),
}
#: A machine that is busy with seven agents and a browser.
PATIENCE_MS: Final = 20_000
#: A folder for pictures of every page that is judged, where somebody wants to look at them.
PICTURES: Final = os.environ.get("CIGARJACK_PICTURES", "")
expect.set_options(timeout=PATIENCE_MS)


@asynccontextmanager
async def chromium(*flags: str) -> AsyncIterator[Browser]:
    """Without its sandbox, which root in a container cannot have: it sees our own pages alone."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", *flags]
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def opened(
    browser: Browser, url: str, size: str = "phone", **options: Any
) -> AsyncIterator[Page]:
    """A window of its own at ``url``. What its script throws or its console complains of fails."""
    width, height = SIZES[size]
    context = await browser.new_context(viewport={"width": width, "height": height}, **options)
    context.set_default_timeout(PATIENCE_MS)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        await page.goto(url)
        yield page
    finally:
        await context.close()
    assert complaints == []


async def judged(page: Page, where: str) -> None:
    """axe-core finds nothing, and nothing is cut off at the side, at any size in any light."""
    for size, (width, height) in SIZES.items():
        await page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            if PICTURES:
                await page.screenshot(path=Path(PICTURES, f"{where}, {size}, {scheme}.png"))
            found = await Axe().run(page)
            assert found.violations_count == 0, (where, size, scheme, found.generate_report())
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await page.evaluate(overflow) == 0, (where, size)
