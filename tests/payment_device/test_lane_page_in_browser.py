"""The lane page in a real browser: its keys, its levels, what stays while it changes, in Korean."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser import chromium, judged, opened
from tests.payment_device.counter import NOTES, counter_at
from tests.payment_device.lane import CODE, Bench
from tests.payment_device.scripted_server import ScriptedServer
from twochannel.protocol.payment import Status

pytestmark = pytest.mark.chromium

MORE_THAN_TWO = re.compile(r"^([3-9]|\d\d+)$")
OTHER = bytes.fromhex("fedcba9876543210")


async def typed(page: Page, keys: str) -> None:
    for key in keys:
        await page.locator(f"[data-key='{key}']").click()


async def test_the_keys_write_amounts_of_every_kind(lane: Bench, tmp_path: Path) -> None:
    currencies = ("EUR", "KRW", "KWD")
    async with (
        counter_at(lane, tmp_path, currencies) as doorway,
        chromium() as browser,
        opened(browser, doorway.link()) as page,
    ):
        amount = page.get_by_label("Amount in EUR")
        await typed(page, "0123456")
        await expect(amount).to_have_value("1,234.56")
        await page.get_by_role("button", name="Erase one digit").click()
        await expect(amount).to_have_value("123.45")
        for currency, value in (("KRW", "12,500"), ("KWD", "12.500")):
            await page.get_by_label("Currency").select_option(currency)
            await expect(amount).to_have_value("")
            await typed(page, "12500")
            await expect(amount).to_have_value(value)


async def test_a_won_is_charged_in_korean(
    lane: Bench, server: ScriptedServer, tmp_path: Path
) -> None:
    server.outcome = None
    async with (
        lane.air.standing((CODE, -55), seconds=0),
        counter_at(lane, tmp_path, ("KRW",)) as doorway,
        chromium() as browser,
        opened(browser, doorway.link(), locale="ko-KR") as page,
    ):
        await expect(
            page.get_by_role("heading", name="이 레인에 잭이 하나 있습니다")
        ).to_be_visible()
        await typed(page, "12500")
        await judged(page, "an amount in Korean")
        await page.get_by_role("button", name="결제", exact=True).click()
        await expect(
            page.get_by_role("heading", name="운전자의 응답을 기다리는 중")
        ).to_be_visible()
        await expect(page.locator(".amount")).to_have_text("₩12,500")
        await expect(page.locator(".code")).to_have_text("42")
        (payment,) = server.payments
        await server.decide(payment, Status.CAPTURED)
        await expect(page.get_by_role("heading", name="결제 완료")).to_be_visible()
        await judged(page, "paid in Korean")


async def test_what_is_picked_and_typed_stays_while_the_levels_move(
    lane: Bench, server: ScriptedServer, tmp_path: Path
) -> None:
    async with counter_at(lane, tmp_path) as doorway, chromium() as browser:
        async with (
            lane.air.standing((CODE, -55), (OTHER, -58), seconds=0, swing_db=6),
            opened(browser, doorway.link()) as page,
        ):
            await expect(page.get_by_role("heading", name="Which jack is it?")).to_be_visible()
            await judged(page, "ambiguous")
            await page.get_by_label("Amount in EUR").fill("19.90")
            pick = page.get_by_role("radio", name="fedc")
            await pick.check()
            await pick.focus()
            # The list is another one whenever a level has moved.
            await page.evaluate("""() => {
              let parts = 0;
              new MutationObserver(() => { document.body.dataset.parts = ++parts; })
                .observe(document.querySelector("main"), {childList: true});
            }""")
            await expect(page.locator("body")).to_have_attribute("data-parts", MORE_THAN_TWO)
            await expect(pick).to_be_checked()
            await expect(pick).to_be_focused()
            await page.keyboard.press("Tab")
            await page.get_by_label("Amount in EUR").press("Enter")
            await expect(page.get_by_role("heading", name="Paid")).to_be_visible()
        (payment,) = server.payments.values()
        assert (payment.request.code, payment.request.amount.value) == (OTHER.hex(), 1990)


async def test_enter_charges_and_never_only_holds(
    lane: Bench, server: ScriptedServer, tmp_path: Path
) -> None:
    """The first button of a form is what Enter presses."""
    async with (
        lane.air.standing((CODE, -55), seconds=0),
        counter_at(lane, tmp_path) as doorway,
        chromium() as browser,
        opened(browser, doorway.link()) as page,
    ):
        await expect(page.get_by_role("heading", name="One jack is at this lane")).to_be_visible()
        await page.get_by_label("Amount in EUR").fill("4.50")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Paid")).to_be_visible()
        (payment,) = server.payments.values()
        assert payment.request.capture == "automatic"


async def test_whoever_is_not_let_in_is_told_how(lane: Bench, tmp_path: Path) -> None:
    async with (
        counter_at(lane, tmp_path) as doorway,
        chromium() as browser,
        opened(browser, doorway.origin) as page,
    ):
        await expect(page.get_by_text("payment-device page")).to_be_visible()
        await judged(page, "the door")


async def test_a_note_for_the_recording(lane: Bench, tmp_path: Path) -> None:
    async with (
        counter_at(lane, tmp_path) as doorway,
        chromium() as browser,
        opened(browser, doorway.link()) as page,
    ):
        await page.goto(f"{doorway.origin}/terminal")
        await page.get_by_label("What happens now").fill("the red car stops")
        await page.get_by_text("Who is really at a lane").click()
        await page.get_by_label("From now on there is").select_option("the car with this jack")
        await page.get_by_label("Name of the jack").fill("red-kia")
        await judged(page, "a note")
        await page.get_by_role("button", name="Note it").click()
        await expect(page.get_by_role("status")).to_have_text("Noted.")
    told = (tmp_path / NOTES).read_text()
    assert "the red car stops" in told
    assert '"jack":"red-kia","present":true' in told
