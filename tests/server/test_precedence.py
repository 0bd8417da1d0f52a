"""A statement with two faults is refused for the one that comes first (docs/protocol.md, 6)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.bench import Bench
from tests.server.devices import Devices, new_id, now_s
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.statements import Role

pytestmark = pytest.mark.asyncio(loop_scope="module")

Claims = dict[str, Any]

LATE: Claims = {"iat": now_s() - 3600, "exp": now_s() - 3500}
OTHER_REQUEST: Claims = {"prev": "A" * 43}
TOO_MUCH: Claims = {"amount": {"value": 9999, "currency": "EUR"}}
OTHER_CURRENCY: Claims = {"amount": {"value": 9999, "currency": "USD"}}

#: Faults of a capture or refund of a payment that is still pending, which is a fault by itself.
PENDING = [
    (LATE | OTHER_REQUEST | TOO_MUCH, ErrorCode.CLOCK_SKEW),
    (OTHER_REQUEST | TOO_MUCH, ErrorCode.CHAIN_BROKEN),
    (OTHER_CURRENCY, ErrorCode.PAYMENT_STATE),
    (TOO_MUCH, ErrorCode.PAYMENT_STATE),
]
#: The same of one that could be captured or refunded; ``jti`` None: one that was used before.
READY: list[tuple[Claims, ErrorCode]] = [
    (OTHER_CURRENCY, ErrorCode.CHAIN_BROKEN),
    (TOO_MUCH | {"jti": None}, ErrorCode.AMOUNT_EXCEEDED),
    ({"jti": None}, ErrorCode.STATEMENT_REPLAYED),
]


@pytest.mark.parametrize("kind", ["captures", "refunds"])
@pytest.mark.parametrize(("faults", "code"), PENDING)
async def test_of_a_pending_payment(
    shared: Bench, kind: str, faults: Claims, code: ErrorCode
) -> None:
    payment, request, _ = await shared.pending()
    make = shared.devices.capture if kind == "captures" else shared.devices.refund
    await shared.refused(f"/v1/payments/{payment}/{kind}", make(request, 1, **faults), code)
    stranger = Devices(shared.devices.identity, terminal=await shared.enrolled(Role.TERMINAL))
    by_stranger = stranger.capture if kind == "captures" else stranger.refund
    compact = by_stranger(request, 1, **faults)
    await shared.refused(f"/v1/payments/{payment}/{kind}", compact, ErrorCode.PAYMENT_UNKNOWN)


@pytest.mark.parametrize("kind", ["captures", "refunds"])
@pytest.mark.parametrize(("faults", "code"), READY)
async def test_of_a_payment_that_is_ready(
    shared: Bench, kind: str, faults: Claims, code: ErrorCode
) -> None:
    if kind == "captures":
        payment, request = await shared.held(8000)
    else:
        payment, request, challenge = await shared.pending()
        await shared.confirm(payment, shared.devices.confirmation(payment, challenge))
    make = shared.devices.capture if kind == "captures" else shared.devices.refund
    used = {"jti": payment} if "jti" in faults else {}
    compact = make(request, 1, **(faults | used))
    await shared.refused(f"/v1/payments/{payment}/{kind}", compact, code)


async def test_a_used_id_comes_before_a_used_reference(shared: Bench) -> None:
    payment, request, challenge = await shared.pending()
    await shared.confirm(payment, shared.devices.confirmation(payment, challenge))
    path = f"/v1/payments/{payment}/refunds"
    first = shared.devices.refund(request, 1, reference="milk")
    assert (await shared.post(path, first, prefer="wait=20")).status_code == 201
    both = shared.devices.refund(request, 1, reference="milk", jti=payment)
    await shared.refused(path, both, ErrorCode.STATEMENT_REPLAYED)
    reference = shared.devices.refund(request, 1, reference="milk")
    await shared.refused(path, reference, ErrorCode.PAYMENT_CONFLICT)


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        (LATE | {"lane": "Lane 9", "code": "00" * 8}, ErrorCode.CLOCK_SKEW),
        ({"lane": "Lane 9", "code": "00" * 8}, ErrorCode.CLAIM_INVALID),
        ({"code": "00" * 8}, ErrorCode.CODE_UNKNOWN),
        ({}, ErrorCode.TERMINAL_BUSY),
    ],
)
async def test_of_a_request_while_the_terminal_is_busy(
    shared: Bench, faults: Claims, code: ErrorCode
) -> None:
    payment, _, _ = await shared.pending()
    await shared.refused("/v1/payments", shared.devices.request(**faults), code)
    conflict = shared.devices.request(jti=payment, sub=payment, **faults)
    await shared.refused("/v1/payments", conflict, ErrorCode.PAYMENT_CONFLICT)


@pytest.mark.parametrize(
    ("faults", "auth", "code"),
    [
        (LATE | OTHER_REQUEST, {"epoch": 9}, ErrorCode.CLOCK_SKEW),
        (OTHER_REQUEST, {"epoch": 9}, ErrorCode.CHAIN_BROKEN),
        ({"payment_method": new_id()}, {"epoch": 9}, ErrorCode.EPOCH_OUTDATED),
        ({"payment_method": new_id(), "decided_by": "policy"}, None, ErrorCode.PRESENCE_MISSING),
        ({"payment_method": new_id(), "jti": None}, {}, ErrorCode.PAYMENT_METHOD_UNKNOWN),
    ],
)
async def test_of_a_confirmation(
    shared: Bench, faults: Claims, auth: Claims | None, code: ErrorCode
) -> None:
    """``auth`` None: the jack did not hear the lane."""
    payment, _, challenge = await shared.pending()
    used = {"jti": payment} if "jti" in faults else {}
    unheard = {"lane_nonce": None} if auth is None else auth
    compact = shared.devices.confirmation(payment, challenge, auth=unheard, **(faults | used))
    await shared.refused(f"/v1/payments/{payment}/confirmation", compact, code)
