"""``phone-agent watch`` and ``page``, in a terminal."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from phone_agent.owner_commands import changed, told
from tests.cigarjack.parties import Jack, served
from tests.phone_agent.owners_phone import DEADLINE_S, OwnersPhone, hear_lane
from tests.phone_agent.scripted_server import ScriptedServer
from twochannel.protocol.statements import Decision, Merchant

STRANGER = Merchant(id="stranger", name="Wash'n'Go")


def item(number: int, question: str | None = None, status: str = "pending") -> dict[str, Any]:
    return {
        "id": f"payment-{number}",
        "question": question,
        "status": status,
        "merchant": {"name": "Wash'n'Go"},
        "lane": "Wash 1",
        "amount": {"value": 450, "currency": "EUR"},
        "refunded_minor": 0,
        "decision": None,
        "decided_by": None,
    }


def test_nothing_waits_at_first() -> None:
    old = [item(1, status="captured")]
    assert told(old, changed(old, []), first=True) == ["Nothing waits for you. Watching …"]
    assert told(old, changed(old, old), first=False) == []


def test_a_flood_is_one_question_and_a_count() -> None:
    # The newest comes first, as the agent lists them.
    items = [item(n, question=f"Question {n}") for n in (4, 3, 2, 1)]
    lines = told(items, changed(items, []), first=False)
    assert lines[1:] == [
        "Question 1",
        "Answer: phone-agent approve|decline payment-1",
        "Behind it: Wash'n'Go × 3",
    ]


def test_an_outcome_is_told_once_and_the_next_question_after_it() -> None:
    before = [item(2, question="Question 2"), item(1, question="Question 1")]
    after = [before[0], item(1, status="captured")]
    lines = told(after, changed(after, before), first=False)
    assert lines[0].startswith("captured  4.50 EUR  Wash'n'Go, Wash 1")
    assert "Question 2" in lines
    assert told(after, changed(after, after), first=False) == []


async def command(phone: OwnersPhone, *arguments: str) -> asyncio.subprocess.Process:
    line = ("-m", "phone_agent", "--state", str(phone.state), *arguments)
    return await asyncio.create_subprocess_exec(
        sys.executable, *line, stdout=asyncio.subprocess.PIPE, env={"PYTHONUNBUFFERED": "1"}
    )


async def test_watching_a_payment(server: ScriptedServer, jack: Jack, phone: OwnersPhone) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    challenge = server.challenge(jack.id, phone.id, merchant=STRANGER)
    async with served(jack), phone.running():
        watching = await command(phone, "watch")
        assert watching.stdout is not None
        try:
            async with asyncio.timeout(DEADLINE_S):
                assert b"Nothing waits for you" in await watching.stdout.readline()
                server.ask(challenge)
                await watching.stdout.readuntil(b"Wash'n'Go asks for")
                await watching.stdout.readuntil(challenge.sub.encode())
                await phone.command("POST", f"/v1/payments/{challenge.sub}/decline")
                assert (await server.confirmation()).decision is Decision.DECLINE
                await watching.stdout.readuntil(b"declined")
        finally:
            watching.terminate()
            await watching.wait()


async def test_the_link_to_the_page(server: ScriptedServer, phone: OwnersPhone) -> None:
    async with phone.running():
        for arguments, drawn in (((), True), (("--json",), False)):
            process = await command(phone, "page", *arguments)
            output = (await process.communicate())[0].decode()
            assert process.returncode == 0
            url = output.split()[-1] if drawn else json.loads(output)["url"]
            assert url.startswith("http://phone-")
            assert ("█" in output) is drawn
