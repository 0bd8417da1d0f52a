"""The attendant at the lane page, in a real browser, with every party behind it a real process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from fieldkit import processor_books
from fieldkit.journeys import arrive, resource
from fieldkit.processor_books import Charge
from fieldkit.stage import SERVER, Stage
from tests.browser import chromium, judged, opened
from twochannel.protocol import beacon
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Broadcast

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.chromium]

#: Here the owner is always asked; at lane 1 the phone approves by itself.
ASKED, UNASKED = "wash-1", "lane-1"
STRANGER = bytes.fromhex("fedcba9876543210")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@asynccontextmanager
async def attendant(stage: Stage, browser: Browser, lane: str) -> AsyncIterator[Page]:
    """A browser at the page of ``lane``, where the car has arrived."""
    await arrive(stage, lane)
    _, answer = await stage.cli(lane, "page")
    async with opened(browser, answer["url"], "touch") as page:
        await expect(page.get_by_role("heading", name="One jack is at this lane")).to_be_visible()
        yield page


async def ask_for(page: Page, amount: str, button: str = "Charge") -> None:
    """As a hand does: key by key, then the button. Its page is there whole when this returns."""
    for key in amount:
        await page.locator(f"[data-key='{key}']").click()
    async with page.expect_event("load"):
        await page.get_by_role("button", name=button, exact=True).click()


async def asked(stage: Stage, after_ns: int) -> str:
    """The id of the payment that the phone asks its owner about."""
    prompt = await stage.seen(stage.cast.phone.name, "prompt_shown", after_ns=after_ns)
    return str(prompt.payment)


def booked(stage: Stage, payment: str) -> list[Charge]:
    return processor_books.charges(stage.state(SERVER), payment)


def shown_id(page: Page) -> str:
    return page.url.rpartition("/")[2]


async def test_the_owner_approves(stage: Stage, browser: Browser) -> None:
    async with attendant(stage, browser, ASKED) as page:
        await judged(page, "the lane")
        began_ns = time.monotonic_ns()
        await ask_for(page, "1230")
        payment = await asked(stage, began_ns)
        await expect(page.get_by_role("heading", name="Waiting for the driver")).to_be_visible()
        known = await resource(stage, payment)
        await expect(page.locator(".code")).to_have_text(known["match_code"])
        await judged(page, "waiting")
        await stage.cli(stage.cast.phone.name, "approve", payment)
        await expect(page.get_by_role("heading", name="Paid")).to_be_visible()
        await expect(page.locator(".outcome .amount")).to_have_text("€12.30")
        await judged(page, "paid")
        await page.get_by_role("link", name="Next customer").click()
        await expect(page.get_by_label("Amount in EUR")).to_have_value("")
    assert booked(stage, payment) == [Charge("captured", "EUR", 1230, 1230)]


async def test_the_owner_declines(stage: Stage, browser: Browser) -> None:
    async with attendant(stage, browser, ASKED) as page:
        began_ns = time.monotonic_ns()
        await ask_for(page, "700")
        payment = await asked(stage, began_ns)
        await stage.cli(stage.cast.phone.name, "decline", payment)
        await expect(page.get_by_role("heading", name="Declined")).to_be_visible()
        await judged(page, "declined")
    assert booked(stage, payment) == []


async def test_nobody_answers(stage: Stage, browser: Browser) -> None:
    phone = stage.cast.phone.name
    await stage.processes[phone].stop()
    await stage.restart(phone, {"PHONE_AGENT_PROMPT_S": "2.5"})
    try:
        async with attendant(stage, browser, ASKED) as page:
            await ask_for(page, "900")
            await expect(page.get_by_role("heading", name="Declined")).to_be_visible()
            payment = shown_id(page)
    finally:
        await stage.processes[phone].stop()
        await stage.restart(phone)
    assert booked(stage, payment) == []


async def test_the_attendant_cancels(stage: Stage, browser: Browser) -> None:
    async with attendant(stage, browser, ASKED) as page:
        began_ns = time.monotonic_ns()
        await ask_for(page, "500")
        payment = await asked(stage, began_ns)
        await page.get_by_role("button", name="Cancel").click()
        await expect(page.get_by_role("heading", name="Cancelled")).to_be_visible()
    assert booked(stage, payment) == []


async def test_a_hold_is_taken_and_given_back(stage: Stage, browser: Browser) -> None:
    async with attendant(stage, browser, UNASKED) as page:
        await ask_for(page, "1500", "Hold")
        await expect(page.get_by_role("heading", name="Amount held")).to_be_visible()
        await judged(page, "held")
        await page.get_by_label("at most €15.00").fill("9.95")
        await page.get_by_role("button", name="Take").click()
        await expect(page.get_by_role("heading", name="Paid")).to_be_visible()
        await expect(page.locator("dl > div", has_text="Released")).to_contain_text("€5.05")
        await page.locator("summary").click()
        await page.get_by_label("at most €9.95").fill("1.95")
        await judged(page, "giving back")
        await page.get_by_role("button", name="Give back").click()
        await expect(page.locator("dl > div", has_text="Given back")).to_contain_text("€1.95")
        payment = shown_id(page)
    (charge,) = booked(stage, payment)
    assert (charge.authorized_minor, charge.captured_minor) == (1500, 995)


async def test_the_attendant_picks_when_it_is_ambiguous(stage: Stage, browser: Browser) -> None:
    async with attendant(stage, browser, UNASKED) as page:
        (mine,) = [
            jack["handle"]
            for jack in (await stage.ask(UNASKED, "GET", "/v1/jacks"))["items"]
            if jack["state"] == "chosen"
        ]
        frame = beacon.BeaconFrame(0, STRANGER).encode()
        async with open_radio(stage.radio("thief-ear")) as radio:
            await radio.advertiser.broadcast(Broadcast(beacon.SERVICE_UUID, frame, 100))
            await expect(page.get_by_role("heading", name="Which jack is it?")).to_be_visible()
            await judged(page, "ambiguous")
            await page.get_by_role("radio", name=mine).check()
            await ask_for(page, "450")
            await expect(page.get_by_role("heading", name="Paid")).to_be_visible()
            payment = shown_id(page)
    assert booked(stage, payment) == [Charge("captured", "EUR", 450, 450)]


async def test_a_terminal_that_is_killed_in_the_middle_goes_on(
    stage: Stage, browser: Browser
) -> None:
    async with attendant(stage, browser, ASKED) as page:
        began_ns = time.monotonic_ns()
        await ask_for(page, "550")
        payment = await asked(stage, began_ns)
        await expect(page.locator(".code")).to_be_visible()
        code = await page.locator(".code").inner_text()
        await stage.kill(ASKED)
        await expect(page.get_by_text("The agent does not answer.")).to_be_visible()
        await asyncio.gather(
            stage.restart(ASKED), stage.cli(stage.cast.phone.name, "approve", payment)
        )
        await expect(page.get_by_text("The agent does not answer.")).to_be_hidden()
        # The same browser and session, the same payment; nobody had to do anything.
        await expect(page.get_by_role("heading", name="Paid")).to_be_visible()
        assert (await stage.ask(ASKED, "GET", f"/v1/payments/{payment}"))["match_code"] == code
    assert booked(stage, payment) == [Charge("captured", "EUR", 550, 550)]
