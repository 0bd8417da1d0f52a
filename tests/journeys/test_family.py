"""Two phones and one jack: both pay, one at a time, until the owner removes the other."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from fieldkit import journeys
from fieldkit.cast import DEMO_CAST, load
from fieldkit.journeys import arrive, owner_asked
from fieldkit.stage import SERVER, Stage
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

    async def join(self) -> dict[str, Any]:
        """The spouse's phone is enrolled, invited by the owner's, and runs."""
        await self._enroll(SPOUSE, "phones", "add", "Spouse")
        _, invited = await self.cli(self.cast.phone.name, "family", "invite")
        port = (await self.ask(self.cast.jack.name, "GET", "/v1/status"))["pairing_port"]
        address = f"{self.venue.place(self.cast.jack.name).address}:{port}"
        _, paired = await self.cli(SPOUSE, "pair", invited["label"], "--address", address)
        assert paired["registered"]
        await self.cli(SPOUSE, "methods", "add", "--test-card", "tok_success")
        began_ns = time.monotonic_ns()
        await self.start(SPOUSE)
        await self.seen(SPOUSE, "server_connected", after_ns=began_ns)
        await self.seen(SPOUSE, "jack_found", after_ns=began_ns)
        return invited


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


async def test_two_phones_pay_with_one_jack_until_one_is_removed(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="cigarjack-") as short:
        async with Household(load(DEMO_CAST), Path(short)) as stage:
            await stage.provision(closed=[t.name for t in stage.cast.terminals[1:]])
            await arrive(stage, LANE)
            await _two_phones(stage, tmp_path)
            findings = [c.findings for c in await journeys.audit(stage) if c.findings]
            assert findings == []


async def _two_phones(stage: Household, folder: Path) -> None:
    owner = stage.cast.phone.name
    invited = await stage.join()
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
