"""What a terminal believes: only what a receipt of the pinned server proves."""

from __future__ import annotations

from typing import Any

import pytest

from payment_device.receipts import Operation, ReceiptCheck
from tests.payment_device.scripted_server import Held, ScriptedServer, new_id, new_signer, settle
from twochannel.protocol.errors import CodedError, StatementError
from twochannel.protocol.money import Amount
from twochannel.protocol.payment import CaptureMode, Status
from twochannel.protocol.statements import PaymentRequest, SightingReport
from twochannel.protocol.succession import read_lineage

TERMINAL = new_signer()


@pytest.fixture
def server() -> ScriptedServer:
    """Not running: it only writes answers."""
    return ScriptedServer(terminal=TERMINAL.key)


@pytest.fixture
def check(server: ScriptedServer) -> ReceiptCheck:
    return ReceiptCheck(TERMINAL.key.kid, lambda: read_lineage(server.identity))


def asked(server: ScriptedServer, capture: CaptureMode = CaptureMode.AUTOMATIC) -> PaymentRequest:
    payment = new_id()
    return PaymentRequest(
        iss=TERMINAL.key.kid,
        aud=server.id,
        jti=payment,
        iat=1,
        exp=61,
        sub=payment,
        code="0123456789abcdef",
        amount=Amount(value=450, currency="EUR"),
        capture=capture,
        lane="Lane 1",
        lane_digest="A" * 43,
        reference="r-1",
        sighting=SightingReport(rssi_dbm=-50, heard_ms_ago=1, other_jacks=0),
    )


def answer(
    server: ScriptedServer, request: PaymentRequest, status: Status, **figures: int
) -> dict[str, Any]:
    held = Held(request, "")
    settle(held, status)
    for name, value in figures.items():
        setattr(held, name, value)
    return server.document(held)


@pytest.mark.parametrize(
    ("capture", "status", "figures", "paid"),
    [
        (CaptureMode.AUTOMATIC, Status.CAPTURED, {}, True),
        (CaptureMode.MANUAL, Status.AUTHORIZED, {}, True),
        (CaptureMode.MANUAL, Status.CAPTURED, {"captured_minor": 17}, True),
        (CaptureMode.MANUAL, Status.AUTHORIZED, {"authorized_minor": 449}, False),
        (CaptureMode.MANUAL, Status.VOIDED, {"authorized_minor": 450}, False),
        (CaptureMode.AUTOMATIC, Status.DECLINED, {}, False),
        (CaptureMode.AUTOMATIC, Status.PENDING, {}, False),
        (CaptureMode.AUTOMATIC, Status.UNKNOWN, {}, False),
    ],
)
async def test_what_counts_as_paid(
    server: ScriptedServer,
    check: ReceiptCheck,
    capture: CaptureMode,
    status: Status,
    figures: dict[str, int],
    paid: bool,
) -> None:
    request = asked(server, capture)
    payment = check.check(answer(server, request, status, **figures), request)
    assert (payment.status, payment.paid) == (status, paid)


async def test_what_is_under_way_is_not_settled(
    server: ScriptedServer, check: ReceiptCheck
) -> None:
    request = asked(server, CaptureMode.MANUAL)
    told = answer(server, request, Status.AUTHORIZED)
    assert check.check(told, request).settled
    under_way = check.check(told | {"operation": "void"}, request)
    assert (under_way.operation, under_way.settled) == (Operation.VOID, False)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "another"},
        {"amount": {"value": 449, "currency": "EUR"}},
        {"amount": {"value": 450, "currency": "USD"}},
        {"amount": {"value": 450.0, "currency": "EUR"}},
        {"capture": "manual"},
        {"lane": "Lane 2"},
        {"reference": "r-2"},
        {"captured_minor": 451, "authorized_minor": 451},
        {"captured_minor": 450, "authorized_minor": 0},
        {"captured_minor": True},
        {"status": "paid"},
        {"status": "declined"},
        {"operation": "refund"},
        {"receipt": None},
        {"receipt": "a.b.c"},
        {"receipt": 7},
    ],
)
async def test_an_answer_that_is_not_borne_out_is_refused(
    server: ScriptedServer, check: ReceiptCheck, changes: dict[str, Any]
) -> None:
    request = asked(server)
    told = answer(server, request, Status.CAPTURED)
    check.check(told, request)
    with pytest.raises(StatementError):
        check.check(told | changes, request)


async def test_a_newer_server_may_say_more(server: ScriptedServer, check: ReceiptCheck) -> None:
    request = asked(server)
    told = answer(server, request, Status.CAPTURED) | {"tip_minor": 0}
    assert check.check(told, request).paid
    del told["status"]
    with pytest.raises(CodedError, match="it is not a payment"):
        check.check(told, request)
