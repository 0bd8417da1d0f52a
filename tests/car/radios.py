"""What the tests of the BlueZ radio do with radios: open them, listen, wait, disturb."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from tests.car.bluetooth import DEADLINE_S, CarBluetooth, until
from twochannel.radio.backends import open_radio
from twochannel.radio.bluez import BluezRadio
from twochannel.radio.port import Broadcast, Equipment, Radio, Sighting
from twochannel.radio.watch import RadioWatch

EDDYSTONE: Final = 0xFEAA
LANE: Final = 0xDA31A627_C287_4819_B4B1_4630E007D224
RECOVERY_LIMIT_S: Final = 10.0


def beacon(number: int, interval_ms: int = 100) -> Broadcast:
    return Broadcast(EDDYSTONE, b"\x30\x00" + number.to_bytes(8), interval_ms)


@contextlib.asynccontextmanager
async def opened_as(name: str) -> AsyncIterator[BluezRadio]:
    """The radio of that setting, like ``bluez:hci0``."""
    radio = open_radio(name)
    assert isinstance(radio, BluezRadio)
    async with radio:
        yield radio


@contextlib.asynccontextmanager
async def opened(car: CarBluetooth, controller: str) -> AsyncIterator[BluezRadio]:
    async with opened_as(car.radio(controller)) as radio:
        yield radio


async def heard(
    sightings: AsyncIterator[Sighting], broadcast: Broadcast, deadline_s: float = DEADLINE_S
) -> Sighting:
    async with asyncio.timeout(deadline_s):
        async for sighting in sightings:
            if sighting.service_data == broadcast.service_data:
                return sighting
    raise AssertionError("the radio was closed")


async def collected(radio: Radio, broadcast: Broadcast, seconds: float) -> list[Sighting]:
    """Everything of ``broadcast`` that ``radio`` hears in that time."""
    found: list[Sighting] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            async for sighting in radio.scanner.sightings():
                if sighting.service_data == broadcast.service_data:
                    found.append(sighting)
    return found


async def well(radio: BluezRadio) -> None:
    """Wait until the radio has no trouble."""

    async def so() -> bool:
        return radio.health.ok

    await until(so)


async def says(radio: BluezRadio, text: str) -> None:
    """Wait until the radio's trouble is told with ``text``."""

    async def so() -> bool:
        return text in radio.health.detail

    await until(so)


async def advertising(car: CarBluetooth) -> set[str]:
    """The controllers that bluetoothd advertises on, for whomever."""
    adapters = {name: await car.present(name) for name in ("jack", "terminal")}
    return {name for name, adapter in adapters.items() if adapter.active_adverts}


def gaps_ms(sightings: list[Sighting]) -> list[float]:
    times = [sighting.heard_at_s for sighting in sightings]
    return [1000 * (after - before) for before, after in itertools.pairwise(times)]


async def recovered(
    radio: BluezRadio, witness: Radio, terminal: Radio, broadcast: Broadcast, since_s: float
) -> float:
    """Wait until a radio is on the air again, hears again and says so; how long that took."""
    deadline_s = since_s + RECOVERY_LIMIT_S - time.monotonic()
    on_air, back = witness.scanner.sightings(), radio.scanner.sightings()
    lane = Broadcast(LANE, b"\x01" + time.monotonic_ns().to_bytes(12), 100)
    await heard(on_air, broadcast, deadline_s)
    await witness.advertiser.broadcast(lane)
    await heard(back, lane, deadline_s)
    took_s = time.monotonic() - since_s
    await witness.advertiser.silence()
    await well(radio)
    return took_s


class Unheard:
    """Nobody wants to know how the radio is."""

    def opened(self, equipment: Equipment) -> None:
        pass

    def lost(self, reason: str, since_s: float) -> None:
        pass

    def well(self, rung: str) -> None:
        pass


@contextlib.asynccontextmanager
async def kept(
    car: CarBluetooth, controller: str, duty: Callable[[Radio], Awaitable[None]]
) -> AsyncIterator[RadioWatch]:
    """A radio as jack and phone keep it: whatever is refused to its duty, it is opened again."""
    watch = RadioWatch(lambda: open_radio(car.radio(controller)), duty, Unheard())
    running = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def broadcasting(broadcast: Broadcast) -> Callable[[Radio], Awaitable[None]]:
    """The duty of a jack: it puts its beacon on the air once, and leaves it there."""

    async def duty(radio: Radio) -> None:
        await radio.advertiser.broadcast(broadcast)
        await asyncio.Event().wait()

    return duty


async def complains(watch: RadioWatch, text: str) -> None:
    """Wait until what is told of a kept radio is this."""

    async def so() -> bool:
        return text in (watch.problem or "")

    await until(so)


@contextlib.asynccontextmanager
async def another_scanner(car: CarBluetooth, controller: str) -> AsyncIterator[None]:
    """Another program that scans on the adapter, with a connection to bluetoothd of its own."""
    script = (
        "import asyncio, sys; from bleak import BleakScanner\n"
        "async def scan():\n"
        "    async with BleakScanner(bluez={'adapter': sys.argv[1]}):\n"
        "        print('scanning', flush=True); await asyncio.Event().wait()\n"
        "asyncio.run(scan())"
    )
    adapter = await car.present(controller)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, adapter.name), stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            assert await process.stdout.readline() == b"scanning\n"
        yield
    finally:
        process.kill()
        await process.wait()
