"""Answers on their way: lost answers, wrong clocks, restarts in between."""

from __future__ import annotations

import asyncio

import pytest

from phone_agent.ledger import KeptPayment
from tests.cigarjack.parties import Jack, served
from tests.phone_agent.owners_phone import OwnersPhone, eventually, hear_lane
from tests.phone_agent.scripted_server import ScriptedServer
from twochannel.protocol.envelope import unverified_claims
from twochannel.protocol.errors import PROBLEMS, ErrorCode
from twochannel.protocol.statements import Challenge, Decision


async def ask_and_hear(server: ScriptedServer, jack: Jack, phone: OwnersPhone) -> Challenge:
    """A payment that the policy approves."""
    hear_lane(jack)
    challenge = server.challenge(jack.id, phone.id)
    server.ask(challenge)
    return challenge


async def closed(phone: OwnersPhone, payment: str) -> KeptPayment:
    await phone.until_traced("challenge_received", payment)
    await eventually(lambda: phone.payment(payment).closed is not None, "the payment is closed")
    return phone.payment(payment)


@pytest.mark.parametrize("code", [None, ErrorCode.NOT_READY, ErrorCode.INTERNAL_ERROR])
async def test_an_answer_that_is_lost_is_asked_for_with_the_same_bytes(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone, code: ErrorCode | None
) -> None:
    phone.pair(jack, server)
    server.refusals.extend([code, code])
    async with served(jack), phone.running():
        challenge = await ask_and_hear(server, jack, phone)
        sent = [await server.confirmed_compact() for _ in range(3)]
        assert (await closed(phone, challenge.sub)).closed == "answered"
    assert len(set(sent)) == 1
    assert len(phone.traced("decision")) == 1


@pytest.mark.parametrize("code", [ErrorCode.CLOCK_SKEW, ErrorCode.STATEMENT_EXPIRED])
async def test_a_refused_time_is_corrected_under_the_same_id(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone, code: ErrorCode
) -> None:
    phone.pair(jack, server)
    server.refusals.append(code)
    async with served(jack), phone.running():
        hear_lane(jack)
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        # From here on the server's clock shows another time than when the phone signed.
        await phone.until_traced("challenge_received")
        server.skew_ms = 7_000
        first, second = [unverified_claims(await server.confirmed_compact()) for _ in range(2)]
        assert (await closed(phone, challenge.sub)).closed == "answered"
        kept = phone.payment(challenge.sub)
    assert kept.confirmation == server.accepted[challenge.sub]
    assert {key for key in first if first[key] != second[key]} <= {"iat", "exp"}


async def test_the_phone_signs_with_the_time_of_the_server(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    server.skew_ms = -30 * 24 * 3600 * 1000
    phone.pair(jack, server)
    async with served(jack), phone.running():
        await ask_and_hear(server, jack, phone)
        confirmation = await server.confirmation()
    assert abs(confirmation.iat - server.now_ms() // 1000) < 10


@pytest.mark.parametrize("code", [ErrorCode.PAYMENT_STATE, ErrorCode.COUNTER_REUSED])
async def test_a_refusal_for_good_ends_it_and_is_kept(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone, code: ErrorCode
) -> None:
    phone.pair(jack, server)
    server.refusals.append(code)
    async with served(jack), phone.running():
        challenge = await ask_and_hear(server, jack, phone)
        assert (await closed(phone, challenge.sub)).closed == f"refused: {code}"
        answer = await phone.command("POST", f"/v1/payments/{challenge.sub}/approve")
        assert answer["closed"] == f"refused: {code}"
    assert phone.traced("confirmation_answered")[0]["status_code"] == PROBLEMS[code].status
    assert len(phone.traced("confirmation_sent")) == 1


async def test_a_phone_that_is_to_wait_a_moment_waits_and_sends_again(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    server.refusals.append(ErrorCode.TOO_MANY_CONFIRMATIONS)
    server.retry_after_s = 1
    async with served(jack), phone.running():
        challenge = await ask_and_hear(server, jack, phone)
        assert (await closed(phone, challenge.sub)).closed == "answered"
    refused, accepted = phone.traced("confirmation_answered")
    assert (refused["status_code"], accepted["status_code"]) == (429, 200)
    assert accepted["mono_ns"] - refused["mono_ns"] >= 10**9


async def test_a_phone_that_is_to_wait_longer_than_the_payment_lasts_gives_it_up(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    server.refusals.append(ErrorCode.TOO_MANY_CONFIRMATIONS)
    server.retry_after_s = 600
    async with served(jack), phone.running():
        challenge = await ask_and_hear(server, jack, phone)
        told = (await closed(phone, challenge.sub)).closed
    assert told == f"refused: {ErrorCode.TOO_MANY_CONFIRMATIONS}"


async def test_an_answer_kept_before_a_restart_is_sent_after_it_unchanged(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    server.refusals.extend([None] * 100)
    async with served(jack):
        async with phone.running():
            challenge = await ask_and_hear(server, jack, phone)
            first = await server.confirmed_compact()
        server.refusals.clear()
        while not server.confirmations.empty():
            server.confirmations.get_nowait()
        async with phone.running():
            assert await server.confirmed_compact() == first
            assert (await closed(phone, challenge.sub)).closed == "answered"
    assert [line["payment"] for line in phone.traced("intent_swept")] == [challenge.sub]
    assert len(phone.traced("decision")) == 1


async def test_a_question_that_was_open_at_a_restart_is_asked_again(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    async with served(jack):
        async with phone.running():
            challenge = server.challenge(jack.id, phone.id)
            server.ask(challenge)
            await phone.until_traced("prompt_shown")
        async with phone.running():
            await phone.until_traced("prompt_shown", count=2)
            await phone.command("POST", f"/v1/payments/{challenge.sub}/approve")
    assert (await server.confirmation()).decision is Decision.APPROVE
    assert server.last_event_ids == [None, "1"]
    assert len(phone.traced("challenge_received")) == 1


async def test_a_question_that_expired_while_the_agent_was_down_is_closed(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    async with served(jack):
        async with phone.running():
            challenge = server.challenge(jack.id, phone.id)
            server.ask(challenge)
            await phone.until_traced("prompt_shown")
        server.skew_ms = 61_000
        async with phone.running():
            assert (await closed(phone, challenge.sub)).closed == "expired"
    assert server.confirmations.empty()


async def test_the_owner_learns_when_the_server_has_the_answer_at_last(
    jack: Jack, phone: OwnersPhone, server: ScriptedServer
) -> None:
    phone.pair(jack, server)
    async with served(jack), phone.running():
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        await phone.until_traced("prompt_shown")
        server.refusals.extend([None] * 1000)
        decline = asyncio.create_task(
            phone.command("POST", f"/v1/payments/{challenge.sub}/decline")
        )
        await server.confirmed_compact()
        assert phone.payment(challenge.sub).closed is None
        server.refusals.clear()
        assert (await decline)["closed"] == "answered"
