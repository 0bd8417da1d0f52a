"""Payments whose server, answers or terminal fail on the way: each still ends as it must."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from payment_device.answers import UnsettledError
from payment_device.errands import Forbearance
from payment_device.intents import Phase
from tests.payment_device.lane import (
    Air,
    Bench,
    refused,
    terminal_at,
    until,
)
from tests.payment_device.scripted_server import ScriptedServer, new_signer
from twochannel.keystore.file import FileSigner
from twochannel.protocol.errors import CodedError, ErrorCode, LimitError
from twochannel.protocol.payment import Status

# --- a server that fails


@pytest.mark.parametrize("fault", ["lose", "drop", ErrorCode.NOT_READY, ErrorCode.INTERNAL_ERROR])
async def test_the_identical_request_is_sent_until_it_is_answered(
    lane: Bench, server: ScriptedServer, fault: str
) -> None:
    server.faults.extend([fault, "lose"])
    assert (await lane.charge())["paid"]
    assert len(set(server.requests())) == 1
    assert len(server.requests()) == (2 if fault == "drop" else 3)


async def test_a_wrong_clock_is_corrected_under_the_same_payment_id(
    server: ScriptedServer, signer: FileSigner, air: Air, tmp_path: Path
) -> None:
    server.ahead_s = 86_400
    async with terminal_at(tmp_path, server.pin(), signer, air) as lane:
        air.jack()
        payment = await lane.charge()
        assert payment["paid"]
        first, second = server.requests()
        assert first != second
        assert lane.intents.get(payment["id"]).request == second
        assert list(server.payments) == [payment["id"]]


async def test_a_payment_that_the_server_holds_under_another_signature_is_followed(
    lane: Bench, server: ScriptedServer
) -> None:
    server.outcome = None
    server.faults.append(ErrorCode.PAYMENT_CONFLICT)
    charging = asyncio.create_task(lane.charge())
    await server.wait_for(1)
    (compact,) = server.requests()
    await lane.client.send("/v1/payments", compact)
    (payment,) = server.payments
    await server.decide(payment, Status.CAPTURED)
    assert (await charging)["paid"]


async def test_a_silent_server_is_told_and_the_payment_goes_on(
    signer: FileSigner, air: Air, tmp_path: Path
) -> None:
    server = ScriptedServer(terminal=signer.key)
    async with server.running():
        pin = server.pin()
    async with terminal_at(tmp_path, pin, signer, air, patience_s=0.2) as lane:
        air.jack()
        with pytest.raises(UnsettledError) as raised:
            await lane.charge()
        payment = raised.value.payment
        assert (await lane.terminal.payment(payment))["phase"] == "stored"
        with refused(ErrorCode.TERMINAL_BUSY):
            await lane.charge("another")
        async with server.running():
            await until(lambda: lane.intents.get(payment).phase is Phase.SETTLED)
            assert (await lane.charge())["id"] == payment


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "authorized"},
        {"captured_minor": 1},
        {"authorized_minor": 10_000},
        {"currency": "USD"},
        {"sub": "0198c000-0000-7000-8000-000000000000"},
        {"aud": "A" * 43},
        {"iss": "A" * 43},
        {"refunded_minor": 450},
    ],
)
async def test_a_receipt_that_proves_something_else_is_no_success(
    lane: Bench, server: ScriptedServer, changes: dict[str, Any]
) -> None:
    server.receipt_changes = changes
    with pytest.raises(CodedError, match=r"chain_broken|audience_wrong"):
        await lane.charge()
    (intent,) = lane.intents.newest(1)
    assert intent.phase is Phase.UNVERIFIED
    assert not (await lane.terminal.payment(intent.payment))["paid"]


async def test_a_forged_receipt_is_no_success_and_is_asked_for_again_at_the_next_start(
    server: ScriptedServer, signer: FileSigner, air: Air, tmp_path: Path
) -> None:
    server.forger = new_signer()
    async with terminal_at(tmp_path, server.pin(), signer, air) as lane:
        air.jack()
        with refused(ErrorCode.KEY_UNKNOWN):
            await lane.charge()
    server.forger = None
    async with terminal_at(tmp_path, server.pin(), signer, air) as lane:
        (intent,) = lane.intents.newest(1)
        assert (await lane.terminal.payment(intent.payment, wait_s=20))["phase"] in (
            "unverified",
            "settled",
        )
        await until(lambda: lane.intents.get(intent.payment).phase is Phase.SETTLED)


# --- a terminal that restarts


async def test_a_request_whose_answer_was_lost_is_finished_after_a_restart(
    server: ScriptedServer, signer: FileSigner, air: Air, tmp_path: Path
) -> None:
    server.outcome = None
    async with terminal_at(tmp_path, server.pin(), signer, air) as lane:
        air.jack()
        payment = (await lane.charge(wait_s=0))["id"]
    (nonce,) = air.nonces()
    air.on_air.clear()
    async with terminal_at(tmp_path, server.pin(), signer, air) as lane:
        assert air.nonces() == [nonce]
        assert "intent_swept" in lane.events()
        await server.decide(payment, Status.CAPTURED)
        assert (await lane.terminal.payment(payment, wait_s=20))["paid"]
        assert (await lane.charge())["id"] == payment
        await until(lambda: air.on_air[-1] is None)


async def test_a_request_that_never_left_is_sent_as_it_is_after_a_restart(
    server: ScriptedServer, signer: FileSigner, air: Air, tmp_path: Path
) -> None:
    server.faults.extend(["drop"] * 50)
    async with terminal_at(tmp_path, server.pin(), signer, air, patience_s=0.0) as lane:
        air.jack()
        with pytest.raises(UnsettledError) as raised:
            await lane.charge()
        stored = lane.intents.get(raised.value.payment)
    server.faults.clear()
    async with terminal_at(tmp_path, server.pin(), signer, air) as lane:
        assert (await lane.terminal.payment(stored.payment, wait_s=20))["paid"]
    assert server.requests() == [stored.request]


async def test_a_server_that_is_just_starting_ends_no_terminal(
    server: ScriptedServer, signer: FileSigner, air: Air, tmp_path: Path
) -> None:
    server.outcome = None
    async with terminal_at(tmp_path, server.pin(), signer, air) as lane:
        air.jack()
        payment = (await lane.charge(wait_s=0))["id"]
    server.greetings.append(ErrorCode.NOT_READY)
    async with terminal_at(tmp_path, server.pin(), signer, air) as lane:
        await until(lambda: not server.greetings)
        await server.decide(payment, Status.CAPTURED)
        assert (await lane.terminal.payment(payment, wait_s=20))["paid"]


async def test_a_swept_request_is_never_signed_anew(
    server: ScriptedServer, signer: FileSigner, air: Air, tmp_path: Path
) -> None:
    server.faults.extend(["drop"] * 50)
    async with terminal_at(tmp_path, server.pin(), signer, air, patience_s=0.0) as lane:
        air.jack()
        with pytest.raises(UnsettledError) as raised:
            await lane.charge()
    server.faults.clear()
    server.faults.extend([ErrorCode.CLOCK_SKEW] * 2)
    async with terminal_at(tmp_path, server.pin(), signer, air) as lane:
        assert (await lane.terminal.payment(raised.value.payment, wait_s=20))["phase"] == "lapsed"
    assert len(set(server.requests())) == 1


async def test_a_request_that_expired_before_the_server_had_it_lapses(
    server: ScriptedServer, signer: FileSigner, air: Air, tmp_path: Path
) -> None:
    server.faults.extend(["drop"] * 50)
    async with terminal_at(tmp_path, server.pin(), signer, air, patience_s=0.0) as lane:
        air.jack()
        with pytest.raises(UnsettledError) as raised:
            await lane.charge()
    server.faults.clear()
    server.ahead_s = 3600
    async with terminal_at(tmp_path, server.pin(), signer, air) as lane:
        lapsed = await lane.terminal.payment(raised.value.payment, wait_s=20)
        assert (lapsed["phase"], lapsed["code"]) == ("lapsed", "statement_expired")
        assert not server.received
        air.jack()
        assert (await lane.charge())["paid"]


@pytest.mark.parametrize("code", [ErrorCode.TERMINAL_THROTTLED, ErrorCode.TOO_MANY_CODES])
async def test_a_throttled_terminal_asks_for_nothing_until_the_time_is_over(
    lane: Bench, server: ScriptedServer, code: ErrorCode
) -> None:
    server.faults.append(LimitError(code, 300))
    for reference in ("r-1", "r-2"):
        with refused(code) as told:
            await lane.charge(reference)
        assert isinstance(told.value, LimitError)
        assert 290 < told.value.retry_after_s <= 300
    assert len(server.requests()) == 1


@pytest.mark.parametrize(("told_s", "over_s"), [(20, 20), (300, 30)])
def test_a_terminal_forbears_as_it_was_told_but_asks_again(told_s: int, over_s: int) -> None:
    """The server's operator may have lifted the limit meanwhile."""
    now_s = 1000.0
    forbearance = Forbearance(lambda: now_s)
    forbearance.check()
    forbearance.learn(LimitError(ErrorCode.JACK_PROMPTED, 300))
    forbearance.learn(CodedError(ErrorCode.NOT_READY))
    forbearance.check()
    forbearance.learn(LimitError(ErrorCode.TERMINAL_THROTTLED, told_s))
    now_s += over_s - 0.5
    with refused(ErrorCode.TERMINAL_THROTTLED) as told:
        forbearance.check()
    assert isinstance(told.value, LimitError)
    assert told.value.retry_after_s == told_s - over_s + 1
    now_s += 0.5
    forbearance.check()


async def test_another_car_is_charged_although_one_owner_was_asked_too_often(
    lane: Bench, server: ScriptedServer
) -> None:
    server.faults.append(LimitError(ErrorCode.JACK_PROMPTED, 300))
    with refused(ErrorCode.JACK_PROMPTED) as told:
        await lane.charge("r-1")
    assert "try again in 300 s" in str(told.value)
    assert (await lane.charge("r-2"))["paid"]


async def test_a_look_that_comes_too_often_is_repeated_when_the_server_wants_it(
    lane: Bench, server: ScriptedServer
) -> None:
    server.outcome = None
    server.looks.append(LimitError(ErrorCode.TOO_MANY_REQUESTS, 1))
    charging = asyncio.create_task(lane.charge())
    await server.wait_for_looks(1)
    payment = next(iter(server.payments))
    asked_s = time.monotonic()
    await server.decide(payment, Status.CAPTURED)
    assert (await charging)["paid"]
    assert time.monotonic() - asked_s > 0.8
