"""The dashboard in a real browser: by keyboard, live, at a desk, on a tablet and on a phone."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from server.state import StateFolder
from tests.browser import SIZES, chromium, judged, opened, tabbed_through
from tests.server.admin_desk import NAME, PASSWORD, AdminDesk, dashboard
from tests.server.bench import copied
from tests.server.devices import Devices
from tests.server.test_dashboard_pages import open_a_review, paid

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.chromium]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def desk(prepared: tuple[StateFolder, Devices], tmp_path: Path) -> AsyncIterator[AdminDesk]:
    async with dashboard(*copied(prepared, tmp_path / "server")) as desk:
        yield desk


@asynccontextmanager
async def logged_in(browser: Browser, desk: AdminDesk, size: str = "desk") -> AsyncIterator[Page]:
    """By keyboard alone, as a person does."""
    async with opened(browser, f"{desk.url}/", size, ignore_https_errors=True) as page:
        await expect(page.get_by_label("Name")).to_be_focused()
        await page.keyboard.type(NAME)
        await page.keyboard.press("Tab")
        await page.keyboard.type(PASSWORD)
        await page.keyboard.press("Tab")
        await page.keyboard.type(desk.code())
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Payments")).to_be_visible()
        yield page


async def pictured(page: Page, name: str) -> None:
    """For whoever wants to look: where CIGARJACK_PICTURES names a folder."""
    folder = os.environ.get("CIGARJACK_PICTURES")
    if not folder:
        return
    for size, (width, height) in {
        "1280": (1280, 800),
        "820": (820, 1000),
        "360": (360, 740),
    }.items():
        await page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            path = Path(folder) / f"{name}-{size}-{scheme}.png"
            await page.screenshot(path=path, full_page=True)


async def test_a_payment_lights_up_by_itself(browser: Browser, desk: AdminDesk) -> None:
    async with logged_in(browser, desk) as page:
        await judged(page, "no payment yet")
        payment, _, challenge = await desk.bench.pending()
        shown = page.locator(f"#p-{payment}")
        await expect(shown).to_contain_text("Waiting for the owner")
        await expect(shown.locator(".lit .step")).to_have_text(["Request", "Challenge"])
        await judged(page, "a payment that waits")
        await desk.bench.confirm(payment, desk.bench.devices.confirmation(payment, challenge))
        await expect(shown).to_contain_text("Paid")
        await expect(shown.locator(".lit")).to_have_count(5)
        await expect(shown.locator(".fresh").first).to_be_attached()
        await expect(page.locator("#announce")).to_contain_text("Blue Bottle, €4.50, Paid")
        await judged(page, "payments")


async def test_from_a_payment_to_its_evidence_by_keyboard(
    browser: Browser, desk: AdminDesk
) -> None:
    payment = await paid(desk)
    async with logged_in(browser, desk) as page:
        await page.get_by_role("searchbox").focus()
        await page.keyboard.type(payment)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Found")).to_be_visible()
        await page.locator(f"#p-{payment} a").press("Enter")
        await expect(page.get_by_text("Every signature, link and amount")).to_be_visible()
        await judged(page, "a payment's evidence")
        await pictured(page, "payment")
        link = page.get_by_role("link", name="Download evidence")
        async with page.expect_download() as downloading:
            await link.press("Enter")
        assert (await downloading.value).suggested_filename == f"evidence-{payment}.json"


async def test_what_was_found_and_what_was_not(browser: Browser, desk: AdminDesk) -> None:
    payment = await paid(desk)
    async with logged_in(browser, desk) as page:
        for asked, count in ((payment, 1), ("nobody", 0)):
            await page.goto(f"{desk.url}/?q={asked}")
            await expect(page.get_by_role("heading", name="Found")).to_be_visible()
            await expect(page.locator("[id^=p-]")).to_have_count(count)
            await judged(page, f"{count} found")


async def test_a_page_that_is_not_there(browser: Browser, desk: AdminDesk) -> None:
    async with logged_in(browser, desk) as page:
        await page.goto(f"{desk.url}/nowhere")
        await expect(page.get_by_role("heading", name="That was not possible")).to_be_visible()
        await judged(page, "not possible")


async def test_before_there_is_an_admin(
    browser: Browser, prepared: tuple[StateFolder, Devices], tmp_path: Path
) -> None:
    async with (
        dashboard(*copied(prepared, tmp_path / "server"), admin=False) as desk,
        opened(browser, f"{desk.url}/", ignore_https_errors=True) as page,
    ):
        await expect(page.get_by_role("heading", name="Nobody may log in yet")).to_be_visible()
        await judged(page, "closed")


async def test_every_other_page(browser: Browser, desk: AdminDesk) -> None:
    await desk.bench.held()
    await desk.bench.pending()
    await desk.bench.clear()
    await open_a_review(desk)
    await paid(desk, reference="order-4711")
    await desk.bench.pending(reference="order-4712")
    async with logged_in(browser, desk) as page:
        await pictured(page, "payments")
        for name in ("Devices", "Timing", "Record", "Reviews"):
            await page.get_by_role("link", name=name, exact=True).press("Enter")
            await expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()
            await judged(page, name)
            await pictured(page, name.lower())
        await page.get_by_label("It was not, and never will be").press("Space")
        await page.get_by_label("What you saw there").fill("It is not in the list.")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("Nothing waits for a person")).to_be_visible()
        await page.get_by_role("button", name="Log out").press("Enter")
        await expect(page.get_by_role("heading", name="Dashboard")).to_be_visible()
        await judged(page, "the login")
        await pictured(page, "login")


async def test_every_link_field_and_button_is_reached_with_the_tab_key(
    browser: Browser, desk: AdminDesk
) -> None:
    await open_a_review(desk)
    payment = await paid(desk)
    pages = (
        "/",
        f"/payments/{payment}",
        "/devices",
        "/timing",
        "/reviews",
        "/record",
        "/?q=nobody",
        "/nowhere",
    )
    async with logged_in(browser, desk) as page:
        for path, size in product(pages, ("desk", "tablet", "phone")):
            width, height = SIZES[size]
            await page.set_viewport_size({"width": width, "height": height})
            await page.goto(f"{desk.url}{path}")
            # The link to the content, the five pages and their name, the log-out.
            assert await tabbed_through(page) >= 8
        await page.goto(f"{desk.url}/")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("searchbox")).to_be_focused()


async def test_a_page_that_asks_another_host_is_caught(browser: Browser) -> None:
    """By ``opened``, which judges all pages in these tests."""
    with pytest.raises(AssertionError, match=r"https://elsewhere\.invalid/pixel"):
        async with opened(browser, "about:blank") as page:
            await page.set_content('<img alt="" src="https://elsewhere.invalid/pixel">')


async def test_a_page_that_cannot_be_judged_is_caught(browser: Browser) -> None:
    """By ``judged``: words before a picture may be legible, or not."""
    async with opened(browser, "about:blank") as page:
        await page.set_content(
            '<html lang="en"><title>x</title><main><h1 style="background: '
            'linear-gradient(white, black)">Legible?</h1></main>'
        )
        with pytest.raises(AssertionError, match="bgGradient"):
            await judged(page, "before a picture")


async def test_a_session_that_was_ended_leads_to_the_login(
    browser: Browser, desk: AdminDesk
) -> None:
    async with logged_in(browser, desk, "phone") as page:
        store = desk.bench.store
        store.write_now(lambda c: c.exec_driver_sql("DELETE FROM admin_sessions"))
        await desk.bench.pending()
        await expect(page.get_by_role("heading", name="Dashboard")).to_be_visible()
