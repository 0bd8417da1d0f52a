"""Channel one: the right code in each slot, and silence whenever nothing payable may be sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from cigarjack.beaconing import Beaconing, OnAir, Silence, derive, plan
from cigarjack.memory import StorageError
from tests.cigarjack.on_air import TX_POWER_DBM, beaconing_of
from tests.cigarjack.parties import (
    NOW_MS,
    NOW_S,
    Jack,
    Phone,
    Server,
    new_id,
    new_key,
    owner_of,
)
from twochannel.keystore.file import FileAgreement
from twochannel.keystore.port import KeyStoreError
from twochannel.protocol import beacon
from twochannel.protocol.keys import VerifyingKey
from twochannel.protocol.statements import Time
from twochannel.radio.port import Broadcast, RadioError

NONCE = "n" * 21 + "A"


class NotedAdvertiser:
    """An advertiser that notes what it is told; ``failing`` makes it refuse."""

    def __init__(self) -> None:
        self.told: list[Broadcast | None] = []
        self.failing = False
        self._changed = asyncio.Condition()

    async def broadcast(self, broadcast: Broadcast) -> None:
        await self._note(broadcast)

    async def silence(self) -> None:
        await self._note(None)

    async def _note(self, told: Broadcast | None) -> None:
        if self.failing:
            raise RadioError("the adapter is gone")
        async with self._changed:
            self.told.append(told)
            self._changed.notify_all()

    async def until(self, holds: Callable[[list[Broadcast | None]], bool]) -> None:
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(lambda: holds(self.told))

    async def count(self, count: int) -> None:
        await self.until(lambda told: len(told) >= count)


@asynccontextmanager
async def running(jack: Jack) -> AsyncIterator[tuple[Beaconing, NotedAdvertiser]]:
    beaconing, advertiser = beaconing_of(jack), NotedAdvertiser()
    task = asyncio.create_task(beaconing.run(advertiser))
    try:
        yield beaconing, advertiser
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def tell_time(jack: Jack, time_ms: int = NOW_MS) -> None:
    party = "p" * 42 + "A"
    jack.clock.hand_out(NONCE)
    jack.clock.accept(Time(iss=party, aud=party, jti=new_id(), nonce=NONCE, time_ms=time_ms))


def frame(jack: Jack, server: Server, time_s: int) -> bytes:
    """What the server expects to be heard from this jack."""
    agreement = jack.identity.agreement
    assert isinstance(agreement, FileAgreement)
    return beacon.BeaconFrame(TX_POWER_DBM, server.code(agreement, time_s)).encode()


def on_air(told: Broadcast | None) -> bytes | None:
    return told.service_data if told else None


async def test_the_code_on_the_air_is_the_one_that_the_server_resolves(
    paired: Jack, server: Server
) -> None:
    tell_time(paired)
    async with running(paired) as (beaconing, advertiser):
        await advertiser.count(1)
        assert beaconing.broadcasting
    assert advertiser.told == [Broadcast(beacon.SERVICE_UUID, frame(paired, server, NOW_S), 100)]
    assert not beaconing.broadcasting


async def test_silence_until_paired_and_synchronised(
    unpaired: Jack, phone: Phone, server: Server
) -> None:
    async with running(unpaired) as (beaconing, advertiser):
        await advertiser.count(1)
        silences = [beaconing.shown]
        unpaired.adopt(owner_of(phone, server))
        beaconing.reconsider()
        await advertiser.count(2)
        silences.append(beaconing.shown)
        tell_time(unpaired)
        beaconing.reconsider()
        await advertiser.count(3)
        unpaired.clock.forget()
        beaconing.reconsider()
        await advertiser.count(4)
    assert silences == [Silence.UNPAIRED, Silence.CLOCK_UNSYNCHRONISED]
    expected = [None, None, frame(unpaired, server, NOW_S), None]
    assert [on_air(told) for told in advertiser.told] == expected


async def test_the_code_changes_with_the_slot(paired: Jack, server: Server) -> None:
    """A minute is 256 ms here: the boot time runs on with the event loop, a thousandfold."""
    start_ms = beacon.slot_of(NOW_S, 8) * 1000
    loop = asyncio.get_running_loop()
    tell_time(paired, start_ms + 255_900)
    began_s, boottime_ms = loop.time(), paired.boottime.now_ms

    def advance() -> None:
        paired.boottime.now_ms = boottime_ms + int((loop.time() - began_s) * 1000)
        loop.call_later(0.005, advance)

    advance()
    async with running(paired) as (_, advertiser):
        await advertiser.count(2)
    assert loop.time() - began_s >= 0.1
    first, second = (on_air(told) for told in advertiser.told)
    assert first == frame(paired, server, NOW_S)
    assert second == frame(paired, server, NOW_S + 256)


async def test_a_new_server_has_new_codes_at_once(
    paired: Jack, phone: Phone, server: Server
) -> None:
    other = Server(rotation_exponent=4)
    tell_time(paired)
    async with running(paired) as (beaconing, advertiser):
        await advertiser.count(1)
        paired.adopt(owner_of(phone, other, epoch=2))
        beaconing.reconsider()
        await advertiser.count(2)
    assert on_air(advertiser.told[1]) == frame(paired, other, NOW_S)
    assert on_air(advertiser.told[1]) != frame(paired, server, NOW_S)


async def test_what_has_not_changed_is_not_sent_again(paired: Jack) -> None:
    tell_time(paired)
    async with running(paired) as (beaconing, advertiser):
        await advertiser.count(1)
        for _ in range(3):
            beaconing.reconsider()
            await asyncio.sleep(0)
    assert len(advertiser.told) == 1


async def test_a_slot_is_on_disk_before_it_is_on_the_air(paired: Jack) -> None:
    tell_time(paired, NOW_MS)
    paired.boottime.now_ms += 300_000
    floors: list[int] = []

    class Looking(NotedAdvertiser):
        async def broadcast(self, broadcast: Broadcast) -> None:
            checkpoint = paired.memory.clock()
            assert checkpoint is not None
            floors.append(checkpoint.floor_ms)
            await super().broadcast(broadcast)

    advertiser = Looking()
    task = asyncio.create_task(beaconing_of(paired).run(advertiser))
    await advertiser.count(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert floors == [NOW_MS + 300_000]


async def test_without_storage_the_jack_is_silent_and_tries_again(
    paired: Jack, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_time(paired)
    monkeypatch.setattr("cigarjack.beaconing._RETRY_S", 0.01)

    def fail() -> None:
        raise StorageError("disk full")

    checkpoint = paired.clock.checkpoint
    paired.clock.checkpoint = fail  # type: ignore[method-assign]
    async with running(paired) as (beaconing, advertiser):
        await advertiser.count(1)
        assert beaconing.shown is Silence.STORAGE
        paired.clock.checkpoint = checkpoint  # type: ignore[method-assign]
        await advertiser.count(2)
    assert advertiser.told[0] is None
    assert advertiser.told[1] is not None


async def test_a_pulled_token_silences_the_jack_until_it_is_back(
    paired: Jack, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_time(paired)
    monkeypatch.setattr("cigarjack.beaconing._RETRY_S", 0.01)
    beaconing, advertiser = beaconing_of(paired), NotedAdvertiser()
    agreement = beaconing._agreement

    class Pulled:
        key = agreement.key

        def exchange(self, peer: VerifyingKey) -> bytes:
            raise KeyStoreError("the token is gone")

    beaconing._agreement = Pulled()
    task = asyncio.create_task(beaconing.run(advertiser))
    await advertiser.count(1)
    assert beaconing.shown is Silence.KEY_STORE
    beaconing._agreement = agreement
    await advertiser.count(2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert advertiser.told[0] is None
    assert advertiser.told[1] is not None


async def test_a_failing_radio_is_told_and_the_beacon_no_longer_claimed(paired: Jack) -> None:
    tell_time(paired)
    beaconing, advertiser = beaconing_of(paired), NotedAdvertiser()
    advertiser.failing = True
    with pytest.raises(RadioError):
        await beaconing.run(advertiser)
    assert beaconing.shown is Silence.RADIO_OFF


def test_beyond_the_counter_there_is_silence(phone: Phone, server: Server) -> None:
    key = derive(FileAgreement(new_key()), owner_of(phone, server))
    last = plan(key, beacon.MAX_COUNTER_S, 0)
    assert isinstance(last, OnAir)
    assert plan(key, beacon.MAX_COUNTER_S + 1, 0) is Silence.CLOCK_OUT_OF_RANGE
