"""The pump's page in a real browser: each state of it, live, in both languages, for every eye."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Page, expect

from payment_device.fuel import Phase
from tests.browser import chromium, judged, opened
from tests.page_client import field_in, token_in
from tests.payment_device.counter import attendant_at, counter_at
from tests.payment_device.forecourt_bench import ForecourtBench, forecourt_at, pump_at
from tests.payment_device.lane import CODE, Bench, until
from tests.payment_device.scripted_server import ScriptedServer
from twochannel.protocol.payment import Status

_TRIES = 20


@pytest.fixture
async def bench(lane: Bench, tmp_path: Path) -> AsyncIterator[ForecourtBench]:
    async with (
        lane.air.standing((CODE, -55), seconds=0),
        pump_at(tmp_path) as pump,
        forecourt_at(lane, pump, tmp_path) as bench,
    ):
        yield bench


@asynccontextmanager
async def shown(bench: ForecourtBench, state: Path, locale: str = "en-GB") -> AsyncIterator[Page]:
    async with (
        counter_at(bench.lane, state, forecourt=bench.forecourt) as doorway,
        chromium() as browser,
        opened(browser, doorway.link(), locale=locale) as page,
    ):
        await page.goto(f"{doorway.origin}/pump")
        yield page


async def paid_in_the_end(page: Page) -> None:
    """Ask again, until it is paid.

    After a pause of the whole machine, the jack has only just come and may not pay yet.
    """
    paid = page.get_by_role("heading", name="결제 완료")
    for _ in range(_TRIES):
        await page.get_by_role("button", name="다시 요청").click()
        await expect(paid.or_(page.get_by_role("alert")).first).to_be_visible()
        if await paid.is_visible():
            break
        await page.goto(page.url.removesuffix("/ask"))
    await expect(paid).to_be_visible()


@pytest.mark.chromium
async def test_prepaid_fuel_runs_before_the_eyes_of_the_attendant(
    bench: ForecourtBench, server: ScriptedServer, tmp_path: Path
) -> None:
    server.outcome = None
    async with shown(bench, tmp_path) as page:
        await expect(page.get_by_role("heading", name="The pump is free")).to_be_visible()
        await judged(page, "a free pump")
        await page.get_by_label("Amount in EUR").fill("80")
        await page.keyboard.press("Enter")
        await expect(page.locator(".display .code")).to_have_text("42")
        await judged(page, "the owner is asked")
        (payment,) = server.payments
        await server.decide(payment, Status.AUTHORIZED)
        await expect(page.get_by_role("heading", name="Fuel now")).to_be_visible()
        await bench.pumped(20_000)
        await expect(page.locator(".display .amount")).to_have_text("€35.98")
        await expect(page.locator(".volume")).to_have_text("20.00 L")
        await judged(page, "fuelling")
        bench.pump.hang_up()
        await expect(page.get_by_role("heading", name="Paid", exact=True)).to_be_visible()
        await expect(page.get_by_role("button", name="Fuel for this")).to_be_visible()
    assert server.payments[payment].captured_minor == 3598


@pytest.mark.chromium
async def test_fuel_first_and_somebody_pays_in_the_end(
    bench: ForecourtBench, server: ScriptedServer, tmp_path: Path
) -> None:
    server.outcome = Status.DECLINED
    async with shown(bench, tmp_path, "ko-KR") as page:
        await page.get_by_role("button", name="주유 후 결제").click()
        await expect(page.get_by_role("heading", name="주유하세요")).to_be_visible()
        await until(lambda: bench.pump.released)
        await bench.pumped(10_000)
        bench.pump.hang_up()
        await expect(page.get_by_role("heading", name="아직 결제되지 않음")).to_be_visible()
        await judged(page, "unpaid fuel")
        server.outcome = Status.CAPTURED
        await paid_in_the_end(page)
        await expect(page.locator(".display .amount")).to_have_text("€17.99")


@pytest.mark.chromium
async def test_it_is_stopped_on_the_page(
    bench: ForecourtBench, server: ScriptedServer, tmp_path: Path
) -> None:
    server.outcome = Status.AUTHORIZED
    async with shown(bench, tmp_path) as page:
        await page.get_by_label("Amount in EUR").fill("20.00")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Fuel now")).to_be_visible()
        await page.get_by_role("button", name="Stop").click()
        heading = page.get_by_role("heading", name="Nothing was pumped, nothing is paid")
        await expect(heading).to_be_visible()


async def test_what_is_wrong_is_told_and_a_form_sent_twice_is_one_fuelling(
    bench: ForecourtBench, server: ScriptedServer, tmp_path: Path
) -> None:
    server.outcome = Status.AUTHORIZED
    async with attendant_at(bench.lane, tmp_path, forecourt=bench.forecourt) as browser:
        page = (await browser.get("/pump")).text
        form = {"token": token_in(page), "reference": field_in(page, "reference")}

        async def begun(**fields: str) -> httpx.Response:
            sent = form | {"kind": "prepay", "amount": "80"} | fields
            return await browser.post("/pump/begin", data=sent)

        for fields in ({"amount": "8,0"}, {"amount": ""}, {"kind": "x"}):
            answer = await begun(**fields)
            assert answer.status_code == 400
            assert "That is not an amount in this currency." in answer.text
        assert server.payments == {}
        for _ in range(2):
            assert (await begun()).status_code == 303
        await bench.reach(Phase.OPEN)
        assert len(server.payments) == 1
        assert (await begun(reference="pump-2")).status_code == 409
        token = {"token": form["token"]}
        assert (await browser.post("/pump/settle", data=token)).status_code == 409
        assert (await browser.post("/pump/stop", data={})).status_code == 403


async def test_without_a_pump_there_is_no_page_of_it(lane: Bench, tmp_path: Path) -> None:
    async with attendant_at(lane, tmp_path) as browser:
        assert (await browser.get("/pump")).status_code == 404
        assert "/pump" not in (await browser.get("/")).text
