"""Fuelling at pump 3: page, pump, terminal, server, phone and jack are all real processes."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from fieldkit import processor_books
from fieldkit.journeys import arrive
from fieldkit.process import Process
from fieldkit.processor_books import Charge
from fieldkit.stage import SERVER, Stage
from tests.browser import chromium, judged, opened

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.chromium]

#: The phone approves here by itself, up to 100 EUR.
LANE = "pump-3"
SETTINGS = {"PAYMENT_DEVICE_PUMP_PRICE": "1.799 EUR"}
#: Litres a minute: a few seconds of fuelling.
FLOW = "240"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def pump(stage: Stage) -> AsyncIterator[Process]:
    """A simulated pump, and the terminal with it in its settings."""
    arguments = ["-m", "payment_device", "--state", str(stage.state(LANE)), "pump", "--flow", FLOW]
    pump = Process("pump", arguments, stage.folder / "logs" / "pump.log")
    await stage.processes[LANE].stop()
    await pump.start()
    await stage.restart(LANE, SETTINGS)
    try:
        yield pump
    finally:
        await pump.stop()
        await stage.processes[LANE].stop()
        await stage.restart(LANE)


@asynccontextmanager
async def attendant(stage: Stage, browser: Browser) -> AsyncIterator[Page]:
    await arrive(stage, LANE)
    _, answer = await stage.cli(LANE, "page")
    async with opened(browser, answer["url"], "touch") as page:
        await page.get_by_role("link", name="Pump").click()
        await expect(page.get_by_role("heading", name="One jack is at this lane")).to_be_visible()
        yield page


async def driver(stage: Stage, *act: str) -> int:
    """What the driver does at the pump; its counter, in millilitres."""
    _, told = await stage.cli(LANE, "pump", *act)
    return int(told["total_ml"])


async def booked(stage: Stage) -> Charge:
    """The one charge of the last fuelling, in the processor's books."""
    fuelling = (await stage.ask(LANE, "GET", "/v1/pump"))["fuelling"]
    (charge,) = processor_books.charges(stage.state(SERVER), fuelling["payment"])
    return charge


async def test_prepay(stage: Stage, browser: Browser, pump: Process) -> None:
    async with attendant(stage, browser) as page:
        for key in "8000":
            await page.locator(f"[data-key='{key}']").click()
        await page.get_by_role("button", name="Fuel for this").click()
        await expect(page.get_by_role("heading", name="Fuel now")).to_be_visible()
        await judged(page, "released")
        await driver(stage, "lift")
        await driver(stage, "fuel", "23.441")
        await expect(page.get_by_role("heading", name="Fuelling")).to_be_visible()
        await expect(page.locator(".volume")).to_have_text("23.44 L")
        await expect(page.locator(".display .amount")).to_have_text("€42.17")
        await driver(stage, "hang-up")
        await expect(page.get_by_role("heading", name="Paid", exact=True)).to_be_visible()
        await judged(page, "paid fuel")
    assert await booked(stage) == Charge("captured", "EUR", 8000, 4217)


async def test_postpay(stage: Stage, browser: Browser, pump: Process) -> None:
    async with attendant(stage, browser) as page:
        await page.get_by_role("button", name="Pay after").click()
        await expect(page.get_by_role("heading", name="Fuel now")).to_be_visible()
        await driver(stage, "lift")
        await driver(stage, "fuel", "10")
        await expect(page.locator(".volume")).to_have_text("10.00 L")
        await driver(stage, "hang-up")
        await expect(page.get_by_role("heading", name="Paid", exact=True)).to_be_visible()
    assert await booked(stage) == Charge("captured", "EUR", 1799, 1799)


async def test_the_nozzle_is_enough_and_the_owner_approves_on_the_phone(
    stage: Stage, browser: Browser, pump: Process
) -> None:
    await stage.processes[LANE].stop()
    await stage.restart(LANE, SETTINGS | {"PAYMENT_DEVICE_PUMP_POSTPAY_ON_LIFT": "true"})
    _, answer = await stage.cli(stage.cast.phone.name, "page")
    async with attendant(stage, browser) as page, opened(browser, answer["url"]) as phone:
        await automatic(phone, allowed=False)
        await phone.get_by_role("link", name="Now").click()
        await driver(stage, "lift")
        await expect(page.get_by_role("heading", name="Fuel now")).to_be_visible()
        await driver(stage, "fuel", "10")
        await expect(page.locator(".volume")).to_have_text("10.00 L")
        await driver(stage, "hang-up")
        await expect(phone.get_by_role("heading", name="Hanbit Fuel")).to_be_visible()
        await expect(phone.locator(".question .amount")).to_have_text("€17.99")
        await judged(phone, "fuel to be paid")
        await phone.get_by_role("button", name="Approve").click()
        await expect(phone.get_by_role("heading", name="Paid")).to_be_visible()
        await expect(page.get_by_role("heading", name="Paid", exact=True)).to_be_visible()
        await automatic(phone, allowed=True)
    assert await booked(stage) == Charge("captured", "EUR", 1799, 1799)


async def automatic(phone: Page, *, allowed: bool) -> None:
    """Whether the phone may approve by itself."""
    await phone.get_by_role("link", name="Limits").click()
    await phone.get_by_label("Approve without asking me").set_checked(allowed)
    async with phone.expect_event("load"):
        await phone.get_by_role("button", name="Save").click()


async def test_a_terminal_that_is_killed_while_fuel_runs_takes_what_was_pumped(
    stage: Stage, browser: Browser, pump: Process
) -> None:
    async with attendant(stage, browser) as page:
        for key in "6000":
            await page.locator(f"[data-key='{key}']").click()
        await page.get_by_role("button", name="Fuel for this").click()
        await expect(page.get_by_role("heading", name="Fuel now")).to_be_visible()
        before_ml = await driver(stage, "lift")
        await driver(stage, "fuel", "20")
        await expect(page.locator(".volume")).to_have_text(re.compile(r"[1-9]"))
        await stage.kill(LANE)
        await expect(page.get_by_text("The agent does not answer.")).to_be_visible()
        # The pump knows nothing of it, and goes on.
        await driver(stage, "lift")
        await stage.restart(LANE, SETTINGS)
        await expect(page.locator(".volume")).to_have_text("20.00 L")
        pumped_ml = await driver(stage, "hang-up") - before_ml
        await expect(page.get_by_role("heading", name="Paid", exact=True)).to_be_visible()
        await expect(page.locator(".display .amount")).to_have_text("€35.98")
    assert pumped_ml == 20_000
    assert await booked(stage) == Charge("captured", "EUR", 6000, 3598)


async def test_the_counter_of_a_pump_survives_its_power_cut(stage: Stage, pump: Process) -> None:
    before_ml = await driver(stage, "hang-up")
    await pump.kill()
    kept = json.loads((stage.state(LANE) / "pump" / "counter.json").read_text())
    assert kept["total_ml"] == before_ml
    assert (await pump.start())["total_ml"] == before_ml
