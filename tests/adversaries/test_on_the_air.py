"""An attacker with radios: real agents as processes, forged frames on the virtual air."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fieldkit import processor_books
from fieldkit.journeys import arrive, charge, heard
from fieldkit.stage import SERVER, Stage
from tests.adversaries.scene import nothing_charged
from tests.server.bench import Bench
from tests.server.devices import now_s
from twochannel.protocol import beacon, lane
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.keys import VerifyingKey
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Broadcast, Radio

FAR_AWAY = (450.0, 450.0)


@asynccontextmanager
async def a_radio_at(stage: Stage, terminal: str, beside_m: float) -> AsyncIterator[Radio]:
    """The thief's sender, brought to a terminal."""
    x_m, y_m = stage.cast.terminal(terminal).at_m
    async with stage.air() as air:
        await air.move("thief-mouth", x_m + beside_m, y_m)
    async with open_radio(stage.radio("thief-mouth")) as radio:
        yield radio
    async with stage.air() as air:
        await air.move("thief-mouth", *FAR_AWAY)


async def send_code(radio: Radio, code: bytes) -> None:
    frame = beacon.BeaconFrame(0, code).encode()
    await radio.advertiser.broadcast(Broadcast(beacon.SERVICE_UUID, frame, 100))


async def refused_charge(stage: Stage, terminal: str, *options: str) -> str:
    """A charge that comes to nothing; what the terminal remembers of it."""
    order = ("--reference", f"order-{secrets.token_hex(4)}", *options)
    await stage.say(terminal, "charge", "4.50", "EUR", *order, expect=(1,))
    _, listed = await stage.cli(terminal, "payments")
    return json.dumps(listed["items"][0])


@pytest.mark.asyncio(loop_scope="session")
async def test_a_made_up_code_is_nobodys(stage: Stage) -> None:
    """The terminal cannot tell; the server can, and challenges nobody."""
    before = processor_books_of(stage)
    async with stage.air() as air:
        await air.move(stage.cast.jack.name, *FAR_AWAY)
    async with a_radio_at(stage, "wash-1", 1.0) as radio:
        await send_code(radio, secrets.token_bytes(8))
        await heard(stage, "wash-1")
        assert "code_unknown" in await refused_charge(stage, "wash-1")
    assert processor_books_of(stage) == before


@pytest.mark.asyncio(loop_scope="session")
async def test_a_made_up_code_beside_the_car_makes_the_terminal_ask(stage: Stage) -> None:
    """It can be in the way, which is jamming; it cannot be paid for."""
    await arrive(stage, "lane-1")
    before = processor_books_of(stage)
    async with a_radio_at(stage, "lane-1", -2.5) as radio:
        forged = secrets.token_bytes(8)
        await send_code(radio, forged)
        await stage.traces["lane-1"].wait(
            "code_heard", where=lambda fields: fields["jack"] == forged.hex()[:4]
        )
        jacks = (await stage.ask("lane-1", "GET", "/v1/jacks"))["items"]
        states = {jack["handle"]: jack["state"] for jack in jacks if jack["state"] != "quiet"}
        assert states.keys() >= {forged.hex()[:4]}
        assert len(states) >= 2
        picked = await refused_charge(stage, "lane-1", "--jack", forged.hex()[:4])
        assert "code_unknown" in picked
    assert processor_books_of(stage) == before
    await heard(stage, "lane-1")
    assert (await charge(stage, "lane-1", "4.50"))["status"] == "captured"


@pytest.mark.asyncio(loop_scope="session")
async def test_forged_lane_frames_do_not_deafen_the_jack(stage: Stage) -> None:
    """Five hundred lanes that are none, while the true one is paid with presence."""
    await arrive(stage, "lane-1")
    async with a_radio_at(stage, "lane-1", 2.0) as radio:
        for _ in range(500):
            frame = lane.LaneFrame(secrets.token_bytes(12)).encode()
            await radio.advertiser.broadcast(Broadcast(lane.SERVICE_UUID, frame, 20))
        payment = await charge(stage, "lane-1", "3.10")
    signed = stage.traces[stage.cast.jack.name].find("auth_code_signed", payment=payment["id"])
    assert payment["status"] == "captured"
    assert signed is not None
    assert signed.fields["presence"] is True


@pytest.mark.asyncio(loop_scope="session")
async def test_frames_that_are_none_are_counted_and_forgotten(stage: Stage) -> None:
    await arrive(stage, "lane-1")
    odd = (b"", b"\x30", b"\x30" * 9, b"\x31" * 10, b"\x40" + bytes(12), secrets.token_bytes(13))
    async with a_radio_at(stage, "lane-1", 2.0) as radio:
        for service in (beacon.SERVICE_UUID, lane.SERVICE_UUID):
            for data in odd:
                await radio.advertiser.broadcast(Broadcast(service, data, 20))
        await heard(stage, "lane-1")
        assert (await charge(stage, "lane-1", "3.20"))["status"] == "captured"


def processor_books_of(stage: Stage) -> int:
    payments = {e.payment for e in stage.events() if e.event == "challenge_issued" and e.payment}
    booked = (processor_books.charges(stage.state(SERVER), str(p)) for p in payments)
    return sum(map(len, booked))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("slots", [-10, -3, 3, 10, 337])
async def test_a_recorded_code_is_dead_a_few_minutes_later(server: Bench, slots: int) -> None:
    """Three slots of 256 s are good, around the present one: no code of another time."""
    devices = server.devices
    exponent = devices.identity.rotation_exponent or 0
    beacons = VerifyingKey.from_jwk(devices.identity.beacon_key)
    secret = devices.jack_beacon.exchange(beacons)
    key = beacon.identity_key(secret, beacons.point, devices.jack_beacon.key.point)
    then_s = now_s() + slots * beacon.slot_length_s(exponent)
    recorded = beacon.code_at(key, then_s, exponent).hex()
    with nothing_charged(server):
        request = devices.request(code=recorded)
        await server.refused("/v1/payments", request, ErrorCode.CODE_UNKNOWN)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_code_replayed_within_its_slot_has_no_presence(server: Bench) -> None:
    """At a merchant that requires presence that ends it, whatever the phone says."""
    policy = "UPDATE merchants SET presence = ?"
    server.store.write_now(lambda c: c.exec_driver_sql(policy, ("require",)))
    try:
        payment, _, challenge = await server.pending()
        with nothing_charged(server):
            unheard = server.devices.confirmation(payment, challenge, auth={"lane_nonce": None})
            path = f"/v1/payments/{payment}/confirmation"
            await server.refused(path, unheard, ErrorCode.PRESENCE_MISSING)
    finally:
        server.store.write_now(lambda c: c.exec_driver_sql(policy, ("prefer",)))
