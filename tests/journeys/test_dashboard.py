"""The server's dashboard in a real browser while real agents pay."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pyotp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from fieldkit.journeys import arrive, charge, owner_asked
from fieldkit.stage import SERVER, Stage
from server.dashboard.admins import add_admin, make_credentials, remove_admin
from server.state import StateFolder
from tests.browser import chromium, judged, opened
from tests.ports import free_port
from twochannel.trace import wall_ms

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.chromium]

LANE, MERCHANT = "wash-1", "Wash'n'Go"
PASSWORD = "washing cars all day"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def page(stage: Stage, browser: Browser) -> AsyncIterator[Page]:
    """The payments, seen by an admin who has just logged in."""
    port, made = free_port(), make_credentials(PASSWORD)
    store = StateFolder(stage.state(SERVER)).open_store()
    store.write_now(lambda c: add_admin(c, "ada", made, wall_ms()))
    await with_dashboard(stage, {"CIGARJACK_SERVER_DASHBOARD_PORT": str(port)})
    try:
        url = f"https://127.0.0.1:{port}/"
        async with opened(browser, url, "desk", ignore_https_errors=True) as page:
            await page.get_by_label("Name").fill("ada")
            await page.get_by_label("Password").fill(PASSWORD)
            await page.get_by_label("One-time code").fill(pyotp.TOTP(made.totp_secret).now())
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("heading", name="Payments")).to_be_visible()
            yield page
    finally:
        store.write_now(lambda c: remove_admin(c, "ada"))
        store.close_now()
        await with_dashboard(stage, {})


async def with_dashboard(stage: Stage, environment: dict[str, str]) -> None:
    stopped_ns = time.monotonic_ns()
    await stage.processes[SERVER].stop()
    await stage.restart(SERVER, environment)
    await stage.seen(stage.cast.phone.name, "server_connected", after_ns=stopped_ns)


async def test_a_payment_of_real_agents_lights_up_step_by_step(stage: Stage, page: Page) -> None:
    await arrive(stage, LANE)
    async with owner_asked(stage, LANE, "12.30") as (payment, charging):
        shown = page.locator(f"#p-{payment}")
        await expect(shown).to_contain_text(MERCHANT)
        await expect(shown).to_contain_text("Waiting for the owner")
        await expect(shown.locator(".lit .step")).to_have_text(["Request", "Challenge"])
        await stage.cli(stage.cast.phone.name, "approve", payment)
        await charging
    await expect(shown).to_contain_text("Paid")
    await expect(shown.locator(".lit")).to_have_count(5)
    await judged(page, "payments of real agents")
    await shown.get_by_role("link").press("Enter")
    await expect(page.get_by_text("Every signature, link and amount")).to_be_visible()
    await expect(page.get_by_text("12.30 EUR captured of 12.30 authorised")).to_be_visible()
    await judged(page, "the evidence of real agents")


async def test_the_phone_of_a_real_car_is_seen_to_listen(stage: Stage, page: Page) -> None:
    await arrive(stage, "lane-1")
    await charge(stage, "lane-1", "4.50")
    await page.get_by_role("link", name="Devices").press("Enter")
    await expect(page.get_by_text("Listens here now").first).to_be_visible()
    await judged(page, "the devices of real agents")
