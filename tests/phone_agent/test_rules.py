"""The owner's rules in a running phone: what was approved by itself counts, and races count too."""

from __future__ import annotations

from phone_agent.consent import Answer, Reason, Rules, owner_answer
from phone_agent.database import FILE_NAME, Database
from phone_agent.ledger import Ledger
from tests.cigarjack.parties import Jack, served
from tests.phone_agent.owners_phone import OwnersPhone, hear_lane
from tests.phone_agent.scripted_server import ScriptedServer, payment_of
from twochannel.protocol.statements import DecidedBy, Decision

#: Two coffees of 4.50, and not three.
TWO_COFFEES = Rules(day_minor={"EUR": 900})


async def test_what_was_approved_alone_counts_for_a_day_and_over_a_restart(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    phone.wallet(lambda w: w.keep_rules(TWO_COFFEES))
    async with served(jack):
        for _ in range(2):
            async with phone.running():
                server.ask(server.challenge(jack.id, phone.id))
                confirmation = await server.confirmation()
                assert confirmation.decided_by is DecidedBy.POLICY
                await phone.until_traced("confirmation_answered", confirmation.sub)
        async with phone.running():
            third = server.challenge(jack.id, phone.id)
            server.ask(third)
            await phone.until_traced("prompt_shown", third.sub)


async def test_payments_at_the_same_time_do_not_pass_the_limit_together(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    phone.wallet(lambda w: w.keep_rules(TWO_COFFEES))
    asked = [server.challenge(jack.id, phone.id) for _ in range(6)]
    async with served(jack), phone.running(prompt_s=3):
        for challenge in asked:
            server.ask(challenge)
        answers = [await server.confirmation() for _ in asked]
    approved = [a for a in answers if a.decision is Decision.APPROVE]
    assert len(approved) == 2
    late = [a for a in answers if a.decision is Decision.DECLINE]
    assert {a.decided_by for a in late} == {DecidedBy.TIMEOUT}
    # One prompt for one payment, however often the server tells of it.
    assert len(phone.traced("prompt_shown")) == len({a.sub for a in late}) == 4


async def test_switched_off_the_owner_is_asked_about_everything(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    phone.wallet(lambda w: w.keep_rules(Rules(automatic=False)))
    async with served(jack), phone.running():
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        server.ask(challenge)
        await phone.until_traced("prompt_shown", challenge.sub)
        marker = server.challenge(jack.id, phone.id)
        server.ask(marker)
        await phone.until_traced("prompt_shown", marker.sub)
        assert len(phone.traced("prompt_shown", challenge.sub)) == 1


def test_what_counts_is_what_was_or_may_yet_be_paid_since_then(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    with Database.open(phone.state / FILE_NAME) as database:
        ledger = Ledger(database)

        def keep(received_ms: int, answer: Answer, **shown: object) -> None:
            challenge = server.challenge(jack.id, phone.id)
            payment = payment_of(challenge) | shown
            ledger.keep_challenge(payment, jack.id, "a.b.c", received_ms=received_ms, event_id="1")
            ledger.keep_answer(challenge.sub, answer, "d.e.f")

        alone = Answer(Decision.APPROVE, DecidedBy.POLICY, Reason.WITHIN_LIMIT)
        keep(1000, alone)
        keep(1001, alone)
        keep(1002, alone, status="captured", captured_minor=17)
        keep(1003, alone, status="voided")
        keep(1004, alone, status="refused")
        keep(1005, alone, amount={"value": 9, "currency": "USD"})
        keep(1006, owner_answer(Decision.APPROVE))
        assert ledger.approved_alone_minor("EUR", since_ms=1000) == 450 + 17
        assert ledger.approved_alone_minor("EUR", since_ms=0) == 450 + 450 + 17
        assert ledger.approved_alone_minor("USD", since_ms=0) == 9
