"""What well-formed statements are refused for: trust, state, amounts, order of checks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.server.bench import Bench, check_problem
from tests.server.devices import Devices, new_id, now_s, seal
from tests.server.sql import execute
from twochannel.keystore.file import FileSigner
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.statements import AuthCode, Confirmation, Role

pytestmark = pytest.mark.asyncio(loop_scope="module")


def revoke(shared: Bench, table: str, device: FileSigner) -> None:
    statement = f"UPDATE {table} SET revoked_ms = 1 WHERE id = ?"
    shared.store.write_now(lambda c: execute(c, statement, device.key.kid))


PAYMENT_CASES: dict[str, tuple[dict[str, Any], ErrorCode]] = {
    "unknown currency": (
        {"amount": {"value": 1, "currency": "XXX"}},
        ErrorCode.CURRENCY_UNKNOWN,
    ),
    "no amount": ({"amount": {"value": 0, "currency": "EUR"}}, ErrorCode.CLAIM_INVALID),
    "negative": ({"amount": {"value": -1, "currency": "EUR"}}, ErrorCode.CLAIM_INVALID),
    "too much": ({"amount": {"value": 10**12 + 1, "currency": "EUR"}}, ErrorCode.CLAIM_INVALID),
    "boolean amount": (
        {"amount": {"value": True, "currency": "EUR"}},
        ErrorCode.CLAIM_INVALID,
    ),
    "amount and more": (
        {"amount": {"value": 1, "currency": "EUR", "tip": 1}},
        ErrorCode.CLAIM_INVALID,
    ),
    "other capture mode": ({"capture": "later"}, ErrorCode.CLAIM_INVALID),
    "invisible text": ({"description": "coffee\u202e"}, ErrorCode.CLAIM_INVALID),
    "line break": ({"lane": "Lane 1\nApproved"}, ErrorCode.CLAIM_INVALID),
    "sub is not jti": ({"sub": new_id()}, ErrorCode.CLAIM_INVALID),
    "unknown code": ({"code": "0" * 16}, ErrorCode.CODE_UNKNOWN),
    "short code": ({"code": "00"}, ErrorCode.CODE_UNKNOWN),
    "code of other letters": ({"code": "Z" * 16}, ErrorCode.CODE_UNKNOWN),
    "no code": ({"code": None}, ErrorCode.CLAIM_INVALID),
}


@pytest.mark.parametrize("case", PAYMENT_CASES)
async def test_payment_requests(shared: Bench, case: str) -> None:
    changes, code = PAYMENT_CASES[case]
    await shared.refused("/v1/payments", shared.devices.request(**changes), code)


async def test_all_unusable_codes_get_one_answer(shared: Bench) -> None:
    """Nobody learns from an answer whether a code was ever anyone's."""
    car = await shared.other_car()
    revoke(shared, "jacks", car.jack)
    lost = await shared.other_car()
    revoke(shared, "phones", lost.phone)
    answers = []
    for code in (car.code(), lost.code(), "0" * 16, "xyz"):
        answer = await shared.post("/v1/payments", shared.devices.request(code=code))
        document = answer.json()
        del document["server_time_ms"]
        answers.append((answer.status_code, document))
    assert answers == [answers[0]] * 4
    assert answers[0][1]["code"] == "code_unknown"


async def test_a_payment_id_stands_for_one_request(shared: Bench) -> None:
    payment, _, _ = await shared.pending()
    other = shared.devices.request(jti=payment, sub=payment, reference="order-18")
    await shared.refused("/v1/payments", other, ErrorCode.PAYMENT_CONFLICT)


async def test_a_known_request_is_answered_even_when_its_time_is_over(shared: Bench) -> None:
    request = shared.devices.request(exp=now_s() + 3)
    first = await shared.post("/v1/payments", request, prefer="wait=10")
    again = await shared.post("/v1/payments", request)
    assert (again.status_code, again.json()) == (200, first.json())


async def test_an_open_payment_blocks_its_terminal_and_its_jack(shared: Bench) -> None:
    car = await shared.other_car()
    await shared.pending()
    await busy_for(shared, car.request(), ErrorCode.TERMINAL_BUSY)
    car.terminal = await shared.enrolled(Role.TERMINAL)
    other = Devices(shared.devices.identity, terminal=car.terminal)
    request = other.request(code=shared.devices.code())
    await busy_for(shared, request, ErrorCode.JACK_BUSY)


async def busy_for(shared: Bench, request: str, code: ErrorCode) -> None:
    """The refusal says when the open payment will have ended."""
    await shared.refused("/v1/payments", request, code)
    answer = await shared.post("/v1/payments", request)
    check_problem(answer, code)
    ((ends_s,),) = shared.rows("SELECT expires_s FROM payments WHERE status = 'pending'")
    told_ms = answer.json()["server_time_ms"] + 1000 * int(answer.headers["retry-after"])
    assert 0 <= told_ms - 1000 * ends_s < 2000


async def test_who_comes_back_when_told_finds_jack_and_terminal_free(shared: Bench) -> None:
    await shared.post("/v1/payments", shared.devices.request(exp=now_s() + 3))
    answer = await shared.post("/v1/payments", shared.devices.request())
    check_problem(answer, ErrorCode.TERMINAL_BUSY)
    await asyncio.sleep(int(answer.headers["retry-after"]))
    assert (await shared.post("/v1/payments", shared.devices.request())).status_code == 201


async def test_an_open_payment_past_its_time_blocks_nobody(shared: Bench) -> None:
    """Also when the sweeper has not come by yet."""
    request = shared.devices.request(exp=now_s() + 3)
    payment = (await shared.post("/v1/payments", request)).json()["id"]
    async with asyncio.timeout(10):
        while (await shared.post("/v1/payments", shared.devices.request())).status_code != 201:
            continue
    assert (await shared.payment(payment))["status"] == "expired"


async def test_a_revoked_terminal_is_refused(shared: Bench) -> None:
    devices = Devices(shared.devices.identity)
    devices.terminal = await shared.enrolled(Role.TERMINAL)
    revoke(shared, "terminals", devices.terminal)
    request = devices.request(code=shared.devices.code())
    await shared.refused("/v1/payments", request, ErrorCode.DEVICE_REVOKED)
    answer = await shared.get("/v1/payments", devices.terminal)
    check_problem(answer, ErrorCode.DEVICE_REVOKED)


CONFIRMATION_CASES: dict[str, tuple[dict[str, Any], ErrorCode]] = {
    "another request": ({"prev": "A" * 43}, ErrorCode.CHAIN_BROKEN),
    "another payment": ({"sub": new_id()}, ErrorCode.CHAIN_BROKEN),
    "no auth code": ({"auth_code": None}, ErrorCode.CLAIM_INVALID),
    "no method": ({"payment_method": None}, ErrorCode.CLAIM_INVALID),
    "unknown method": ({"payment_method": new_id()}, ErrorCode.PAYMENT_METHOD_UNKNOWN),
    "approved by nobody": ({"decided_by": "timeout"}, ErrorCode.CLAIM_INVALID),
    "other amount": ({"amount": {"value": 1, "currency": "EUR"}}, ErrorCode.CLAIM_INVALID),
    "broken auth code": ({"auth_code": "a.b.c"}, ErrorCode.MESSAGE_MALFORMED),
}

AUTH_CODE_CASES: dict[str, tuple[dict[str, Any], ErrorCode]] = {
    "another challenge": ({"prev": "A" * 43}, ErrorCode.CHAIN_BROKEN),
    "another payment": ({"sub": new_id()}, ErrorCode.CHAIN_BROKEN),
    "another phone": ({"phone": "A" * 43}, ErrorCode.CHAIN_BROKEN),
    "another server": ({"aud": "A" * 43}, ErrorCode.AUDIENCE_WRONG),
    "another jack": ({"iss": "A" * 43}, ErrorCode.ISSUER_WRONG),
    "another epoch": ({"epoch": 99}, ErrorCode.EPOCH_OUTDATED),
    "no counter": ({"counter": 0}, ErrorCode.CLAIM_INVALID),
    "float counter": ({"counter": 1.5}, ErrorCode.MESSAGE_MALFORMED),
}


@pytest.mark.parametrize("case", CONFIRMATION_CASES)
async def test_confirmations(shared: Bench, case: str) -> None:
    changes, code = CONFIRMATION_CASES[case]
    payment, _, challenge = await shared.pending()
    compact = shared.devices.confirmation(payment, challenge, **changes)
    await shared.refused(f"/v1/payments/{payment}/confirmation", compact, code)


@pytest.mark.parametrize("case", AUTH_CODE_CASES)
@pytest.mark.parametrize("decision", ["approve", "decline"])
async def test_auth_codes(shared: Bench, case: str, decision: str) -> None:
    changes, code = AUTH_CODE_CASES[case]
    payment, _, challenge = await shared.pending()
    compact = shared.devices.confirmation(payment, challenge, auth=changes, decision=decision)
    await shared.refused(f"/v1/payments/{payment}/confirmation", compact, code)


async def test_an_auth_code_needs_the_jacks_own_key(shared: Bench) -> None:
    payment, _, challenge = await shared.pending()
    devices, path = shared.devices, f"/v1/payments/{payment}/confirmation"
    claims = devices.auth_code_claims({"sub": payment}, challenge)
    forged = seal(claims, devices.phone, AuthCode.TYP, kid=devices.jack.key.kid)
    compact = devices.confirmation(payment, challenge, auth_code=forged)
    await shared.refused(path, compact, ErrorCode.SIGNATURE_INVALID)
    stranger = seal(claims, devices.phone, AuthCode.TYP)
    compact = devices.confirmation(payment, challenge, auth_code=stranger)
    await shared.refused(path, compact, ErrorCode.KEY_UNKNOWN)
    car = await shared.other_car()
    other_jack = seal(claims | {"iss": car.jack.key.kid}, car.jack, AuthCode.TYP)
    compact = devices.confirmation(payment, challenge, auth_code=other_jack)
    await shared.refused(path, compact, ErrorCode.CHAIN_BROKEN)


async def test_a_counter_counts_once(shared: Bench) -> None:
    """Harvested auth codes are worth nothing once a newer one was used."""
    payment, _, challenge = await shared.pending()
    claims = shared.devices.confirmation_claims(payment, challenge)
    used = shared.devices.counter
    decline = shared.devices.decline(payment, challenge, auth_code=claims["auth_code"])
    await shared.confirm(payment, decline)
    payment, _, challenge = await shared.pending()
    for counter in (used, used - 1):
        if counter:
            old = shared.devices.confirmation(payment, challenge, auth={"counter": counter})
            path = f"/v1/payments/{payment}/confirmation"
            await shared.refused(path, old, ErrorCode.COUNTER_REUSED)


async def test_statement_ids_count_once(shared: Bench) -> None:
    payment, _, challenge = await shared.pending()
    path = f"/v1/payments/{payment}/confirmation"
    replayed = shared.devices.confirmation(payment, challenge, jti=payment)
    await shared.refused(path, replayed, ErrorCode.STATEMENT_REPLAYED)
    replayed = shared.devices.confirmation(payment, challenge, auth={"jti": payment})
    await shared.refused(path, replayed, ErrorCode.STATEMENT_REPLAYED)


async def test_only_the_payments_own_devices_reach_it(shared: Bench) -> None:
    payment, request, challenge = await shared.pending()
    stranger = await shared.enrolled(Role.PHONE)
    claims = shared.devices.confirmation_claims(payment, challenge, iss=stranger.key.kid)
    compact = seal(claims, stranger, Confirmation.TYP)
    path = f"/v1/payments/{payment}"
    await shared.refused(f"{path}/confirmation", compact, ErrorCode.PAYMENT_UNKNOWN)
    check_problem(await shared.get(path, stranger), ErrorCode.PAYMENT_UNKNOWN)
    other = Devices(shared.devices.identity, terminal=await shared.enrolled(Role.TERMINAL))
    cancel = other.cancel(request)
    await shared.refused(f"{path}/cancellation", cancel, ErrorCode.PAYMENT_UNKNOWN)
    unknown = f"/v1/payments/{new_id()}"
    check_problem(await shared.get(unknown, stranger), ErrorCode.PAYMENT_UNKNOWN)
    check_problem(await shared.get("/v1/payments/x", stranger), ErrorCode.PAYMENT_UNKNOWN)


async def test_revocation_stops_an_open_payment(shared: Bench) -> None:
    for table in ("jacks", "phones"):
        car = await shared.other_car()
        request = car.request()
        payment = (await shared.post("/v1/payments", request)).json()["id"]
        compact = car.confirmation(payment, shared.statement(payment, "challenge+jwt"))
        device = car.jack if table == "jacks" else car.phone
        revoke(shared, table, device)
        path = f"/v1/payments/{payment}/confirmation"
        await shared.refused(path, compact, ErrorCode.DEVICE_REVOKED)
        await shared.clear()


async def test_pairing_again_ends_what_the_former_pairing_began(shared: Bench) -> None:
    car = await shared.other_car()
    payment = (await shared.post("/v1/payments", car.request())).json()["id"]
    compact = car.confirmation(payment, shared.statement(payment, "challenge+jwt"))
    car.epoch = 2
    assert (await shared.post("/v1/pairings", car.acceptance())).status_code == 201
    path = f"/v1/payments/{payment}/confirmation"
    await shared.refused(path, compact, ErrorCode.EPOCH_OUTDATED)


CAPTURE_CASES: dict[str, tuple[dict[str, Any], ErrorCode]] = {
    "more than held": ({"amount": {"value": 8001, "currency": "EUR"}}, ErrorCode.AMOUNT_EXCEEDED),
    "other currency": ({"amount": {"value": 1, "currency": "USD"}}, ErrorCode.CHAIN_BROKEN),
    "unknown currency": ({"amount": {"value": 1, "currency": "ZZZ"}}, ErrorCode.CURRENCY_UNKNOWN),
    "nothing": ({"amount": {"value": 0, "currency": "EUR"}}, ErrorCode.CLAIM_INVALID),
    "another request": ({"prev": "A" * 43}, ErrorCode.CHAIN_BROKEN),
    "another payment": ({"sub": new_id()}, ErrorCode.CHAIN_BROKEN),
}


@pytest.mark.parametrize("case", CAPTURE_CASES)
async def test_captures(shared: Bench, case: str) -> None:
    changes, code = CAPTURE_CASES[case]
    payment, request = await shared.held(8000)
    compact = shared.devices.capture(request, 1, **changes)
    await shared.refused(f"/v1/payments/{payment}/captures", compact, code)


async def test_only_a_hold_can_be_captured(shared: Bench) -> None:
    payment, request, challenge = await shared.pending()
    path = f"/v1/payments/{payment}/captures"
    await shared.refused(path, shared.devices.capture(request, 450), ErrorCode.PAYMENT_STATE)
    await shared.confirm(payment, shared.devices.confirmation(payment, challenge))
    await shared.refused(path, shared.devices.capture(request, 450), ErrorCode.PAYMENT_STATE)
    cancel = shared.devices.cancel(request)
    await shared.refused(f"/v1/payments/{payment}/cancellation", cancel, ErrorCode.PAYMENT_STATE)
