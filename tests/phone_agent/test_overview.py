"""What the phone's command line tells of payments that did not go the plain way."""

from __future__ import annotations

import asyncio

from tests.cigarjack.parties import Jack, served
from tests.phone_agent.owner_commands import command
from tests.phone_agent.owners_phone import OwnersPhone
from tests.phone_agent.scripted_server import ScriptedServer, payment_of
from twochannel.protocol.errors import ErrorCode


async def test_the_owner_sees_what_was_given_back(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    async with served(jack), phone.running():
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        await phone.until_traced("prompt_shown")
        await command(phone, "approve", challenge.sub)
        server.push("payment", {"payment": payment_of(challenge, "captured", refunded_minor=150)})
        async with asyncio.timeout(20):
            while "captured, 1.50 given back" not in (await command(phone, "payments")).stdout:
                continue


async def test_an_owner_whose_phone_sent_too_many_wrong_answers_is_told_what_to_do(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    server.refusals.append(ErrorCode.TOO_MANY_CONFIRMATIONS)
    server.retry_after_s = 600
    async with served(jack), phone.running():
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        await phone.until_traced("prompt_shown")
        result = await command(phone, "approve", challenge.sub)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "the server did not take it: Too many confirmations of this phone were wrong",
        "Wait ten minutes; pair phone and jack again, or ask the operator.",
    ]
