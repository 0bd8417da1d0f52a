"""Debian's Chromium, driven as a person would use it, and axe-core as the judge of its pages."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

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
_NETWORK: Final = frozenset({"http", "https", "ws", "wss"})
#: What keeps axe-core from a verdict unless it is told: a step's dot and line are pseudo-elements
#: beside its word, not behind it; and a single sign is to be legible too.
_CONTRAST: Final = {"options": {"ignorePseudo": True, "ignoreLength": True}}
_TOLD: Final = {"checks": {"color-contrast": _CONTRAST}}
#: Where axe-core cannot decide and need not: rule and cause, and why.
_UNDECIDED: Final = {
    ("color-contrast", "imgNode"): "Words in a drawing, in the colours of the words around it.",
    (
        "color-contrast",
        "elmPartiallyObscured",
    ): "A wide table's cell, under the edge it scrolls at.",
    ("heading-order", ""): "The page was renewed while axe-core looked, the heading before it too.",
}
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
    """A window of its own at ``url``. What its script throws fails, and so does whatever is asked
    of another host, even if it is then blocked.
    """
    width, height = SIZES[size]
    context = await browser.new_context(viewport={"width": width, "height": height}, **options)
    context.set_default_timeout(PATIENCE_MS)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    host = urlsplit(url).netloc
    context.on("request", lambda asked: complaints.extend(_elsewhere(asked.url, host)))
    try:
        await page.goto(url)
        yield page
    finally:
        await context.close()
    assert complaints == [], complaints


def _elsewhere(url: str, host: str) -> list[str]:
    """The address, if it is of another host than ``host``; ``data:`` and the like are of none."""
    parts = urlsplit(url)
    return [url] if parts.scheme in _NETWORK and parts.netloc != host else []


#: All that can be reached with the Tab key, in its order. Of radio buttons that are one question
#: the first, for arrow keys lead to the others.
_REACHABLE: Final = """() => {
  const asked = new Set();
  return [...document.querySelectorAll("a[href], button, input, select, textarea, summary")]
    .filter((each) => each.type !== "hidden" && !each.disabled && each.checkVisibility())
    .filter((each) => each.type !== "radio" || !asked.has(each.name) && asked.add(each.name));
}"""
_FOCUSED: Final = """async (reachable) => {
  await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
  const focused = document.activeElement, style = getComputedStyle(focused);
  const box = focused.getBoundingClientRect();
  const round = parseFloat(style.outlineWidth) + parseFloat(style.outlineOffset);
  return {
    place: reachable.indexOf(focused),
    outline: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
    color: style.outlineColor,
    inside: box.width > 0 && box.height > 0 && box.left >= round && box.top >= round
      && box.right <= innerWidth - round && box.bottom <= innerHeight - round,
    box: box.toJSON(),
    what: focused.outerHTML.slice(0, 120),
  };
}"""
_MIN_OUTLINE_PX: Final = 2


async def tabbed_through(page: Page) -> int:
    """Every link, field and button is reached from the top with the Tab key alone, in the order
    of the page, in view with an outline all round. How many they are.
    """
    await page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    reachable = await page.evaluate_handle(_REACHABLE)
    count = int(await reachable.evaluate("all => all.length"))
    for place in range(count):
        await page.keyboard.press("Tab")
        found = await page.evaluate(_FOCUSED, reachable)
        where = (page.url, place, found)
        assert found["place"] == place, where
        assert found["outline"] >= _MIN_OUTLINE_PX, where
        assert found["color"] not in ("transparent", "rgba(0, 0, 0, 0)"), where
        assert found["inside"], where
    return count


async def judged(page: Page, where: str) -> None:
    """axe-core finds nothing, and nothing is cut off at the side, at any size in any light."""
    for size, (width, height) in SIZES.items():
        await page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            if PICTURES:
                await page.screenshot(path=Path(PICTURES, f"{where}, {size}, {scheme}.png"))
            found = await Axe().run(page, options=_TOLD)
            assert found.violations_count == 0, (where, size, scheme, found.generate_report())
            left = undecided(found.response)
            assert left == [], (where, size, scheme, left)
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await page.evaluate(overflow) == 0, (where, size)


def undecided(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Rule, cause and element of what axe-core left to a person, but for what is well."""
    return [
        (*cause, node["html"])
        for rule in found["incomplete"]
        for node in rule["nodes"]
        for cause in _causes(rule["id"], node)
        if cause not in _UNDECIDED
    ]


def _causes(rule: str, node: dict[str, Any]) -> set[tuple[str, str]]:
    data = [check.get("data") for kind in ("any", "all", "none") for check in node[kind]]
    return {
        (rule, str(each.get("messageKey") or "") if isinstance(each, dict) else "") for each in data
    }
