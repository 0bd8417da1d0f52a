"""Charging at a lane: who is charged, what is sent, and what the till is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from payment_device.answers import JackAmbiguousError
from payment_device.intents import Phase
from tests.payment_device.lane import (
    CODE,
    Air,
    Bench,
    refused,
    terminal_at,
    until,
)
from tests.payment_device.scripted_server import ScriptedServer
from twochannel.keystore.file import FileSigner
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.lane import lane_digest
from twochannel.protocol.payment import Status

OTHER = bytes.fromhex("fedcba9876543210")


async def test_a_charge_is_captured_and_proven(lane: Bench, server: ScriptedServer) -> None:
    payment = await lane.charge(description="one coffee")
    assert (payment["status"], payment["phase"], payment["paid"]) == ("captured", "settled", True)
    assert (payment["amount_text"], payment["match_code"]) == ("4.50 EUR", "42")
    assert set(payment["legs"]) == {"heard", "sent", "answered", "total"}
    request = server.payments[payment["id"]].request
    assert (request.code, request.description) == (CODE.hex(), "one coffee")
    assert (request.sighting.rssi_dbm, request.sighting.other_jacks) == (-55, 0)


async def test_the_lane_nonce_is_on_the_air_until_the_payment_is_decided(
    lane: Bench, server: ScriptedServer
) -> None:
    server.outcome = None
    payment = await lane.charge(wait_s=0)
    (nonce,) = lane.air.nonces()
    assert lane_digest(nonce) == server.payments[payment["id"]].request.lane_digest
    assert [broadcast.interval_ms for broadcast in lane.air.on_air if broadcast] == [20]
    await server.decide(payment["id"], Status.CAPTURED)
    await until(lambda: lane.air.on_air[-1] is None)


async def test_the_trace_tells_the_payment_in_order(lane: Bench) -> None:
    payment = await lane.charge()
    await until(lambda: "lane_silenced" in lane.events())
    told = [line for line in lane.trace_lines() if line["payment"] == payment["id"]]
    assert [line["event"] for line in told] == [
        "charge_asked",
        "lane_decision",
        "jack_chosen",
        "lane_broadcast",
        "intent_stored",
        "request_sent",
        "request_answered",
        "payment_settled",
        "lane_silenced",
    ]
    assert CODE.hex() not in lane.trace.read_text()


async def test_the_trace_names_the_lane_as_the_jack_will(
    lane: Bench, server: ScriptedServer
) -> None:
    payment = await lane.charge()
    digest = server.payments[payment["id"]].request.lane_digest
    (told,) = [line for line in lane.trace_lines() if line["event"] == "lane_broadcast"]
    assert digest is not None
    assert told["lane"] == digest[:8]


@pytest.mark.parametrize(
    "status", [Status.DECLINED, Status.EXPIRED, Status.REFUSED, Status.CANCELED]
)
async def test_an_outcome_that_is_no_success_is_told_as_it_is(
    lane: Bench, server: ScriptedServer, status: Status
) -> None:
    server.outcome = status
    payment = await lane.charge()
    assert (payment["status"], payment["phase"], payment["paid"]) == (status, "settled", False)


async def test_the_same_reference_is_charged_once(lane: Bench, server: ScriptedServer) -> None:
    first, second = await asyncio.gather(lane.charge(), lane.charge())
    assert first["id"] == second["id"] == (await lane.charge())["id"]
    assert len(server.payments) == 1
    with refused(ErrorCode.PAYMENT_CONFLICT):
        await lane.charge(amount={"value": 451, "currency": "EUR"})


async def test_one_payment_at_a_time_is_undecided(lane: Bench, server: ScriptedServer) -> None:
    server.outcome = None
    first = await lane.charge("first", wait_s=0)
    with refused(ErrorCode.TERMINAL_BUSY):
        await lane.charge("second")
    await server.decide(first["id"], Status.UNKNOWN)
    await server.decide(first["id"], Status.DECLINED)
    assert (await lane.terminal.payment(first["id"], wait_s=20))["status"] == "declined"
    server.outcome = Status.CAPTURED
    assert (await lane.charge("second"))["paid"]


async def test_while_a_jack_is_looked_for_another_charge_is_told_to_wait(
    server: ScriptedServer, signer: FileSigner, air: Air, tmp_path: Path
) -> None:
    async with terminal_at(tmp_path, server.pin(), signer, air) as lane:
        first = asyncio.create_task(lane.charge("first"))
        await until(lambda: "charge_asked" in lane.events())
        with refused(ErrorCode.TERMINAL_BUSY):
            await lane.charge("second")
        with refused(ErrorCode.NO_JACK_HEARD):
            await first


async def test_a_jack_that_comes_while_the_charge_waits_is_charged(
    server: ScriptedServer, signer: FileSigner, air: Air, tmp_path: Path
) -> None:
    async with terminal_at(tmp_path, server.pin(), signer, air) as lane:
        charging = asyncio.create_task(lane.charge())
        await until(lambda: "charge_asked" in lane.events())
        air.jack()
        assert (await charging)["paid"]


async def test_two_jacks_are_ambiguous_until_the_attendant_picks(
    lane: Bench, server: ScriptedServer
) -> None:
    async with lane.air.standing((CODE, -55), (OTHER, -58)):
        await until(lambda: len(lane.radio.nearby()) == 2)
        with pytest.raises(JackAmbiguousError, match="equally near: ") as raised:
            await lane.charge()
        assert [jack.handle for jack in raised.value.candidates] == ["0123", "fedc"]
        assert not server.received
        payment = await lane.charge(jack="fedc")
    assert server.payments[payment["id"]].request.code == OTHER.hex()
    assert server.payments[payment["id"]].request.sighting.other_jacks == 1


async def test_a_typed_in_code_need_not_be_heard(lane: Bench, server: ScriptedServer) -> None:
    payment = await lane.charge(code=OTHER.hex())
    request = server.payments[payment["id"]].request
    assert (request.code, request.sighting.rssi_dbm) == (OTHER.hex(), -127)


async def test_a_refused_request_is_no_payment_and_may_be_asked_for_again(
    lane: Bench, server: ScriptedServer
) -> None:
    server.faults.append(ErrorCode.CODE_UNKNOWN)
    with refused(ErrorCode.CODE_UNKNOWN):
        await lane.charge()
    assert lane.air.on_air[-1] is None
    assert (await lane.charge())["paid"]
    first, second = lane.intents.newest(2)[::-1]
    assert (first.phase, second.phase) == (Phase.REFUSED, Phase.SETTLED)


# --- radio and disk


async def test_a_lost_radio_is_opened_again_and_broadcasts_what_it_did(
    lane: Bench, server: ScriptedServer
) -> None:
    server.outcome = None
    await lane.charge(wait_s=0)
    radio = lane.air.radio
    assert radio is not None
    radio.lose()
    await until(lambda: lane.air.radio is not radio and lane.radio.working)
    first, second = lane.air.nonces()
    assert first == second


async def test_without_a_radio_nobody_is_charged(lane: Bench, server: ScriptedServer) -> None:
    lane.air.unplugged = True
    with refused(ErrorCode.NOT_READY):
        await lane.charge()
    assert not server.received
    assert lane.intents.in_phases(frozenset({Phase.STORED})) == []
    radio = lane.air.radio
    assert radio is not None
    radio.lose()
    await until(lambda: not lane.radio.working)
    with refused(ErrorCode.NOT_READY):
        await lane.charge("later", code=CODE.hex())


async def test_what_cannot_be_stored_is_not_sent(lane: Bench, server: ScriptedServer) -> None:
    lane.intents._database.rows("PRAGMA query_only = ON")
    with refused(ErrorCode.NOT_READY):
        await lane.charge()
    assert not server.received
    assert lane.air.on_air[-1] is None
    lane.intents._database.rows("PRAGMA query_only = OFF")
    assert (await lane.charge())["paid"]
