"""Two phones and one jack: both pay, one at a time, until the owner removes the other."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from fieldkit import journeys
from fieldkit.cast import DEMO_CAST, load
from fieldkit.journeys import arrive, owner_asked
from fieldkit.stage import SERVER, Stage
from tests.browser import chromium, judged, opened
from twochannel.protocol.wire import parse_object

SPOUSE = "spouse"
LANE = "lane-1"
#: Above the limit of the cast's phone: it asks.
AMOUNT = "61.00"
PROMPT_S = "30"


class Household(Stage):
    """A stage with another phone, which no car of the cast has."""

    def module(self, agent: str) -> str:
        return "phone_agent" if agent == SPOUSE else super().module(agent)

    def _settings(self, agent: str) -> dict[str, str]:
        if agent != SPOUSE:
            return super()._settings(agent)
        # On the Wi-Fi of the car: without a radio of its own.
        first = super()._settings(self.cast.phone.name)
        return {name: value for name, value in first.items() if name != "PHONE_AGENT_RADIO"} | {
            "PHONE_AGENT_PROMPT_S": PROMPT_S
        }

    async def invited(self) -> dict[str, Any]:
        _, invited = await self.cli(self.cast.phone.name, "family", "invite")
        return invited

    async def join(self, label: str) -> None:
        """The spouse's phone, which has been invited with ``label``, is enrolled and runs."""
        await self._enroll(SPOUSE, "phones", "add", "Spouse")
        port = (await self.ask(self.cast.jack.name, "GET", "/v1/status"))["pairing_port"]
        address = f"{self.venue.place(self.cast.jack.name).address}:{port}"
        _, paired = await self.cli(SPOUSE, "pair", label, "--address", address)
        assert paired["registered"]
        await self.cli(SPOUSE, "methods", "add", "--test-card", "tok_success")
        began_ns = time.monotonic_ns()
        await self.start(SPOUSE)
        await self.seen(SPOUSE, "server_connected", after_ns=began_ns)
        await self.seen(SPOUSE, "jack_found", after_ns=began_ns)


async def confirmed_by(stage: Stage, payment: str, folder: Path) -> str:
    """The phone that the evidence of a payment names; it holds offline."""
    file = folder / f"{payment}.json"
    await stage.say(SERVER, "evidence", "export", payment, "--out", str(file))
    _, verdict = await stage.cli(SERVER, "evidence", "verify", str(file))
    said = [s for s in verdict["steps"] if s["signer"] == "phone" and "approved" in s["text"]]
    assert len(said) == 1
    parse_object(file.read_bytes(), max_bytes=1 << 20)
    return str(said[0]["kid"])


async def asked(stage: Stage, phone: str, payment: str) -> None:
    await stage.seen(phone, "prompt_shown", payment=payment)


@pytest.fixture
async def stage() -> AsyncIterator[Household]:
    """A household of its own, at a lane; at its end the books are clean."""
    with tempfile.TemporaryDirectory(prefix="cigarjack-") as short:
        async with Household(load(DEMO_CAST), Path(short)) as stage:
            await stage.provision(closed=[t.name for t in stage.cast.terminals[1:]])
            await arrive(stage, LANE)
            yield stage
            assert [c.findings for c in await journeys.audit(stage) if c.findings] == []


async def test_two_phones_pay_with_one_jack_until_one_is_removed(
    stage: Household, tmp_path: Path
) -> None:
    await _two_phones(stage, tmp_path)


@pytest.mark.chromium
async def test_the_owner_invites_and_removes_on_the_page(stage: Household) -> None:
    _, link = await stage.cli(stage.cast.phone.name, "page")
    async with chromium() as browser, opened(browser, link["url"]) as page:
        await page.get_by_role("link", name="Jack", exact=True).click()
        await page.get_by_role("button", name="Invite another phone").click()
        label = await page.get_by_role("status").locator(".label").text_content()
        await judged(page, "an invitation")
        await stage.join(str(label))
        await page.get_by_role("link", name="Jack", exact=True).click()
        remove = page.get_by_role("button", name="Remove Spouse")
        await expect(remove).to_be_visible()
        await judged(page, "the phones of a jack")
        await remove.click()
        await expect(page.get_by_text("owner", exact=True)).to_be_visible()
        await expect(remove).to_have_count(0)


async def _two_phones(stage: Household, folder: Path) -> None:
    owner = stage.cast.phone.name
    invited = await stage.invited()
    await stage.join(str(invited["label"]))
    _, listed = await stage.cli(owner, "family", "list")
    kids = [phone["phone"] for phone in listed["items"][0]["phones"]]
    assert len(kids) == 2
    for phone, kid in ((owner, kids[0]), (SPOUSE, kids[1])):
        async with owner_asked(stage, LANE, AMOUNT, expect=(0,)) as (payment, charging):
            await asked(stage, SPOUSE, payment)
            await stage.cli(phone, "approve", payment)
            assert (await charging)["status"] == "captured"
        assert await confirmed_by(stage, payment, folder) == kid
    await _both_at_once(stage, owner)
    await _removed(stage, owner, kids[1], invited["jack"])


async def _both_at_once(stage: Stage, owner: str) -> None:
    async with owner_asked(stage, LANE, AMOUNT, expect=(0,)) as (payment, charging):
        await asked(stage, SPOUSE, payment)
        answers = (
            stage.say(phone, "approve", payment, expect=range(10)) for phone in (owner, SPOUSE)
        )
        await asyncio.gather(*answers)
        assert (await charging)["status"] == "captured"
    assert len(await stage.booked(payment)) == 1


async def _removed(stage: Stage, owner: str, spouse: str, jack: str) -> None:
    async with owner_asked(stage, LANE, AMOUNT, expect=(0,)) as (payment, charging):
        await asked(stage, SPOUSE, payment)
        _, told = await stage.cli(owner, "family", "remove", spouse)
        assert told == {"jack": jack, "phone": spouse, "jack_told": True}
        await stage.say(SPOUSE, "approve", payment, expect=range(10))
        refused = await stage.seen(SPOUSE, "confirmation_answered", payment=payment)
        assert refused.fields["code"] == "epoch_outdated"
        await stage.cli(owner, "approve", payment)
        assert (await charging)["status"] == "captured"
    async with owner_asked(stage, LANE, AMOUNT, expect=(0,)) as (payment, charging):
        await stage.cli(owner, "approve", payment)
        assert (await charging)["status"] == "captured"
    heard = [e for e in stage.traces[SPOUSE].events() if e.payment == payment]
    assert heard == []
