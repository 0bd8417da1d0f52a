"""The jack is connectable while somebody is expected, and its beacon silent meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from cigarjack import inviting as module
from cigarjack import link_service
from cigarjack.beaconing import Beaconing, Silence
from cigarjack.client import JackClient, JackClientError, gatt_channel
from cigarjack.invitation_rules import Occasion
from cigarjack.inviting import Inviting
from cigarjack.pairing import PairingDesk
from tests.cigarjack.on_air import beaconing_of, inviting_of
from tests.cigarjack.parties import NOW_S, Jack, Phone, Server
from tests.cigarjack.test_beaconing import NotedAdvertiser, tell_time
from tests.cigarjack.test_link_service import pin_of
from tests.link_pair import Porch
from twochannel.protocol.invitation import (
    CALL_UUID,
    INVITATION_UUID,
    Call,
    Invitation,
    call_key,
    invitation_key,
    pairing_invitation_key,
)
from twochannel.radio.port import LinkError, Sighting

LINK_KEY = bytes(32)


@dataclass
class House:
    """A jack's beacon and door, on a radio without air."""

    jack: Jack
    desk: PairingDesk
    beaconing: Beaconing
    inviting: Inviting
    advertiser: NotedAdvertiser
    porch: Porch

    def hear_call(self, time_s: int = NOW_S, link_key: bytes = LINK_KEY) -> None:
        call = Call.made(call_key(link_key), time_s, b"sa").encode()
        self.hear(call)

    def hear(self, data: bytes, uuid: int = CALL_UUID) -> None:
        self.inviting.take(Sighting("00:00:00:00:00:01", uuid, data, -50, time.monotonic()))

    async def until_invited_under(self, key: bytes) -> None:
        async with asyncio.timeout(10):
            while self.porch.invitation is None or not self.invitation().is_under(key):
                self.porch.changed.clear()
                await self.porch.changed.wait()

    def invitation(self) -> Invitation:
        assert self.porch.invitation is not None
        assert self.porch.invitation.service_uuid == INVITATION_UUID
        return Invitation.decode(self.porch.invitation.service_data)


@asynccontextmanager
async def house(jack: Jack) -> AsyncIterator[House]:
    desk, beaconing = jack.desk(), beaconing_of(jack)
    inviting = inviting_of(jack, desk, beaconing)
    advertiser, porch = NotedAdvertiser(), Porch()
    tasks = [
        asyncio.create_task(beaconing.run(advertiser)),
        asyncio.create_task(inviting.run(porch)),
    ]
    try:
        await advertiser.count(1)
        yield House(jack, desk, beaconing, inviting, advertiser, porch)
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_call_takes_the_beacons_place_until_it_is_answered(paired: Jack) -> None:
    tell_time(paired)
    async with house(paired) as at:
        assert at.beaconing.broadcasting
        at.hear_call()
        await at.porch.until(invites=True)
        assert at.inviting.shown is Occasion.CALLED
        assert at.beaconing.shown is Silence.INVITING
        assert at.advertiser.told[-1] is None
        assert at.invitation().is_under(invitation_key(LINK_KEY))
        link, pin = at.porch.visit(), pin_of(paired)
        async with JackClient(gatt_channel(link, pin), pin) as client:
            await client.status()
            await link.close()
        await at.porch.until(invites=False)
        await at.advertiser.until(lambda told: told[-1] is not None)
        assert at.inviting.shown is None


async def test_calls_that_were_heard_are_old_or_are_anothers_move_nothing(paired: Jack) -> None:
    tell_time(paired)
    async with house(paired) as at:
        at.hear_call(NOW_S - 31)
        at.hear_call(NOW_S, link_key=b"2" * 32)
        at.hear(b"short")
        at.hear(Call.made(call_key(LINK_KEY), NOW_S, b"sa").encode(), uuid=INVITATION_UUID)
        await asyncio.sleep(0)
        assert at.porch.invitation is None
        at.hear_call()
        await at.porch.until(invites=True)
        await silenced_and_answered(at)
        at.hear_call()
        await asyncio.sleep(0)
        assert at.porch.invitation is None
        at.hear_call(NOW_S + 1)
        await at.porch.until(invites=True)


async def silenced_and_answered(at: House) -> None:
    link, pin = at.porch.visit(), pin_of(at.jack)
    async with JackClient(gatt_channel(link, pin), pin) as client:
        await client.status()
        await link.close()
    await at.porch.until(invites=False)


async def test_a_call_that_nobody_follows_is_forgotten(
    paired: Jack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CALLED_S", 0.05)
    tell_time(paired)
    async with house(paired) as at:
        at.hear_call()
        await at.porch.until(invites=True)
        await at.porch.until(invites=False)


async def test_a_radio_that_is_slow_to_invite_invites_no_shorter(
    paired: Jack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CALLED_S", 0.5)
    tell_time(paired)
    async with house(paired) as at:
        at.porch.slowness_s = 0.6
        at.hear_call()
        await at.porch.until(invites=True)
        await silenced_and_answered(at)


async def test_without_the_time_it_invites_until_it_has_it(paired: Jack, server: Server) -> None:
    async with house(paired) as at:
        await at.porch.until(invites=True)
        assert at.inviting.shown is Occasion.CLOCK_UNSYNCHRONISED
        assert at.beaconing.shown is Silence.CLOCK_UNSYNCHRONISED
        link, pin = at.porch.visit(), pin_of(paired)
        async with JackClient(gatt_channel(link, pin), pin) as client:
            status = await client.status()
            await client.put_time(server.time(paired.id, str(status["time_nonce"])))
            await link.close()
        await at.porch.until(invites=False)
        await at.advertiser.until(lambda told: told[-1] is not None)


async def test_an_open_window_invites_whoever_has_the_label(
    unpaired: Jack, phone: Phone, server: Server
) -> None:
    async with house(unpaired) as at:
        assert at.porch.invitation is None
        label = at.desk.open_window()
        await at.porch.until(invites=True)
        assert at.invitation().is_under(pairing_invitation_key(unpaired.id))
        link = at.porch.visit()
        paired = await phone.pair_over_gatt(link, str(label), server)
        # Paired, and without the time: now its own phone is expected.
        await link.close()
        await at.until_invited_under(invitation_key(paired.pin.link_key))


async def test_a_window_that_closes_ends_the_invitation(unpaired: Jack) -> None:
    async with house(unpaired) as at:
        at.desk.open_window()
        await at.porch.until(invites=True)
        at.desk.window.close()
        await at.porch.until(invites=False)


async def test_after_a_stranger_the_invitation_is_another_and_back(
    paired: Jack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_service, "LINK_HANDSHAKE_S", 0.05)
    tell_time(paired)
    async with house(paired) as at:
        at.hear_call()
        await at.porch.until(invites=True)
        first = at.invitation()
        silent = at.porch.visit()
        pin = pin_of(paired, b"2" * 32)
        with pytest.raises(Exception, match="has ended"):
            await silent.receive()
        await at.porch.until(invites=True)
        assert at.invitation() != first
        link = at.porch.visit()
        with pytest.raises(JackClientError):
            async with JackClient(gatt_channel(link, pin), pin) as client:
                await client.status()
        await at.porch.until(invites=True)
        await silenced_and_answered(at)


async def test_strangers_who_come_again_and_again_do_not_keep_the_beacon_silent(
    paired: Jack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_service, "LINK_HANDSHAKE_S", 0.05)
    monkeypatch.setattr(module, "CALLED_S", 0.3)
    tell_time(paired)

    async def crowd(at: House) -> None:
        while True:
            await at.porch.until(invites=True)
            silent = at.porch.visit()
            with contextlib.suppress(LinkError):
                await silent.receive()
            await at.porch.until(invites=False)

    async with house(paired) as at:
        at.hear_call()
        await at.porch.until(invites=True)
        strangers = asyncio.create_task(crowd(at))
        try:
            async with asyncio.timeout(10):
                await at.advertiser.until(lambda told: told[-1] is not None)
        finally:
            strangers.cancel()
            await asyncio.gather(strangers, return_exceptions=True)


async def test_an_invitation_is_renewed(paired: Jack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RENEWED_S", 0.02)
    async with house(paired) as at:
        await at.porch.until(invites=True)
        first = at.invitation()
        async with asyncio.timeout(10):
            while at.porch.invitation is None or at.invitation() == first:
                at.porch.changed.clear()
                await at.porch.changed.wait()


async def test_a_radio_that_refuses_is_asked_again_and_keeps_its_beacon(
    paired: Jack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY_S", 0.01)
    tell_time(paired)
    async with house(paired) as at:
        at.porch.refusals = 2
        at.hear_call()
        await at.porch.until(invites=True)
        await silenced_and_answered(at)
        await at.advertiser.until(lambda told: told[-1] is not None)
