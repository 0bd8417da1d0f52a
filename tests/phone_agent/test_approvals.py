"""From challenge to confirmation: a real agent, a real jack's services, a scripted server."""

from __future__ import annotations

import asyncio

import pytest

from phone_agent.consent import Reason
from tests.cigarjack.parties import Jack, Server, served
from tests.phone_agent.owners_phone import OwnersPhone, drop_methods, eventually, hear_lane
from tests.phone_agent.scripted_server import ScriptedServer, payment_of
from twochannel.protocol.chain import check_confirmation, presence_proven
from twochannel.protocol.envelope import sign, unverified_claims, verify
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.money import Amount
from twochannel.protocol.payment import CaptureMode
from twochannel.protocol.statements import (
    AuthCode,
    Confirmation,
    DecidedBy,
    Decision,
    Merchant,
    Presence,
)


async def test_a_payment_under_the_limit_is_approved_without_a_question(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    async with served(jack), phone.running():
        challenge = server.challenge(jack.id, phone.id)
        compact = server.ask(challenge)
        confirmed = await server.confirmed_compact()
        await phone.until_traced("payment_known", challenge.sub)
    confirmation = verify(
        confirmed, Confirmation, phone.identity.signer.key, audience=server.party.id
    )
    check_confirmation(challenge, compact, confirmation)
    assert confirmation.decision is Decision.APPROVE
    assert confirmation.decided_by is DecidedBy.POLICY
    assert confirmation.auth_code is not None
    auth_code = verify(confirmation.auth_code, AuthCode, jack.identity.signer.key)
    assert presence_proven(challenge, auth_code)
    kept = phone.payment(challenge.sub)
    assert (kept.closed, kept.shown["status"]) == ("answered", "captured")
    assert phone.traced("prompt_shown") == []
    assert phone.traced("auth_code_received")[0]["presence"] is True


@pytest.mark.parametrize(
    ("changes", "heard", "reason"),
    [
        ({"amount": Amount(value=2001, currency="EUR")}, True, "above your limit"),
        ({"amount": Amount(value=1, currency="USD")}, True, "no limit in this currency"),
        ({"merchant": Merchant(id="other", name="Other")}, True, "not on your list"),
        ({}, False, "does NOT hear this lane"),
        (
            {"capture": CaptureMode.MANUAL, "amount": Amount(value=8000, currency="EUR")},
            True,
            "The amount is a maximum",
        ),
    ],
)
async def test_the_owner_is_asked_once_and_answers(
    server: ScriptedServer,
    jack: Jack,
    phone: OwnersPhone,
    changes: dict[str, object],
    heard: bool,
    reason: str,
) -> None:
    phone.pair(jack, server)
    if heard:
        hear_lane(jack)
    async with served(jack), phone.running():
        challenge = server.challenge(jack.id, phone.id, **changes)
        server.ask(challenge)
        server.ask(challenge)
        await phone.until_traced("prompt_shown", challenge.sub)
        (item,) = (await phone.command("GET", "/v1/payments"))["items"]
        assert reason in item["question"]
        assert (await phone.command("GET", "/v1/status"))["waiting"] == [challenge.sub]
        answer = await phone.command("POST", f"/v1/payments/{challenge.sub}/approve")
        assert (answer["decision"], answer["decided_by"]) == ("approve", "owner")
        assert answer["status"] == "captured"
    assert (await server.confirmation()).decided_by is DecidedBy.OWNER
    assert server.confirmations.empty()
    assert len(phone.traced("prompt_shown")) == 1
    assert len(phone.traced("challenge_received")) == 1


@pytest.mark.parametrize("by_s", [90, -90])
async def test_a_challenge_is_taken_after_the_servers_clock_was_set(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone, by_s: int
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    async with served(jack), phone.running():
        server.ask(server.challenge(jack.id, phone.id))
        await server.confirmation()
        server.skew_ms += by_s * 1000
        later = server.challenge(jack.id, phone.id)
        server.ask(later)
        await phone.until_traced("challenge_received", later.sub)


async def test_a_merchant_that_requires_presence_is_declined_with_the_auth_code(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    async with served(jack), phone.running():
        server.ask(server.challenge(jack.id, phone.id, presence=Presence.REQUIRE))
        confirmation = await server.confirmation()
    assert confirmation.decision is Decision.DECLINE
    assert confirmation.decided_by is DecidedBy.POLICY
    assert confirmation.auth_code is not None
    assert unverified_claims(confirmation.auth_code)["lane_nonce"] is None


async def test_an_owner_who_says_nothing_declines_in_time(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    async with served(jack), phone.running(prompt_s=2.0):
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        confirmation = await server.confirmation()
        with pytest.raises(CodedError) as refused:
            await phone.command("POST", f"/v1/payments/{challenge.sub}/approve")
    assert confirmation.decision is Decision.DECLINE
    assert confirmation.decided_by is DecidedBy.TIMEOUT
    assert confirmation.auth_code is not None
    assert refused.value.code is ErrorCode.PAYMENT_STATE
    assert "decline by timeout" in refused.value.detail


async def test_the_decline_by_time_out_arrives_before_the_challenge_expires(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    async with served(jack), phone.running():
        now_s = server.now_ms() // 1000
        challenge = server.challenge(jack.id, phone.id, iat=now_s - 50, exp=now_s + 6)
        server.ask(challenge)
        confirmation = await server.confirmation()
        assert server.now_ms() < challenge.exp * 1000
    assert confirmation.decided_by is DecidedBy.TIMEOUT


async def test_without_the_jack_nothing_is_approved_and_the_reason_is_kept(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    async with phone.running(prompt_s=2.0):
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        await phone.until_traced("auth_code_asked", challenge.sub)
        with pytest.raises(CodedError) as refused:
            await phone.command("POST", f"/v1/payments/{challenge.sub}/approve")
        assert refused.value.code is ErrorCode.NOT_READY
        confirmation = await server.confirmation()
    assert (confirmation.decided_by, confirmation.auth_code) == (DecidedBy.TIMEOUT, None)
    assert phone.traced("decision")[0]["reason"] == Reason.JACK_UNREACHABLE


async def test_the_owner_may_decline_before_the_jack_is_reached(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    async with phone.running():
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        await phone.until_traced("auth_code_asked", challenge.sub)
        await phone.command("POST", f"/v1/payments/{challenge.sub}/decline")
        confirmation = await server.confirmation()
    assert (confirmation.decision, confirmation.decided_by) == (Decision.DECLINE, DecidedBy.OWNER)


async def test_a_jack_that_comes_while_the_challenge_is_open_is_asked(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    async with phone.running():
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        await phone.until_traced("auth_code_asked", challenge.sub)
        async with served(jack):
            confirmation = await server.confirmation()
    assert confirmation.decision is Decision.APPROVE


async def test_a_final_refusal_of_the_jack_declines_at_once(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    challenge = server.challenge(jack.id, phone.id)
    other = challenge.model_copy(update={"match_code": "43"})
    await jack.chip.auth_code(sign(other, server.party.signer))
    async with served(jack), phone.running():
        server.ask(challenge)
        confirmation = await server.confirmation()
    assert (confirmation.decision, confirmation.decided_by) == (Decision.DECLINE, DecidedBy.POLICY)
    assert confirmation.auth_code is None
    assert phone.traced("decision")[0]["reason"] == Reason.JACK_REFUSED


async def test_an_answer_cannot_be_changed_and_the_same_one_is_no_error(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    async with served(jack), phone.running():
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        await phone.until_traced("prompt_shown", challenge.sub)
        both = await asyncio.gather(
            *(phone.command("POST", f"/v1/payments/{challenge.sub}/decline") for _ in range(2))
        )
        assert {item["decision"] for item in both} == {"decline"}
        with pytest.raises(CodedError) as refused:
            await phone.command("POST", f"/v1/payments/{challenge.sub}/approve")
    assert refused.value.code is ErrorCode.PAYMENT_STATE
    assert (await server.confirmation()).decision is Decision.DECLINE
    assert server.confirmations.empty()


async def test_no_answer_is_taken_for_a_payment_that_is_not_known(
    server: ScriptedServer, phone: OwnersPhone
) -> None:
    async with phone.running():
        with pytest.raises(CodedError) as refused:
            await phone.command("POST", "/v1/payments/none/approve")
    assert refused.value.code is ErrorCode.PAYMENT_UNKNOWN


async def test_forged_foreign_and_expired_challenges_reach_neither_jack_nor_owner(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    now_s = server.now_ms() // 1000
    async with served(jack), phone.running():
        server.ask(server.challenge(jack.id, phone.id), Server().signer)
        server.ask(server.challenge(jack.id, Server().id))
        server.ask(server.challenge(Server().id, phone.id))
        server.ask(server.challenge(jack.id, phone.id, iss=Server().id))
        server.ask(server.challenge(jack.id, phone.id, iat=now_s - 60, exp=now_s - 1))
        server.push("challenge", {"challenge": "no statement", "payment": {}})
        server.push("challenge", {})
        server.push("payment", {})
        good = server.challenge(jack.id, phone.id)
        server.ask(good)
        confirmation = await server.confirmation()
    assert confirmation.sub == good.sub
    assert [line["payment"] for line in phone.traced("challenge_received")] == [good.sub]
    assert server.confirmations.empty()


async def test_a_question_is_withdrawn_when_the_server_has_ended_the_payment(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    async with served(jack), phone.running():
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        await phone.until_traced("prompt_shown", challenge.sub)
        server.push("payment", {"payment": payment_of(challenge, "canceled")})
        await phone.until_traced("payment_known", challenge.sub)
        with pytest.raises(CodedError) as refused:
            await phone.command("POST", f"/v1/payments/{challenge.sub}/approve")
    assert refused.value.code is ErrorCode.PAYMENT_STATE
    assert "canceled" in refused.value.detail
    assert server.confirmations.empty()


async def test_what_happened_last_is_not_undone_by_news_that_come_late(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    async with served(jack), phone.running():
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        await phone.until_traced("payment_known", challenge.sub)
        server.push("payment", {"payment": payment_of(challenge, "confirmed")})
        last = server.challenge(jack.id, phone.id)
        server.ask(last)
        await phone.until_traced("payment_known", last.sub)
    assert phone.payment(challenge.sub).shown["status"] == "captured"


async def test_approval_needs_a_payment_method(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    phone.wallet(drop_methods)
    async with served(jack), phone.running():
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        await phone.until_traced("prompt_shown", challenge.sub)
        with pytest.raises(CodedError) as refused:
            await phone.command("POST", f"/v1/payments/{challenge.sub}/approve")
        assert refused.value.code is ErrorCode.PAYMENT_METHOD_UNKNOWN
        await phone.command("POST", f"/v1/payments/{challenge.sub}/decline")
        await eventually(
            lambda: phone.payment(challenge.sub).closed == "answered", "the decline is taken"
        )
