"""A terminal that cheats: enrolled, with a good key, and a bad operator."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server.registry import revoke
from tests.adversaries.scene import nothing_charged
from tests.server.bench import MERCHANT, Bench, check_problem
from tests.server.devices import Claims, new_id, seal
from twochannel.keystore.file import FileSigner
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.statements import Cancel, Capture, Confirmation, Role
from twochannel.trace import wall_ms

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def another_terminal(server: Bench) -> FileSigner:
    return await server.enrolled(Role.TERMINAL)


async def test_it_cannot_change_the_amount_after_the_owner_has_seen_it(server: Bench) -> None:
    payment, _, challenge = await server.pending()
    dearer = {"value": 45_000, "currency": "EUR"}
    request = server.devices.request(jti=payment, sub=payment, amount=dearer)
    await server.refused("/v1/payments", request, ErrorCode.PAYMENT_CONFLICT)
    answer = await server.confirm(payment, server.devices.confirmation(payment, challenge))
    assert answer.json()["captured_minor"] == 450


async def test_it_cannot_confirm_in_the_phones_place(server: Bench) -> None:
    payment, _, challenge = await server.pending()
    devices, path = server.devices, f"/v1/payments/{payment}/confirmation"
    claims = devices.confirmation_claims(payment, challenge)
    with nothing_charged(server):
        for signer, header, code in (
            (devices.terminal, {}, ErrorCode.KEY_UNKNOWN),
            (devices.terminal, {"kid": devices.phone.key.kid}, ErrorCode.SIGNATURE_INVALID),
        ):
            forged = seal(claims, signer, Confirmation.TYP, **header)
            await server.refused(path, forged, code)


async def test_it_cannot_act_as_a_phone_anywhere(server: Bench) -> None:
    devices = server.devices
    for path in ("/v1/events", "/v1/payment-methods"):
        check_problem(await server.get(path, devices.terminal), ErrorCode.KEY_UNKNOWN)
    claims = devices.method_claims(iss=devices.terminal.key.kid)
    method = seal(claims, devices.terminal, "payment-method+jwt")
    await server.refused("/v1/payment-methods", method, ErrorCode.KEY_UNKNOWN)


CAPTURES: dict[str, tuple[dict[str, Any], ErrorCode]] = {
    "more than is held": (
        {"amount": {"value": 8001, "currency": "EUR"}},
        ErrorCode.AMOUNT_EXCEEDED,
    ),
    "in another currency": ({"amount": {"value": 1, "currency": "KWD"}}, ErrorCode.CHAIN_BROKEN),
    "less than nothing": ({"amount": {"value": -1, "currency": "EUR"}}, ErrorCode.CLAIM_INVALID),
    "of another request": ({"prev": "A" * 43}, ErrorCode.CHAIN_BROKEN),
    "of another payment": ({"sub": new_id()}, ErrorCode.CHAIN_BROKEN),
}


@pytest.fixture(scope="module")
def held() -> dict[str, str]:
    """The one hold of this module, once there is one."""
    return {}


async def hold(server: Bench, held: dict[str, str]) -> tuple[str, str]:
    if not held:
        held["payment"], held["request"] = await server.held()
    return held["payment"], held["request"]


@pytest.mark.parametrize("case", CAPTURES)
async def test_it_cannot_capture(server: Bench, held: dict[str, str], case: str) -> None:
    changes, code = CAPTURES[case]
    payment, request = await hold(server, held)
    capture = server.devices.capture(request, 100, **changes)
    await server.refused(f"/v1/payments/{payment}/captures", capture, code)


async def test_it_captures_once_however_often_it_asks(server: Bench) -> None:
    payment, request = await server.held()
    path = f"/v1/payments/{payment}/captures"
    captures = [server.devices.capture(request, 4000 + n) for n in range(8)]
    with nothing_charged(server):
        answers = await asyncio.gather(*(server.post(path, c, prefer="wait=10") for c in captures))
    taken = [a.json() for a in answers if a.status_code == 200]
    assert len(taken) == 1
    shown = await server.payment(payment)
    assert shown["captured_minor"] == taken[0]["captured_minor"] <= 4007
    refusals = {a.json()["code"] for a in answers if a.status_code != 200}
    assert refusals == {"payment_state"}


async def test_it_cannot_touch_the_payments_of_another(server: Bench, held: dict[str, str]) -> None:
    payment, request = await hold(server, held)
    thief = await another_terminal(server)
    of_thief: Claims = {"iss": thief.key.kid}
    capture = seal(server.devices.capture_claims(request, 100) | of_thief, thief, Capture.TYP)
    path = f"/v1/payments/{payment}"
    await server.refused(f"{path}/captures", capture, ErrorCode.PAYMENT_UNKNOWN)
    claims = {k: v for k, v in server.devices.capture_claims(request, 1).items() if k != "amount"}
    cancel = seal(claims | of_thief, thief, Cancel.TYP)
    await server.refused(f"{path}/cancellation", cancel, ErrorCode.PAYMENT_UNKNOWN)
    check_problem(await server.get(path, thief), ErrorCode.PAYMENT_UNKNOWN)
    assert (await server.get("/v1/payments", thief)).json()["items"] == []


async def test_a_cursor_of_another_opens_nothing(server: Bench) -> None:
    await server.pending()
    await server.clear()
    await server.pending()
    first = await server.get("/v1/payments?limit=1", server.devices.terminal)
    cursor = first.json()["next_cursor"]
    thief = await another_terminal(server)
    answer = await server.get(f"/v1/payments?cursor={cursor}", thief)
    assert answer.json() == {"items": [], "next_cursor": None}


#: What people would take for another place, another merchant or another line.
TEXTS = (
    "Lane 2",
    "lane 1",
    "Lane 1 ",
    "Shell, pump 3",
    "Lane 1\u202e",
    "Lane 1\u200b",
    "Lane 1\nApproved",
    "\u3164",
    "\u2800",
    "",
)


@pytest.mark.parametrize("lane", TEXTS)
async def test_it_is_at_the_lane_that_it_was_enrolled_for(server: Bench, lane: str) -> None:
    """The owner reads the lane as the server's word: the terminal has no say in it."""
    request = server.devices.request(lane=lane)
    await server.refused("/v1/payments", request, ErrorCode.CLAIM_INVALID)


async def test_it_asks_for_its_own_merchant_alone(server: Bench) -> None:
    request = server.devices.request(merchant={"id": "other", "name": "Other"})
    await server.refused("/v1/payments", request, ErrorCode.CLAIM_INVALID)
    payment, _, challenge = await server.pending(description="payable to Shell")
    assert "Shell" not in challenge
    assert (await server.payment(payment))["merchant"]["id"] == MERCHANT


async def test_a_replayed_request_is_the_same_payment(server: Bench) -> None:
    payment, request, challenge = await server.pending()
    with nothing_charged(server):
        for _ in range(3):
            again = await server.post("/v1/payments", request)
            assert (again.status_code, again.json()["id"]) == (200, payment)
    assert server.statement(payment, "challenge+jwt") == challenge
    await server.confirm(payment, server.devices.decline(payment, challenge))
    assert (await server.post("/v1/payments", request)).json()["status"] == "declined"


async def test_a_second_prompt_waits_for_the_first(server: Bench) -> None:
    """Bursts: one open question for one car, whoever asks, and one for one terminal."""
    await server.pending()
    second = await another_terminal(server)
    claims = server.devices.request_claims(iss=second.key.kid)
    await server.refused(
        "/v1/payments", seal(claims, second, "payment-request+jwt"), ErrorCode.JACK_BUSY
    )
    await server.refused("/v1/payments", server.devices.request(), ErrorCode.TERMINAL_BUSY)


async def test_codes_cannot_be_guessed(server: Bench) -> None:
    with nothing_charged(server):
        for guess in ("0" * 16, "f" * 16, server.devices.code()[::-1]):
            request = server.devices.request(code=guess)
            await server.refused("/v1/payments", request, ErrorCode.CODE_UNKNOWN)


async def test_a_proof_opens_one_door_once(server: Bench) -> None:
    devices = server.devices

    async def ask(method: str, target: str, proof: str) -> Any:
        headers = {"authorization": f"Bearer {proof}"}
        return await server.http.request(method, target, headers=headers)

    proof = devices.proof(devices.terminal, "GET", "/v1/payments")
    for method, target in (
        ("GET", "/v1/payments?limit=1"),
        ("GET", f"/v1/payments/{new_id()}"),
        ("GET", "/v1%2Fpayments"),
    ):
        check_problem(await ask(method, target, proof), ErrorCode.PROOF_REQUIRED)
    assert (await ask("GET", "/v1/payments", proof)).status_code == 200
    check_problem(await ask("GET", "/v1/payments", proof), ErrorCode.STATEMENT_REPLAYED)
    other = devices.proof(devices.terminal, "POST", "/v1/payments")
    check_problem(await ask("GET", "/v1/payments", other), ErrorCode.PROOF_REQUIRED)


async def test_once_it_is_revoked_nothing_is_confirmed_for_it(server: Bench) -> None:
    """Also not the payment for which the owner is just being asked."""
    thief = await another_terminal(server)
    claims = server.devices.request_claims(iss=thief.key.kid)
    request = seal(claims, thief, "payment-request+jwt")
    payment = (await server.post("/v1/payments", request)).json()["id"]
    challenge = server.statement(payment, "challenge+jwt")
    server.store.write_now(lambda c: revoke(c, Role.TERMINAL, thief.key.kid, wall_ms()))
    with nothing_charged(server):
        approval = server.devices.confirmation(payment, challenge)
        path = f"/v1/payments/{payment}/confirmation"
        await server.refused(path, approval, ErrorCode.DEVICE_REVOKED)
        check_problem(await server.get("/v1/payments", thief), ErrorCode.DEVICE_REVOKED)
        # What it asked for before is answered as before, and it changes nothing.
        assert (await server.post("/v1/payments", request)).json()["status"] == "pending"
    server.store.write_now(
        lambda c: c.exec_driver_sql(
            "UPDATE terminals SET revoked_ms = NULL WHERE id = ?", (thief.key.kid,)
        )
    )
    cancel = {k: v for k, v in server.devices.capture_claims(request, 1).items() if k != "amount"}
    canceled = seal(cancel | {"iss": thief.key.kid}, thief, Cancel.TYP)
    assert (await server.post(f"/v1/payments/{payment}/cancellation", canceled)).status_code == 200


async def test_a_revoked_terminal_does_not_come_back(server: Bench) -> None:
    thief = await another_terminal(server)
    server.store.write_now(lambda c: revoke(c, Role.TERMINAL, thief.key.kid, wall_ms()))
    code = server.enrolment_code(Role.TERMINAL, MERCHANT)
    again = server.devices.enrolment(thief, Role.TERMINAL, code)
    await server.refused("/v1/enrolments", again, ErrorCode.DEVICE_REVOKED)
