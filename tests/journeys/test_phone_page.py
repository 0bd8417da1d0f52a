"""The owner at the phone's page, in a real browser, with every party behind it a real process."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from fieldkit import processor_books
from fieldkit.journeys import arrive, charge, owner_asked, resource
from fieldkit.processor_books import Charge
from fieldkit.stage import SERVER, Stage
from tests.browser import chromium, judged, opened
from tests.phone_agent.photographs import photograph
from twochannel.protocol import beacon
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Broadcast

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.chromium]

#: Here the owner is always asked.
LANE, MERCHANT = "wash-1", "Wash'n'Go"
DECLINED = 3
AMBIGUOUS = 1
STRANGER = bytes.fromhex("fedcba9876543210")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def page(stage: Stage, browser: Browser) -> AsyncIterator[Page]:
    await arrive(stage, LANE)
    _, answer = await stage.cli(stage.cast.phone.name, "page")
    async with opened(browser, answer["url"]) as page:
        await expect(page.get_by_role("heading", name="Nothing to approve")).to_be_visible()
        yield page


def booked(stage: Stage, payment: str) -> list[Charge]:
    return processor_books.charges(stage.state(SERVER), payment)


async def test_approved_by_thumb(stage: Stage, page: Page) -> None:
    async with owner_asked(stage, LANE, "12.30") as (payment, charging):
        await expect(page.get_by_role("heading", name=MERCHANT)).to_be_visible()
        await expect(page.locator(".amount")).to_have_text("€12.30")
        known = await resource(stage, payment)
        await expect(page.locator(".code")).to_have_text(known["match_code"])
        await expect(page.get_by_text("Your jack hears this lane.")).to_be_visible()
        await judged(page, "the question")
        await page.get_by_role("button", name="Approve").click()
        paid = await charging
    await expect(page.get_by_role("heading", name="Paid")).to_be_visible()
    await expect(page.get_by_role("article").locator(".amount")).to_have_text("€12.30")
    await judged(page, "the outcome")
    assert (paid["id"], paid["status"]) == (payment, "captured")
    assert booked(stage, payment) == [Charge("captured", "EUR", 1230, 1230)]


async def test_declined_with_the_keyboard_alone(stage: Stage, page: Page) -> None:
    async with owner_asked(stage, LANE, "7.00", expect=(DECLINED,)) as (payment, charging):
        decline = page.get_by_role("button", name="Decline")
        await expect(decline).to_be_enabled()
        # Where the screen reader is, too: the question has the focus, its buttons come next.
        assert await page.evaluate("document.activeElement.id") == "asks"
        await page.keyboard.press("Tab")
        await expect(decline).to_be_focused()
        await page.keyboard.press("Enter")
        assert (await charging)["status"] == "declined"
    await expect(page.get_by_role("heading", name="Declined")).to_be_visible()
    await page.get_by_role("link", name="History").press("Enter")
    await expect(page.locator(f"a[href='/payments/{payment}']")).to_contain_text("Declined")
    await judged(page, "the history")
    assert booked(stage, payment) == []


async def test_a_maximum_is_explained_held_and_what_was_taken_is_shown(
    stage: Stage, page: Page
) -> None:
    async with owner_asked(stage, LANE, "80.00", options=("--manual",)) as (payment, charging):
        await expect(page.locator(".amount")).to_have_text("at most €80.00")
        await expect(page.get_by_text("never more, and the rest is released")).to_be_visible()
        await judged(page, "the question about a maximum")
        await page.get_by_role("button", name="Approve").click()
        assert (await charging)["status"] == "authorized"
    await expect(page.get_by_role("heading", name="the amount is held")).to_be_visible()
    await stage.cli(LANE, "capture", payment, "42.17", "EUR")
    await expect(page.get_by_role("heading", name="Paid")).to_be_visible()
    await expect(page.locator(".outcome > .amount")).to_have_text("€42.17")
    await expect(page.locator("dl > div", has_text="Released")).to_contain_text("€37.83")
    assert booked(stage, payment) == [Charge("captured", "EUR", 8000, 4217)]


async def test_nobody_answers(stage: Stage, page: Page) -> None:
    phone = stage.cast.phone.name
    await stage.processes[phone].stop()
    await stage.restart(phone, {"PHONE_AGENT_PROMPT_S": "2.5"})
    try:
        async with owner_asked(stage, LANE, "9.00", expect=(DECLINED,)) as (payment, charging):
            await expect(page.get_by_role("progressbar", name="Time left")).to_be_visible()
            assert (await charging)["status"] == "declined"
        await expect(page.get_by_role("heading", name="Nothing to approve")).to_be_visible()
        listed = page.locator(f"a[href='/payments/{payment}']")
        await expect(listed).to_contain_text("nobody answered in time")
    finally:
        await stage.processes[phone].stop()
        await stage.restart(phone)
    assert booked(stage, payment) == []


async def test_an_agent_that_is_restarted_in_the_middle_goes_on_asking(
    stage: Stage, page: Page
) -> None:
    phone = stage.cast.phone.name
    async with owner_asked(stage, LANE, "5.50") as (payment, charging):
        await expect(page.get_by_role("heading", name=MERCHANT)).to_be_visible()
        await stage.kill(phone)
        await expect(page.get_by_text("The agent does not answer.")).to_be_visible()
        approve = page.get_by_role("button", name="Approve")
        await expect(approve).to_be_disabled()
        await stage.restart(phone)
        # The same browser, the same session, the same question: nobody had to log in again.
        # It can be approved again once the jack has answered anew, and the page is not of before.
        await approve.click()
        assert (await charging)["status"] == "captured"
    await expect(page.get_by_role("heading", name="Paid")).to_be_visible()
    assert booked(stage, payment) == [Charge("captured", "EUR", 550, 550)]


async def test_of_several_cars_the_picked_one_is_asked(stage: Stage, page: Page) -> None:
    """Above the limit at lane 1, while another jack is as near."""
    await arrive(stage, "lane-1")
    listed = (await stage.ask("lane-1", "GET", "/v1/jacks"))["items"]
    (mine,) = [jack["handle"] for jack in listed if jack["state"] == "chosen"]
    frame = beacon.BeaconFrame(0, STRANGER).encode()
    async with open_radio(stage.radio("thief-ear")) as radio:
        await radio.advertiser.broadcast(Broadcast(beacon.SERVICE_UUID, frame, 100))
        other = {"jack": STRANGER.hex()[:4]}
        await stage.seen(
            "lane-1", "code_heard", where=lambda fields: other.items() <= fields.items()
        )
        await charge(stage, "lane-1", "25.00", expect=(AMBIGUOUS,))
        await expect(page.get_by_role("heading", name="Nothing to approve")).to_be_visible()
        picked = ("--jack", mine)
        async with owner_asked(stage, "lane-1", "25.00", options=picked) as (payment, charging):
            await expect(page.get_by_text("above your limit for this merchant")).to_be_visible()
            await page.get_by_role("button", name="Approve").click()
            assert (await charging)["status"] == "captured"
    await expect(page.get_by_role("heading", name="Paid")).to_be_visible()
    assert booked(stage, payment) == [Charge("captured", "EUR", 2500, 2500)]


async def test_what_the_limits_approve_is_seen_without_a_question(stage: Stage, page: Page) -> None:
    await arrive(stage, "lane-1")
    paid = await charge(stage, "lane-1", "4.50")
    listed = page.locator(f"a[href='/payments/{paid['id']}']")
    await expect(listed).to_contain_text("Paid")
    await listed.click()
    await expect(page.locator("dl > div", has_text="Answered by")).to_contain_text("Your phone")


@pytest.mark.parametrize("way", ["text", "photograph"])
async def test_a_jack_is_paired_anew_by_its_label(
    stage: Stage, page: Page, tmp_path: Path, way: str
) -> None:
    phone, jack = stage.cast.phone.name, stage.cast.jack.name
    _, opened_window = await stage.cli(jack, "pair", "open")
    began_ns = time.monotonic_ns()
    await page.get_by_role("link", name="Jack", exact=True).click()
    await expect(page.get_by_text("Your jack is in reach")).to_be_visible()
    await judged(page, "the jack")
    if way == "text":
        await page.get_by_label("Text of its label").fill(opened_window["label"])
        await page.get_by_role("button", name="Pair", exact=True).click()
    else:
        picture = tmp_path / "label.jpg"
        picture.write_bytes(photograph(opened_window["label"]))
        await page.get_by_label("Or photograph the QR code").set_input_files(picture)
        await page.get_by_role("button", name="Pair by this picture").click()
    await expect(page.get_by_text("Paired.")).to_be_visible()
    stage.jack_label = opened_window["label"]
    await stage.seen(phone, "jack_found", after_ns=began_ns)
    await arrive(stage, "lane-1")
    assert (await charge(stage, "lane-1", "3.00"))["status"] == "captured"


async def test_a_limit_for_a_day_is_set_and_holds(stage: Stage, page: Page) -> None:
    await page.get_by_role("link", name="Limits").click()
    await judged(page, "the limits")
    day = page.get_by_label("Most within 24 hours, in EUR")
    await day.fill("0.01")
    await page.get_by_role("button", name="Save").click()
    await expect(day).to_have_value("0.01")
    try:
        await arrive(stage, "lane-1")
        async with owner_asked(stage, "lane-1", "2.00", expect=(DECLINED,)) as (_, charging):
            # The page comes back to the question by itself.
            await expect(
                page.get_by_text("your limit for 24 hours would be passed")
            ).to_be_visible()
            await page.get_by_role("button", name="Decline").click()
            await charging
    finally:
        await page.get_by_role("link", name="Limits").click()
        await day.fill("")
        await page.get_by_role("button", name="Save").click()
        await expect(day).to_have_value("")


async def test_a_card_is_chosen_coupled_and_revoked(stage: Stage, page: Page) -> None:
    await page.get_by_role("link", name="Cards").click()
    cards = page.get_by_role("main").get_by_role("listitem")
    await expect(cards.first).to_contain_text("pays")
    await page.get_by_label("What you call it").fill("Fuel card")
    await page.get_by_role("button", name="Add").click()
    fuel = cards.filter(has_text="Fuel card")
    await expect(fuel).to_contain_text("in reserve")
    await ordered(page, "Pay with this card")
    await expect(cards.first).to_contain_text("Fuel card")
    await expect(fuel).to_contain_text("pays")
    await ordered(page, re.compile("^Couple to jack"))
    await expect(fuel).to_contain_text("coupled to your jack")
    await page.get_by_label("Change Fuel card").click()
    await judged(page, "the cards")
    await arrive(stage, "lane-1")
    assert (await charge(stage, "lane-1", "2.50"))["status"] == "captured"
    await ordered(page, re.compile("^Uncouple from jack"))
    await expect(fuel).not_to_contain_text("coupled to your jack")
    await ordered(page, "Revoke this card")
    await expect(fuel).to_have_count(0)
    await expect(cards.first).to_contain_text("pays")
    assert (await charge(stage, "lane-1", "2.60"))["status"] == "captured"


async def ordered(page: Page, button: str | re.Pattern[str]) -> None:
    """Have it done with the fuel card, on the page as it is then."""
    await page.get_by_role("link", name="Cards").click()
    await page.get_by_label("Change Fuel card").click()
    row = page.get_by_role("main").get_by_role("listitem").filter(has_text="Fuel card")
    async with page.expect_event("load"):
        await row.get_by_role("button", name=button).click()
