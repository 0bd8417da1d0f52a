"""Refunds are given back once, whatever fails on the way, and believed with their receipt alone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from payment_device.answers import UnsettledError
from payment_device.intents import OperationPhase
from payment_device.orders import GivingBack
from tests.payment_device.lane import Air, Bench, euros, refused, terminal_at, until
from tests.payment_device.scripted_server import ScriptedServer, new_signer
from twochannel.keystore.file import FileSigner
from twochannel.protocol.envelope import unverified_claims
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.money import Amount
from twochannel.protocol.payment import RefundStatus, Status


def back(value: int, reference: str = "milk", reason: str = "") -> GivingBack:
    return GivingBack(euros(value), reference, reason, wait_s=20)


def sent(server: ScriptedServer) -> list[str]:
    return [compact for path, compact in server.received if path.endswith("refunds")]


@pytest.fixture
async def payment(lane: Bench) -> str:
    """A captured payment of 4.50."""
    lane.air.jack()
    return str((await lane.charge())["id"])


async def test_parts_are_given_back_one_after_the_other(
    lane: Bench, server: ScriptedServer, payment: str
) -> None:
    first = await lane.terminal.refund(payment, back(100))
    assert (first["refunded_minor"], first["status"], first["paid"]) == (100, "captured", True)
    assert first["refund"]["phase"] == "done"
    second = await lane.terminal.refund(payment, back(50, "sugar"))
    assert second["refunded_minor"] == 150
    assert second["refund"]["id"] != first["refund"]["id"]
    assert (await lane.terminal.payment(payment))["refunded_minor"] == 150
    assert len(sent(server)) == 2


async def test_a_reference_is_given_back_once(
    lane: Bench, server: ScriptedServer, payment: str
) -> None:
    first = await lane.terminal.refund(payment, back(100))
    assert await lane.terminal.refund(payment, back(100)) == first
    with refused(ErrorCode.PAYMENT_CONFLICT):
        await lane.terminal.refund(payment, back(101))
    assert len(sent(server)) == 1


@pytest.mark.parametrize("fault", ["lose", "drop", ErrorCode.NOT_READY])
async def test_whatever_is_lost_it_is_given_back_once(
    lane: Bench, server: ScriptedServer, payment: str, fault: str
) -> None:
    server.faults.append(fault)
    assert (await lane.terminal.refund(payment, back(100)))["refunded_minor"] == 100
    assert len(set(sent(server))) == 1
    assert server.payments[payment].refunded_minor == 100


@pytest.mark.parametrize(
    ("faults", "ahead_s"),
    [((ErrorCode.STATEMENT_EXPIRED,), 30), ((), 3600)],
    ids=["expired", "another clock"],
)
async def test_a_refund_refused_for_its_time_is_signed_again_with_its_own_id(
    lane: Bench,
    server: ScriptedServer,
    payment: str,
    faults: tuple[ErrorCode, ...],
    ahead_s: int,
) -> None:
    """The clock has moved, so what is signed again has other bytes: its receipt names these."""
    server.ahead_s = ahead_s
    server.faults.extend(faults)
    assert (await lane.terminal.refund(payment, back(100)))["refunded_minor"] == 100
    first, second = sent(server)
    assert first != second
    assert unverified_claims(first)["jti"] == unverified_claims(second)["jti"]
    assert lane.intents.open_operations() == []


async def test_what_was_signed_again_is_kept_when_its_answer_is_lost(
    lane: Bench, server: ScriptedServer, payment: str
) -> None:
    server.ahead_s = 20
    server.faults.extend([ErrorCode.STATEMENT_EXPIRED, "lose", *[ErrorCode.NOT_READY] * 2])
    refund = asyncio.create_task(lane.terminal.refund(payment, back(100)))
    await server.wait_for(3)
    server.ahead_s = 40
    assert (await refund)["refunded_minor"] == 100
    assert len(sent(server)) == 5
    assert len(set(sent(server))) == 2


async def test_a_refund_that_took_effect_unheard_is_found_by_looking(
    lane: Bench, server: ScriptedServer, payment: str
) -> None:
    server.faults.extend(["lose", ErrorCode.STATEMENT_REPLAYED])
    assert (await lane.terminal.refund(payment, back(100)))["refunded_minor"] == 100


async def test_another_refund_waits_for_the_one_under_way(
    lane: Bench, server: ScriptedServer, payment: str
) -> None:
    server.faults.extend([ErrorCode.NOT_READY] * 3)
    first = asyncio.create_task(lane.terminal.refund(payment, back(100)))
    await server.wait_for(2)
    with refused(ErrorCode.PAYMENT_STATE) as told:
        await lane.terminal.refund(payment, back(50, "sugar"))
    assert "a refund is under way" in str(told.value)
    assert (await first)["refunded_minor"] == 100


async def test_a_slow_processor_is_waited_for(
    lane: Bench, server: ScriptedServer, payment: str
) -> None:
    server.slow_card = True
    both = (lane.terminal.refund(payment, back(100)) for _ in range(2))
    first, second = await asyncio.gather(*both)
    assert first["refunded_minor"] == second["refunded_minor"] == 100
    assert len(sent(server)) == 1


async def test_a_refund_is_not_refused_because_a_look_at_it_is(
    lane: Bench, server: ScriptedServer, payment: str
) -> None:
    server.slow_card = True
    server.looks.append(CodedError(ErrorCode.DEVICE_REVOKED))
    assert (await lane.terminal.refund(payment, back(100)))["refunded_minor"] == 100
    assert len(sent(server)) == 2


@pytest.mark.parametrize(
    "code", [ErrorCode.AMOUNT_EXCEEDED, ErrorCode.PAYMENT_STATE, ErrorCode.PAYMENT_CONFLICT]
)
async def test_a_refund_that_the_server_refuses_says_why(
    lane: Bench, server: ScriptedServer, payment: str, code: ErrorCode
) -> None:
    server.faults.append(code)
    with refused(code):
        await lane.terminal.refund(payment, back(100))
    assert lane.intents.open_operations() == []
    assert (await lane.terminal.refund(payment, back(100)))["refunded_minor"] == 100


async def test_a_refund_that_the_card_refuses_says_why_and_may_be_asked_for_anew(
    lane: Bench, server: ScriptedServer, payment: str
) -> None:
    server.refund_status = RefundStatus.REFUSED
    with refused(ErrorCode.PAYMENT_STATE) as told:
        await lane.terminal.refund(payment, back(100))
    assert "account closed" in str(told.value)
    server.refund_status = RefundStatus.SUCCEEDED
    assert (await lane.terminal.refund(payment, back(100)))["refunded_minor"] == 100


async def test_what_was_never_taken_is_not_given_back(lane: Bench, server: ScriptedServer) -> None:
    server.outcome = Status.DECLINED
    lane.air.jack()
    declined = (await lane.charge())["id"]
    with refused(ErrorCode.PAYMENT_STATE):
        await lane.terminal.refund(declined, back(100))
    usd = Amount(value=1, currency="USD")
    with refused(ErrorCode.CURRENCY_UNKNOWN):
        await lane.terminal.refund(declined, GivingBack(usd, "milk", "", 20))
    with refused(ErrorCode.PAYMENT_UNKNOWN):
        await lane.terminal.refund("none", back(1))


@pytest.mark.parametrize(
    "changes",
    [
        {"refunded_minor": 99},
        {"refunded_minor": 451},
        {"status": "authorized"},
        {"currency": "USD"},
        {"prev": "A" * 43},
        {"sub": "01a20846-fe00-7000-8000-000000000064"},
        {"iss": "A" * 43},
    ],
)
async def test_a_receipt_that_proves_something_else_is_no_refund(
    lane: Bench, server: ScriptedServer, payment: str, changes: dict[str, Any]
) -> None:
    server.receipt_changes = changes
    with refused(ErrorCode.CHAIN_BROKEN):
        await lane.terminal.refund(payment, back(100))
    assert (await lane.terminal.payment(payment))["refunded_minor"] == 0


async def test_a_forged_receipt_is_no_refund(
    lane: Bench, server: ScriptedServer, payment: str
) -> None:
    server.forger = new_signer()
    with refused(ErrorCode.KEY_UNKNOWN):
        await lane.terminal.refund(payment, back(100))
    assert (await lane.terminal.payment(payment))["refunded_minor"] == 0


async def test_a_refund_whose_answer_was_lost_is_finished_after_a_restart(
    server: ScriptedServer, signer: FileSigner, air: Air, tmp_path: Path
) -> None:
    async with terminal_at(tmp_path, server.pin(), signer, air, patience_s=0.0) as lane:
        air.jack()
        payment = (await lane.charge())["id"]
        server.faults.extend(["lose"] * 50)
        with pytest.raises(UnsettledError):
            await lane.terminal.refund(payment, back(100))
        (operation,) = lane.intents.open_operations()
    server.faults.clear()
    async with terminal_at(tmp_path, server.pin(), signer, air) as lane:
        await until(lambda: lane.intents.open_operations() == [])
        assert lane.intents.get_operation(operation.statement).phase is OperationPhase.DONE
        assert (await lane.terminal.payment(payment))["refunded_minor"] == 100
    assert set(sent(server)) == {operation.compact}
