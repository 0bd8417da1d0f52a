"""A phone that cheats: the owner's own, a stranger's, or one that was sold."""

from __future__ import annotations

import asyncio

import pytest

from server.registry import revoke
from server.routes.events import MAX_STREAMS
from tests.adversaries.scene import nothing_charged
from tests.server.bench import Bench, check_problem
from tests.server.devices import Devices, new_id, now_s, seal
from twochannel.keystore.file import FileSigner
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.statements import AuthCode, Confirmation, Role
from twochannel.trace import wall_ms

pytestmark = pytest.mark.asyncio(loop_scope="module")


def door(payment: str) -> str:
    return f"/v1/payments/{payment}/confirmation"


async def test_it_cannot_confirm_without_the_jack(server: Bench) -> None:
    payment, _, challenge = await server.pending()
    devices = server.devices
    claims = devices.auth_code_claims({"sub": payment}, challenge)
    own_words = seal(claims, devices.phone, AuthCode.TYP)
    in_its_name = seal(claims, devices.phone, AuthCode.TYP, kid=devices.jack.key.kid)
    with nothing_charged(server):
        for auth_code, code in (
            (None, ErrorCode.CLAIM_INVALID),
            (own_words, ErrorCode.KEY_UNKNOWN),
            (in_its_name, ErrorCode.SIGNATURE_INVALID),
            (challenge, ErrorCode.STATEMENT_TYPE_WRONG),
        ):
            compact = devices.confirmation(payment, challenge, auth_code=auth_code)
            await server.refused(door(payment), compact, code)


async def test_an_old_auth_code_pays_for_nothing_else(server: Bench) -> None:
    first, _, challenge = await server.pending()
    old = server.devices.confirmation_claims(first, challenge)["auth_code"]
    decline = server.devices.decline(first, challenge, auth_code=old)
    assert (await server.confirm(first, decline)).json()["status"] == "declined"
    payment, _, challenge = await server.pending()
    with nothing_charged(server):
        compact = server.devices.confirmation(payment, challenge, auth_code=old)
        await server.refused(door(payment), compact, ErrorCode.CHAIN_BROKEN)


async def test_another_cars_jack_does_not_help(server: Bench) -> None:
    car = await server.other_car()
    payment, _, challenge = await server.pending()
    claims = server.devices.auth_code_claims({"sub": payment}, challenge, iss=car.jack.key.kid)
    foreign = seal(claims, car.jack, AuthCode.TYP)
    with nothing_charged(server):
        compact = server.devices.confirmation(payment, challenge, auth_code=foreign)
        await server.refused(door(payment), compact, ErrorCode.CHAIN_BROKEN)


async def test_it_cannot_pay_with_the_method_of_another(server: Bench) -> None:
    car = await server.other_car()
    payment, _, challenge = await server.pending()
    with nothing_charged(server):
        compact = server.devices.confirmation(payment, challenge, payment_method=car.method_id)
        await server.refused(door(payment), compact, ErrorCode.PAYMENT_METHOD_UNKNOWN)


async def test_a_stranger_cannot_answer_for_the_owner(server: Bench) -> None:
    car = await server.other_car()
    payment, _, challenge = await server.pending()
    claims = server.devices.confirmation_claims(payment, challenge)
    stranger = claims | {"iss": car.phone.key.kid, "payment_method": car.method_id}
    with nothing_charged(server):
        for spoiled in (stranger, stranger | {"decision": "decline", "payment_method": None}):
            compact = seal(spoiled, car.phone, Confirmation.TYP)
            await server.refused(door(payment), compact, ErrorCode.PAYMENT_UNKNOWN)
        path = f"/v1/payments/{payment}"
        check_problem(await server.get(path, car.phone), ErrorCode.PAYMENT_UNKNOWN)
    assert (await server.get("/v1/payments", car.phone)).json()["items"] == []


async def test_twice_is_once(server: Bench) -> None:
    payment, _, challenge = await server.pending()
    compact = server.devices.confirmation(payment, challenge)
    answers = await asyncio.gather(*(server.confirm(payment, compact) for _ in range(6)))
    assert {a.json()["captured_minor"] for a in answers} == {450}
    with nothing_charged(server):
        second = server.devices.confirmation(payment, challenge)
        await server.refused(door(payment), second, ErrorCode.PAYMENT_STATE)


async def test_racing_approvals_charge_once(server: Bench) -> None:
    payment, _, challenge = await server.pending()
    approvals = [server.devices.confirmation(payment, challenge) for _ in range(6)]
    answers = await asyncio.gather(*(server.confirm(payment, each) for each in approvals))
    assert [a.status_code for a in answers].count(200) == 1
    codes = {a.json()["code"] for a in answers if a.status_code != 200}
    assert codes <= {"payment_state", "counter_reused"}
    assert (await server.payment(payment))["captured_minor"] == 450


async def test_racing_a_cancel_has_one_winner(server: Bench) -> None:
    for _ in range(5):
        payment, request, challenge = await server.pending()
        canceling = server.post(
            f"/v1/payments/{payment}/cancellation", server.devices.cancel(request)
        )
        confirming = server.confirm(payment, server.devices.confirmation(payment, challenge))
        canceled, confirmed = await asyncio.gather(canceling, confirming)
        # A cancel after an automatic capture comes too late, one before it ends the payment.
        assert sorted((canceled.status_code, confirmed.status_code)) == [200, 409]
        taken = (await server.payment(payment))["captured_minor"]
        assert taken == (450 if confirmed.status_code == 200 else 0)


async def test_too_late_is_too_late(server: Bench) -> None:
    request = server.devices.request(exp=now_s() + 3)
    payment = (await server.post("/v1/payments", request)).json()["id"]
    challenge = server.statement(payment, "challenge+jwt")
    path = f"/v1/payments/{payment}"
    with nothing_charged(server):
        ended = await server.get(path, server.devices.phone, prefer="wait=10")
        assert ended.json()["status"] == "expired"
        late = server.devices.confirmation(payment, challenge)
        await server.refused(door(payment), late, ErrorCode.PAYMENT_STATE)


async def test_no_means_no(server: Bench) -> None:
    payment, _, challenge = await server.pending()
    await server.confirm(payment, server.devices.decline(payment, challenge))
    with nothing_charged(server):
        compact = server.devices.confirmation(payment, challenge)
        await server.refused(door(payment), compact, ErrorCode.PAYMENT_STATE)


async def test_a_harvested_auth_code_dies_with_its_challenge(server: Bench) -> None:
    """A challenge exists only once the server has made it, and each has a nonce of its own."""
    payment, _, challenge = await server.pending()
    harvested = server.devices.confirmation(payment, challenge)
    await server.confirm(payment, server.devices.decline(payment, challenge))
    other, _, _ = await server.pending()
    with nothing_charged(server):
        await server.refused(door(payment), harvested, ErrorCode.PAYMENT_STATE)
        await server.refused(door(other), harvested, ErrorCode.CHAIN_BROKEN)


async def test_after_its_jack_was_sold_it_pays_and_pairs_no_more(server: Bench) -> None:
    """The old pairing, never sent or sent again, does not come back; nor does the old phone."""
    seller = await server.other_car()
    kept = seller.acceptance(pairing={"epoch": 1})
    buyer = Devices(seller.identity, terminal=seller.terminal, jack=seller.jack, epoch=2)
    buyer.jack_beacon = seller.jack_beacon
    request = seller.request(code=seller.code())
    payment = (await server.post("/v1/payments", request)).json()["id"]
    challenge = server.statement(payment, "challenge+jwt")
    buyer.phone = await server.enrolled(Role.PHONE)
    assert (await server.post("/v1/pairings", buyer.acceptance())).status_code == 201
    with nothing_charged(server):
        await server.refused("/v1/pairings", kept, ErrorCode.EPOCH_OUTDATED)
        again = seller.acceptance(pairing={"epoch": 2})
        await server.refused("/v1/pairings", again, ErrorCode.EPOCH_OUTDATED)
        paid = seller.confirmation(payment, challenge)
        await server.refused(door(payment), paid, ErrorCode.EPOCH_OUTDATED)
    cancel = seller.cancel(request)
    assert (await server.post(f"/v1/payments/{payment}/cancellation", cancel)).status_code == 200


async def test_a_pairing_with_another_phone_is_not_its_own(server: Bench) -> None:
    """It saw the jack's word for the owner's phone and would like to be meant by it."""
    thief = Devices(server.devices.identity, phone=await server.enrolled(Role.PHONE))
    thief.jack, thief.jack_beacon = server.devices.jack, server.devices.jack_beacon
    of_owner = thief.acceptance(pairing={"sub": server.devices.phone.key.kid, "epoch": 9})
    await server.refused("/v1/pairings", of_owner, ErrorCode.ISSUER_WRONG)
    forged = seal(thief.acceptance_claims(pairing={"epoch": 9}), thief.phone, "pairing+jwt")
    await server.refused("/v1/pairings", forged, ErrorCode.STATEMENT_TYPE_WRONG)


async def test_revoked_it_is_shut_out_everywhere(server: Bench) -> None:
    lost = await server.other_car()
    payment = (await server.post("/v1/payments", lost.request(code=lost.code()))).json()["id"]
    challenge = server.statement(payment, "challenge+jwt")
    server.store.write_now(lambda c: revoke(c, Role.PHONE, lost.phone.key.kid, wall_ms()))
    with nothing_charged(server):
        compact = lost.confirmation(payment, challenge)
        await server.refused(door(payment), compact, ErrorCode.DEVICE_REVOKED)
        await server.refused("/v1/payment-methods", lost.method(), ErrorCode.DEVICE_REVOKED)
        again = lost.acceptance(pairing={"epoch": 2})
        await server.refused("/v1/pairings", again, ErrorCode.DEVICE_REVOKED)
        for path in ("/v1/events", "/v1/payments", "/v1/payment-methods"):
            check_problem(await server.get(path, lost.phone), ErrorCode.DEVICE_REVOKED)
        code = server.enrolment_code(Role.PHONE)
        back = server.devices.enrolment(lost.phone, Role.PHONE, code)
        await server.refused("/v1/enrolments", back, ErrorCode.DEVICE_REVOKED)


async def test_its_event_streams_are_its_own_and_few(server: Bench) -> None:
    """Last-Event-ID of 0 asks for everything: it gets what is its own. A fifth ends the first."""
    stranger = (await server.other_car()).phone
    await server.pending()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        heard = [group.create_task(listen(server, stranger)) for _ in range(MAX_STREAMS + 3)]
        done: set[asyncio.Task[bytes]] = set()
        while len(done) < 3:
            newly, _ = await asyncio.wait(heard, return_when=asyncio.FIRST_COMPLETED)
            done |= newly
            heard = [task for task in heard if task not in done]
        assert len(heard) == MAX_STREAMS
        for task in heard:
            task.cancel()
    assert {b"challenge" in task.result() for task in done} == {False}


async def listen(server: Bench, signer: FileSigner) -> bytes:
    """A stream from the beginning of time, to its end."""
    proof = server.devices.proof(signer, "GET", "/v1/events")
    headers = {"authorization": f"Bearer {proof}", "last-event-id": "0"}
    async with server.http.stream("GET", "/v1/events", headers=headers) as answer:
        assert answer.status_code == 200
        return await answer.aread()


async def test_an_id_that_is_not_there_is_no_other_payment(server: Bench) -> None:
    payment, _, challenge = await server.pending()
    compact = server.devices.confirmation(payment, challenge)
    with nothing_charged(server):
        for path in (new_id(), f"{payment}%00", f"%2e%2e/{payment}", payment.upper()):
            answer = await server.post(f"/v1/payments/{path}/confirmation", compact)
            assert answer.json()["code"] in ("payment_unknown", "not_found"), path
