"""The pages in a real browser where they are hardest to read: long, many, in Korean, and shut."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from playwright.async_api import expect

from tests.browser import chromium, judged, opened
from tests.cigarjack.parties import Jack, served
from tests.phone_agent.owners_phone import OwnersPhone, hear_lane
from tests.phone_agent.scripted_server import ScriptedServer
from twochannel.control import ask
from twochannel.protocol.limits import MAX_AMOUNT_MINOR
from twochannel.protocol.money import Amount
from twochannel.protocol.statements import Decision, Merchant
from twochannel.trial_notes import PATH

pytestmark = pytest.mark.chromium

LONG = Merchant(id="long", name="The registered name of a merchant who has much to say, Branch 12")


async def test_a_flood_of_long_requests_in_korean(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    amount = Amount(value=MAX_AMOUNT_MINOR, currency="KRW")
    async with served(jack), phone.running(), chromium() as browser:
        url = (await phone.command("POST", "/v1/page"))["url"]
        async with opened(browser, url, locale="ko-KR") as page:
            await expect(page.get_by_role("heading", name="승인할 결제가 없습니다")).to_be_visible()
            await judged(page, "nothing to approve")
            for _ in range(3):
                server.ask(server.challenge(jack.id, phone.id, merchant=LONG, amount=amount))
            await expect(page.get_by_text("요청 2건이 더 기다리고 있습니다")).to_be_visible()
            await judged(page, "a flood")
            approve = page.get_by_role("button", name="승인")
            await page.get_by_role("button", name="모두 거절").click()
            await expect(page.locator(".behind")).to_have_count(0)
            await expect(approve).to_be_visible()
            # A question that is open calls its owner back from every other page.
            await page.get_by_role("button", name="거절", exact=True).click()
            await expect(approve).to_have_count(0)
            await page.get_by_role("link", name="한도").click()
            await judged(page, "limits")


async def test_a_question_takes_no_tap_that_was_meant_for_another(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    async with served(jack), phone.running(), chromium() as browser:
        url = (await phone.command("POST", "/v1/page"))["url"]
        async with opened(browser, url) as page:
            await expect(page.get_by_text("Your jack is in reach")).to_be_visible()
            # A finger that is on the screen already, where Approve is about to be.
            await page.evaluate("""new MutationObserver(() => {
              const button = document.querySelector('.approve');
              if (button) window.since ??= performance.now();
              if (button && !button.disabled) window.closed_ms ??= performance.now() - window.since;
            }).observe(document.body, {attributes: true, childList: true, subtree: true})""")
            server.ask(server.challenge(jack.id, phone.id, merchant=LONG))
            approve = page.get_by_role("button", name="Approve")
            await expect(approve).to_be_enabled()
            assert await page.evaluate("window.closed_ms") >= 600


async def test_an_answer_that_came_too_early_can_be_given_again(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    async with phone.running(), chromium() as browser:
        url = (await phone.command("POST", "/v1/page"))["url"]
        async with opened(browser, url) as page:
            server.ask(server.challenge(jack.id, phone.id, merchant=LONG))
            approve = page.get_by_role("button", name="Approve")
            await expect(approve).to_be_disabled()
            # A page without its script lets it be pressed at any time.
            await approve.evaluate("button => { button.disabled = false; }")
            await approve.click()
            await expect(page.get_by_text("Your jack has not answered yet")).to_be_visible()
            async with served(jack):
                await approve.click()
                assert (await server.confirmation()).decision is Decision.APPROVE


async def test_nothing_is_pressed_while_the_agent_is_away(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    async with served(jack), chromium() as browser, AsyncExitStack() as stack:
        async with phone.running():
            url = (await phone.command("POST", "/v1/page"))["url"]
            page = await stack.enter_async_context(opened(browser, url))
            await page.evaluate("""new MutationObserver(() => {
              if (document.querySelector('.approve')) window.since ??= performance.now();
            }).observe(document.body, {childList: true, subtree: true})""")
            server.ask(server.challenge(jack.id, phone.id, merchant=LONG))
            approve = page.get_by_role("button", name="Approve")
            await expect(approve).to_be_visible()
        await expect(page.get_by_text("The agent does not answer.")).to_be_visible()
        # Past the time in which a new question takes no tap.
        await page.evaluate("""new Promise((done) => {
              setTimeout(done, window.since + 1000 - performance.now());
            })""")
        await expect(approve).to_be_disabled()
        await expect(page.get_by_role("button", name="Decline")).to_be_disabled()
        async with phone.running():
            await approve.click()
            assert (await server.confirmation()).decision is Decision.APPROVE


async def test_whoever_is_not_let_in_is_told_how(phone: OwnersPhone) -> None:
    async with phone.running(), chromium() as browser:
        url = (await phone.command("POST", "/v1/page"))["url"]
        async with opened(browser, url.partition("/open/")[0]) as page:
            await expect(page.get_by_text("phone-agent page")).to_be_visible()
            await judged(page, "the door")


@pytest.mark.parametrize(
    ("locale", "texts"),
    [
        (
            "en-GB",
            {
                "what": "What happens now, in trial monday-1",
                "who": "Who is really at a lane",
                "there": "From now on there is",
                "nobody": "nobody with a jack",
                "lane": "Name of the lane",
                "note": "Note it",
                "noted": "Noted.",
            },
        ),
        (
            "ko-KR",
            {
                "what": "시험 monday-1에서 지금 일어나는 일",
                "who": "레인에 실제로 있는 차",
                "there": "지금부터 있는 것",
                "nobody": "잭이 있는 차 없음",
                "lane": "레인 이름",
                "note": "기록",
                "noted": "기록했습니다.",
            },
        ),
    ],
)
async def test_a_note_for_the_recording(
    phone: OwnersPhone, locale: str, texts: dict[str, str]
) -> None:
    async with phone.running(), chromium() as browser:
        started: dict[str, object] = {"trial": "monday-1"}
        await asyncio.to_thread(ask, phone.state, "POST", PATH, started, agent="phone-agent")
        url = (await phone.command("POST", "/v1/page"))["url"]
        async with opened(browser, url, locale=locale) as page:
            await page.goto(f"{url.partition('/open/')[0]}/jack")
            await page.get_by_label(texts["what"]).fill("it drives off")
            await page.get_by_text(texts["who"]).click()
            await page.get_by_label(texts["there"]).select_option(texts["nobody"])
            await page.get_by_label(texts["lane"]).fill("lane-1")
            await judged(page, f"a note {locale}")
            await page.get_by_role("button", name=texts["note"], exact=True).click()
            await expect(page.get_by_role("status")).to_have_text(texts["noted"])
    (line,) = phone.traced("trial_marked")
    assert (line["trial"], line["text"]) == ("monday-1", "it drives off")
    assert line["truth"] == {"kind": "at_lane", "lane": "lane-1", "jack": None, "present": False}
