"""Adverts that the kernel keeps for nobody: what was to be ended while the adapter was off.

bluetoothd asks the kernel to end an advert whose program has gone, and all that an earlier
bluetoothd has left. A kernel whose adapter is off refuses, nobody asks again, and with the power
the advert is back. It would take turns with ours, which on these controllers ends ours.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest
from dbus_fast import Variant

from tests.car.bluetooth import CarBluetooth, ForeignAdvert, run, until
from tests.car.radios import beacon, collected, gaps_ms, heard, opened, says, well
from twochannel.radio import bluez_names as names
from twochannel.radio.bluez import BluezRadio
from twochannel.radio.bluez_refusals import BluezError
from twochannel.radio.port import Broadcast, Radio

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("restored")]

#: Longer than two turns of 2 s, HCI_DEFAULT_ADV_DURATION.
STEADY_S = 5.0
STEADY_GAP_MS = 1000
_FOREIGN = "/bench/first"


@contextlib.asynccontextmanager
async def blocked(*radios: BluezRadio) -> AsyncIterator[None]:
    """All Bluetooth is off, and these radios have seen it."""
    await run("rfkill", "block", "bluetooth")
    try:
        for radio in radios:
            await says(radio, "rfkill unblock bluetooth")
        yield
    finally:
        await run("rfkill", "unblock", "bluetooth")


async def steadily_heard(witness: Radio, broadcast: Broadcast) -> None:
    await heard(witness.scanner.sightings(), broadcast)
    found = await collected(witness, broadcast, STEADY_S)
    assert max(gaps_ms(found)) < STEADY_GAP_MS
    assert found[-1].heard_at_s - found[0].heard_at_s > STEADY_S - STEADY_GAP_MS / 1000


async def begin_foreign(car: CarBluetooth, path: str) -> None:
    """Another program's advert on the jack's adapter."""
    adapter = await car.present("jack")
    car.bus.export(path, ForeignAdvert())
    await car.bus.call(
        *(adapter.path, names.ADVERTISING_MANAGER, names.REGISTER, path, {}), signature="oa{sv}"
    )


async def end_foreign(car: CarBluetooth, path: str) -> None:
    """It ends, or has ended with its bluetoothd."""
    adapter = await car.present("jack")
    with contextlib.suppress(BluezError):
        await car.bus.call(
            *(adapter.path, names.ADVERTISING_MANAGER, names.UNREGISTER, path), signature="o"
        )
    car.bus.withdraw(path)


async def second(car: CarBluetooth, radio: BluezRadio, broadcast: Broadcast) -> None:
    """Broadcast beside another program's advert, so that ours has the second number."""
    await begin_foreign(car, _FOREIGN)
    await radio.advertiser.broadcast(broadcast)


async def powered(car: CarBluetooth) -> None:
    async def on() -> bool:
        with contextlib.suppress(BluezError):  # busy for a moment with what rfkill has done
            await car.set_property("jack", names.POWERED, Variant("b", True))
        return (await car.present("jack")).powered

    await until(on)


async def test_of_an_agent_that_ended_while_the_adapter_was_off(
    car: CarBluetooth, witness: Radio
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with opened(car, "jack") as before:
            await second(car, before, beacon(110))
            await stack.enter_async_context(blocked(before))
        await end_foreign(car, _FOREIGN)
    await powered(car)
    # This is the kernel's doing: what follows would prove nothing without it.
    await heard(witness.scanner.sightings(), beacon(110))
    async with opened(car, "jack") as after:
        # Also if the next one has nothing to say.
        assert not await collected(witness, beacon(110), 3.0)
        await after.advertiser.broadcast(beacon(111))
        await steadily_heard(witness, beacon(111))


async def test_of_other_programs_that_ended_while_the_adapter_was_off(
    car: CarBluetooth, jack: BluezRadio, witness: Radio
) -> None:
    """The same bluetoothd goes on, and numbers ours as the first again."""
    await jack.advertiser.broadcast(beacon(112))
    others = [f"{_FOREIGN}/{number}" for number in range(2)]
    for path in others:
        await begin_foreign(car, path)
    async with blocked(jack):
        for path in others:
            await end_foreign(car, path)
    await well(jack)
    await steadily_heard(witness, beacon(112))


async def test_of_a_bluetoothd_that_was_killed_while_the_adapter_was_off(
    car: CarBluetooth, jack: BluezRadio, witness: Radio
) -> None:
    await second(car, jack, beacon(121))
    async with blocked(jack):
        await car.kill_bluetoothd()
        await says(jack, "systemctl start bluetooth")
        await car.start_bluetoothd()
        await says(jack, "rfkill unblock bluetooth")
        await end_foreign(car, _FOREIGN)
    await well(jack)
    await steadily_heard(witness, beacon(121))


async def test_of_a_bluetoothd_that_was_restarted_in_order(
    car: CarBluetooth, jack: BluezRadio, witness: Radio
) -> None:
    """It switches its adapters off before it ends."""
    await second(car, jack, beacon(122))
    await car.stop_bluetoothd()
    await says(jack, "systemctl start bluetooth")
    await car.start_bluetoothd()
    await end_foreign(car, _FOREIGN)
    await well(jack)
    await steadily_heard(witness, beacon(122))


async def test_of_a_beacon_that_was_silenced_while_the_adapter_was_off(
    car: CarBluetooth, jack: BluezRadio, witness: Radio
) -> None:
    await second(car, jack, beacon(124))
    async with blocked(jack):
        await jack.advertiser.silence()
        await end_foreign(car, _FOREIGN)
    await well(jack)
    assert not await collected(witness, beacon(124), 3.0)
    await jack.advertiser.broadcast(beacon(125))
    await steadily_heard(witness, beacon(125))


async def test_of_a_radio_that_is_closed_while_it_switches_the_adapter_off_and_on(
    car: CarBluetooth, witness: Radio
) -> None:
    """As it does after a bluetoothd that was killed. The adapter is left as it should be: on."""

    async def off() -> bool:
        adapter = await car.adapter("jack")
        return adapter is not None and not adapter.powered

    async with opened(car, "jack") as radio:
        await radio.advertiser.broadcast(beacon(127))
        await car.kill_bluetoothd()
        await says(radio, "systemctl start bluetooth")
        await car.start_bluetoothd()
        await until(off)
    assert (await car.present("jack")).powered
    assert not await collected(witness, beacon(127), 3.0)
