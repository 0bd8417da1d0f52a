"""Captures and cancels take effect once, whatever fails on the way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from payment_device.answers import UnsettledError
from payment_device.intents import OperationPhase, Phase
from tests.payment_device.lane import (
    Air,
    Bench,
    euros,
    held,
    refused,
    terminal_at,
    until,
)
from tests.payment_device.scripted_server import ScriptedServer, new_signer
from twochannel.keystore.file import FileSigner
from twochannel.protocol.envelope import unverified_claims
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.money import Amount
from twochannel.protocol.payment import Status


async def test_a_hold_is_captured_for_less(lane: Bench, server: ScriptedServer) -> None:
    payment = await held(lane, server)
    captured = await lane.terminal.capture(payment, euros(4217), wait_s=20)
    assert (captured["status"], captured["captured_minor"]) == ("captured", 4217)
    assert (captured["paid"], captured["amount_text"]) == (True, "42.17 EUR")
    again = await lane.terminal.capture(payment, euros(4217), wait_s=20)
    assert again == captured
    assert len([path for path, _ in server.received if path.endswith("captures")]) == 1


@pytest.mark.parametrize("fault", ["lose", "drop", ErrorCode.NOT_READY])
async def test_a_capture_takes_effect_once_whatever_is_lost(
    lane: Bench, server: ScriptedServer, fault: str
) -> None:
    payment = await held(lane, server)
    server.faults.append(fault)
    captured = await lane.terminal.capture(payment, euros(4217), wait_s=20)
    assert captured["captured_minor"] == 4217
    sent = {compact for path, compact in server.received if path.endswith("captures")}
    assert len(sent) == 1


async def test_a_capture_that_is_refused_says_why(lane: Bench, server: ScriptedServer) -> None:
    payment = await held(lane, server)
    server.faults.append(ErrorCode.AMOUNT_EXCEEDED)
    with refused(ErrorCode.AMOUNT_EXCEEDED):
        await lane.terminal.capture(payment, euros(8001), wait_s=20)
    assert lane.intents.open_operations() == []
    with refused(ErrorCode.CURRENCY_UNKNOWN):
        await lane.terminal.capture(payment, Amount(value=1, currency="USD"), wait_s=20)


async def test_an_expired_capture_is_signed_again_with_its_own_id(
    lane: Bench, server: ScriptedServer
) -> None:
    payment = await held(lane, server)
    server.faults.append(ErrorCode.STATEMENT_EXPIRED)
    assert (await lane.terminal.capture(payment, euros(100), wait_s=20))["captured_minor"] == 100
    sent = [compact for path, compact in server.received if path.endswith("captures")]
    assert len({unverified_claims(compact)["jti"] for compact in sent}) == 1
    assert lane.intents.open_operations() == []


async def test_a_capture_that_took_effect_unheard_is_found_by_looking(
    lane: Bench, server: ScriptedServer
) -> None:
    payment = await held(lane, server)
    server.faults.extend(["lose", ErrorCode.PAYMENT_STATE])
    assert (await lane.terminal.capture(payment, euros(100), wait_s=20))["captured_minor"] == 100


async def test_a_capture_under_way_is_joined_and_waited_for(
    lane: Bench, server: ScriptedServer
) -> None:
    payment = await held(lane, server)
    server.slow_card = True
    first = asyncio.create_task(lane.terminal.capture(payment, euros(100), wait_s=20))
    await server.wait_for(2)
    second = asyncio.create_task(lane.terminal.capture(payment, euros(100), wait_s=20))
    for other in (
        lane.terminal.capture(payment, euros(101), wait_s=20),
        lane.terminal.cancel(payment, "", wait_s=20),
    ):
        with refused(ErrorCode.PAYMENT_STATE):
            await other
    server.payments[payment].captured_minor = 100
    await server.decide(payment, Status.CAPTURED)
    assert (await first)["captured_minor"] == (await second)["captured_minor"] == 100
    assert len([path for path, _ in server.received if path.endswith("captures")]) == 1


async def test_a_capture_is_not_refused_because_a_look_at_it_is(
    lane: Bench, server: ScriptedServer
) -> None:
    """As one is once the terminal has been revoked; what is sent again is answered."""
    payment = await held(lane, server)
    server.slow_card = True
    server.faults.append(ErrorCode.PAYMENT_STATE)
    server.looks.append(CodedError(ErrorCode.DEVICE_REVOKED))
    capturing = asyncio.create_task(lane.terminal.capture(payment, euros(100), wait_s=20))
    await server.wait_for(3)
    server.payments[payment].captured_minor = 100
    await server.decide(payment, Status.CAPTURED)
    assert (await capturing)["captured_minor"] == 100


async def test_a_capture_that_the_card_refused_is_told(lane: Bench, server: ScriptedServer) -> None:
    payment = await held(lane, server)
    server.slow_card = True
    capturing = asyncio.create_task(lane.terminal.capture(payment, euros(100), wait_s=20))
    await server.wait_for(2)
    await server.decide(payment, Status.AUTHORIZED)
    with refused(ErrorCode.PAYMENT_STATE):
        await capturing
    assert (await lane.terminal.payment(payment))["status"] == "authorized"


async def test_a_forged_receipt_of_a_capture_is_no_capture(
    lane: Bench, server: ScriptedServer
) -> None:
    payment = await held(lane, server)
    server.forger = new_signer()
    with refused(ErrorCode.KEY_UNKNOWN):
        await lane.terminal.capture(payment, euros(100), wait_s=20)
    assert (await lane.terminal.payment(payment))["captured_minor"] == 0


async def test_a_hold_is_released(lane: Bench, server: ScriptedServer) -> None:
    payment = await held(lane, server)
    voided = await lane.terminal.cancel(payment, "drove off", wait_s=20)
    assert (voided["status"], voided["paid"]) == ("voided", False)
    assert await lane.terminal.cancel(payment, "again", wait_s=20) == voided
    with refused(ErrorCode.PAYMENT_STATE):
        await lane.terminal.capture(payment, euros(1), wait_s=20)


async def test_a_pending_payment_is_cancelled(lane: Bench, server: ScriptedServer) -> None:
    server.outcome = None
    charging = asyncio.create_task(lane.charge())
    await server.wait_for(1)
    await until(lambda: lane.terminal.at_the_lane() is not None)
    payment = lane.terminal.at_the_lane()
    assert payment is not None
    canceled = await lane.terminal.cancel(payment, "", wait_s=20)
    assert canceled["status"] == "canceled"
    assert (await charging)["status"] == "canceled"
    await until(lambda: lane.air.on_air[-1] is None)


async def test_only_own_payments_can_be_shown_or_changed(lane: Bench) -> None:
    for action in (
        lane.terminal.payment("none"),
        lane.terminal.capture("none", euros(1), 1),
        lane.terminal.cancel("none", "", 1),
    ):
        with refused(ErrorCode.PAYMENT_UNKNOWN):
            await action


# --- restarts


async def test_a_payment_cancelled_before_the_server_had_it_is_never_asked_for(
    server: ScriptedServer, signer: FileSigner, air: Air, tmp_path: Path
) -> None:
    server.faults.extend(["drop"] * 50)
    async with terminal_at(tmp_path, server.pin(), signer, air, patience_s=0.0) as lane:
        air.jack()
        with pytest.raises(UnsettledError) as raised:
            await lane.charge()
        payment = raised.value.payment
        with pytest.raises(UnsettledError):
            await lane.terminal.cancel(payment, "", wait_s=20)
        server.faults.clear()
        server.received.clear()
        server.ahead_s = 3600
        await lane.client.synchronise()
        await until(lambda: lane.intents.get(payment).phase is Phase.LAPSED)
        await until(lambda: lane.intents.open_operations() == [])
        assert server.requests() == []
        assert (await lane.terminal.cancel(payment, "", wait_s=20))["phase"] == "lapsed"


async def test_a_capture_whose_answer_was_lost_is_finished_after_a_restart(
    server: ScriptedServer, signer: FileSigner, air: Air, tmp_path: Path
) -> None:
    async with terminal_at(tmp_path, server.pin(), signer, air, patience_s=0.0) as lane:
        air.jack()
        payment = await held(lane, server)
        server.faults.extend(["lose"] * 50)
        with pytest.raises(UnsettledError):
            await lane.terminal.capture(payment, euros(4217), wait_s=20)
        (operation,) = lane.intents.open_operations()
    server.faults.clear()
    async with terminal_at(tmp_path, server.pin(), signer, air) as lane:
        await until(lambda: lane.intents.open_operations() == [])
        assert lane.intents.get_operation(operation.statement).phase is OperationPhase.DONE
        assert (await lane.terminal.payment(payment))["captured_minor"] == 4217
    captures = {compact for path, compact in server.received if path.endswith("captures")}
    assert captures == {operation.compact}
