"""Refunds at the server's door: answered, waited for, refused, read by those whom they concern."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.bench import Bench, check_problem
from tests.server.devices import Devices, new_id, seal
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.statements import Refund, Role

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def paid(bench: Bench, token: str | None = None) -> tuple[str, str]:
    """A captured payment: its id and its request."""
    payment, request, challenge = await bench.pending()
    changes: dict[str, Any] = {"payment_method": await bench.add_method(token)} if token else {}
    confirmation = bench.devices.confirmation(payment, challenge, **changes)
    assert (await bench.confirm(payment, confirmation)).json()["status"] == "captured"
    return payment, request


async def test_a_refund_over_the_api(shared: Bench) -> None:
    payment, request = await paid(shared)
    refund, path = shared.devices.refund(request, 150), f"/v1/payments/{payment}/refunds"
    answer = await shared.post(path, refund, prefer="wait=20")
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert (told["status"], told["amount"]) == ("succeeded", {"value": 150, "currency": "EUR"})
    assert (told["requested_by"], told["reason"]) == ("terminal", None)
    again = await shared.post(path, refund)
    assert (again.status_code, again.json()) == (200, told)
    shown = await shared.payment(payment)
    assert (shown["status"], shown["refunded_minor"]) == ("captured", 150)
    assert shown["receipt"] == told["receipt"]
    for device in (shared.devices.terminal, shared.devices.phone):
        one = await shared.get(f"{path}/{told['id']}", device, prefer="wait=20")
        assert one.json() == told
        assert (await shared.get(path, device)).json() == {"items": [told]}


async def test_the_phone_is_told_of_a_refund(shared: Bench) -> None:
    payment, request = await paid(shared)
    path = f"/v1/payments/{payment}/refunds"
    await shared.post(path, shared.devices.refund(request, 150), prefer="wait=20")
    own = "SELECT kind FROM phone_events WHERE payment_id = ? ORDER BY seq DESC"
    before_and_after = [row[0] for row in shared.rows(own, payment)]
    assert before_and_after == ["payment", "payment", "payment", "challenge"]


async def test_a_refund_whose_answer_was_lost_is_waited_for(shared: Bench) -> None:
    payment, request = await paid(shared, "tok_refund_lost_answer")
    path = f"/v1/payments/{payment}/refunds"
    answer = await shared.post(path, shared.devices.refund(request, 150), prefer="wait=20")
    assert answer.json()["status"] == "succeeded"


async def test_a_refused_refund_is_told_with_its_reason(shared: Bench) -> None:
    payment, request = await paid(shared, "tok_refund_refused")
    path = f"/v1/payments/{payment}/refunds"
    answer = await shared.post(path, shared.devices.refund(request, 150), prefer="wait=20")
    assert (answer.json()["status"], answer.json()["reason"]) == ("refused", "refund_refused")
    assert answer.json()["receipt"] is None


CASES: dict[str, tuple[dict[str, Any], ErrorCode]] = {
    "more than taken": ({"amount": {"value": 451, "currency": "EUR"}}, ErrorCode.AMOUNT_EXCEEDED),
    "other currency": ({"amount": {"value": 1, "currency": "USD"}}, ErrorCode.CHAIN_BROKEN),
    "unknown currency": ({"amount": {"value": 1, "currency": "ZZZ"}}, ErrorCode.CURRENCY_UNKNOWN),
    "nothing": ({"amount": {"value": 0, "currency": "EUR"}}, ErrorCode.CLAIM_INVALID),
    "no reference": ({"reference": ""}, ErrorCode.CLAIM_INVALID),
    "another request": ({"prev": "A" * 43}, ErrorCode.CHAIN_BROKEN),
    "another payment": ({"sub": new_id()}, ErrorCode.CHAIN_BROKEN),
}


@pytest.mark.parametrize("case", CASES)
async def test_refunds_that_are_refused(shared: Bench, case: str) -> None:
    changes, code = CASES[case]
    payment, request = await paid(shared)
    compact = shared.devices.refund(request, 1, **changes)
    await shared.refused(f"/v1/payments/{payment}/refunds", compact, code)


async def test_only_the_payments_own_terminal_refunds(shared: Bench) -> None:
    payment, request = await paid(shared)
    path = f"/v1/payments/{payment}/refunds"
    other = Devices(shared.devices.identity, terminal=await shared.enrolled(Role.TERMINAL))
    await shared.refused(path, other.refund(request, 1), ErrorCode.PAYMENT_UNKNOWN)
    claims = shared.devices.refund_claims(request, 1, iss=shared.devices.phone.key.kid)
    by_phone = seal(claims, shared.devices.phone, Refund.TYP)
    await shared.refused(path, by_phone, ErrorCode.KEY_UNKNOWN)
    server = shared.folder.keys.signer("signing")
    claims = shared.devices.refund_claims(request, 1, iss=server.key.kid)
    await shared.refused(path, seal(claims, server, Refund.TYP), ErrorCode.KEY_UNKNOWN)
    stranger = await shared.enrolled(Role.PHONE)
    check_problem(await shared.get(path, stranger), ErrorCode.PAYMENT_UNKNOWN)
    unknown = await shared.get(f"{path}/{new_id()}", shared.devices.terminal)
    check_problem(unknown, ErrorCode.REFUND_UNKNOWN)


async def test_a_refund_id_serves_once(shared: Bench) -> None:
    payment, request = await paid(shared)
    path = f"/v1/payments/{payment}/refunds"
    first = shared.devices.refund(request, 1)
    refund = (await shared.post(path, first, prefer="wait=20")).json()["id"]
    other = shared.devices.refund(request, 2, jti=refund)
    await shared.refused(path, other, ErrorCode.STATEMENT_REPLAYED)
