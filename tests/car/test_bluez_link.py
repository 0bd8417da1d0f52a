"""Links of the BlueZ radio: bless and bleak, bluetoothd and the kernel, all real."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest
from dbus_fast import Variant

from tests.car.bluetooth import CarBluetooth, ForeignAdvert, until
from tests.car.radios import RECOVERY_LIMIT_S, beacon, collected
from tests.twochannel.radio.links import (
    CALL,
    INVITATION,
    both_ways,
    ended,
    heard,
    linked,
    next_link,
    pump,
)
from twochannel.radio import bluez_names as names
from twochannel.radio import link_inbox
from twochannel.radio.bluez import BluezRadio
from twochannel.radio.bluez_refusals import BluezError
from twochannel.radio.port import LinkError, Radio, RadioError, Sighting

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("restored")]

#: Each takes its answer to come, which is up to a quarter of a second here.
_PACKETS = 8


async def devices(car: CarBluetooth, controller: str) -> list[str]:
    """The addresses that bluetoothd remembers for an adapter and that are connected or were."""
    path = (await car.present(controller)).path
    objects = await car.bus.objects()
    known = (one[names.DEVICE] for one in objects.values() if names.DEVICE in one)
    return [str(one[names.ADDRESS]) for one in known if one[names.DEVICE_ADAPTER] == path]


# --- carrying packets


async def test_packets_of_full_length_in_both_directions_at_once(
    car: CarBluetooth, jack: BluezRadio, terminal: BluezRadio, measured: dict[str, Any]
) -> None:
    await car.set_property("jack", "Alias", Variant("s", "somebody's own"))
    async with jack.peripheral.inviting(INVITATION) as links:
        invitation = await heard(terminal, INVITATION)
        assert invitation.address == car.address("jack")
        began_s = time.monotonic()
        async with terminal.central.connected(invitation) as of_phone:
            connected_s = time.monotonic() - began_s
            of_jack = await next_link(links)
            assert of_jack.packet_limit_bytes == of_phone.packet_limit_bytes == 510
            began_s = time.monotonic()
            await both_ways(of_jack, of_phone, _PACKETS)
            measured["link"] = {
                "connected_s": round(connected_s, 2),
                "carried_s": round(time.monotonic() - began_s, 2),
                "carried_bytes": 2 * _PACKETS * 510,
            }
            await pump(of_phone, of_jack, [b"\0"])
            assert (await car.properties("jack"))["Alias"] == "somebody's own"
        assert "has ended" in await ended(of_jack)
        async with terminal.central.connected(await heard(terminal, INVITATION)) as of_phone:
            await pump(await next_link(links), of_phone, [b"to the second"])
    assert car.address("terminal") not in await devices(car, "jack")
    assert (await car.properties("jack"))["Alias"] == "somebody's own"


async def test_the_jack_hears_lanes_meanwhile_and_broadcasts_again_after(
    jack: BluezRadio, terminal: BluezRadio, witness: Radio
) -> None:
    await jack.advertiser.broadcast(beacon(60))
    async with linked(jack, terminal) as ends:
        await witness.advertiser.broadcast(CALL)
        await heard(jack, CALL)
        await heard(terminal, CALL)
        await both_ways(*ends, _PACKETS)
        await heard(jack, CALL)
        await witness.advertiser.silence()
        with pytest.raises(RadioError, match="invites"):
            await jack.advertiser.broadcast(beacon(61))
    assert not await collected(witness, INVITATION, 1.0)
    await jack.advertiser.broadcast(beacon(62))
    await heard(witness, beacon(62))


async def test_a_jack_on_bluez_and_a_phone_on_bumble(jack: BluezRadio, witness: Radio) -> None:
    async with jack.peripheral.inviting(INVITATION) as links:
        for _ in range(2):
            async with witness.central.connected(await heard(witness, INVITATION)) as of_phone:
                await both_ways(await next_link(links), of_phone, _PACKETS)


async def test_a_jack_on_bumble_and_a_phone_on_bluez(
    car: CarBluetooth, witness: Radio, terminal: BluezRadio
) -> None:
    async with contextlib.AsyncExitStack() as phone:
        async with witness.peripheral.inviting(INVITATION) as links:
            invitation = await heard(terminal, INVITATION)
            assert invitation.random_address
            of_phone = await phone.enter_async_context(terminal.central.connected(invitation))
            await both_ways(await next_link(links), of_phone, _PACKETS)
        assert "has ended" in await ended(of_phone)
    assert invitation.address not in await devices(car, "terminal")


# --- ends and losses


async def test_either_side_can_hang_up(jack: BluezRadio, terminal: BluezRadio) -> None:
    async with jack.peripheral.inviting(INVITATION) as links:
        for first in (0, 1):
            async with terminal.central.connected(await heard(terminal, INVITATION)) as of_phone:
                ends = (await next_link(links), of_phone)
                await ends[first].close()
                assert "closed on this side" in await ended(ends[first])
                assert "has ended" in await ended(ends[1 - first])


async def test_a_phone_out_of_reach_is_missed_and_the_invitation_comes_back(
    car: CarBluetooth, jack: BluezRadio, terminal: BluezRadio, witness: Radio
) -> None:
    async with linked(jack, terminal) as (of_jack, of_phone), car.air() as air:
        await air.mute("terminal")
        assert "has ended" in await ended(of_jack)
        assert "has ended" in await ended(of_phone)
        await heard(witness, INVITATION)
        await air.unmute("terminal")


async def test_a_jack_that_is_unplugged_ends_the_link_and_invites_again_when_it_is_back(
    car: CarBluetooth, jack: BluezRadio, terminal: BluezRadio, witness: Radio
) -> None:
    async with jack.peripheral.inviting(INVITATION) as links:
        async with terminal.central.connected(await heard(terminal, INVITATION)) as of_phone:
            of_jack = await next_link(links)
            async with car.air() as air:
                await air.unplug("jack")
                assert "has ended" in await ended(of_jack)
                assert "has ended" in await ended(of_phone)
                await air.plug("jack")
        await heard(witness, INVITATION)
        async with terminal.central.connected(await heard(terminal, INVITATION)) as of_phone:
            await pump(await next_link(links), of_phone, [b"back again"])


async def test_bluetoothd_killed_and_started_again_while_inviting(
    car: CarBluetooth,
    jack: BluezRadio,
    terminal: BluezRadio,
    witness: Radio,
    measured: dict[str, Any],
) -> None:
    async with jack.peripheral.inviting(INVITATION) as links:
        await heard(witness, INVITATION)
        await car.kill_bluetoothd()

        async def noticed() -> bool:
            return not jack.health.ok and not terminal.health.ok

        await until(noticed)
        await car.start_bluetoothd()
        began_s = time.monotonic()
        # The kernel may have gone on inviting: what counts is that somebody is let in again.
        async with terminal.central.connected(await heard(terminal, INVITATION)) as of_phone:
            took_s = time.monotonic() - began_s
            measured.setdefault("recovery_s", {})["invitation"] = round(took_s, 2)
            assert took_s < RECOVERY_LIMIT_S
            await both_ways(await next_link(links), of_phone, _PACKETS)


# --- connections that are not made


async def test_somebody_without_the_service_is_no_jack(
    car: CarBluetooth, terminal: BluezRadio
) -> None:
    async def known() -> bool:
        return car.address("jack") in await devices(car, "terminal")

    adapter = await car.present("jack")
    car.bus.export("/foreign", ForeignAdvert())

    async def registered() -> bool:
        """Refused while the scan of the radio before still ends."""
        with contextlib.suppress(BluezError):
            await car.bus.call(
                *(adapter.path, names.ADVERTISING_MANAGER, names.REGISTER, "/foreign", {}),
                signature="oa{sv}",
            )
            return True
        return False

    await until(registered)
    try:
        sighting = Sighting(car.address("jack"), 0, b"", -60, 0.0, random_address=False)
        await until(known)
        with pytest.raises(LinkError, match="no link service"):
            await terminal.central.connected(sighting).__aenter__()
    finally:
        await car.bus.call(
            *(adapter.path, names.ADVERTISING_MANAGER, names.UNREGISTER, "/foreign"),
            signature="o",
        )
        car.bus.withdraw("/foreign")


@pytest.mark.parametrize("how", ["cancelled", "in vain"])
async def test_an_attempt_that_fails_leaves_a_radio_that_hears_and_connects(
    jack: BluezRadio,
    terminal: BluezRadio,
    witness: Radio,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert link_inbox.CONNECT_TIMEOUT_S == 10
    async with jack.peripheral.inviting(INVITATION):
        invitation = await heard(terminal, INVITATION)
    if how == "in vain":
        with monkeypatch.context() as patch:
            patch.setattr("twochannel.radio.bluez_link.CONNECT_TIMEOUT_S", 1.0)
            with pytest.raises(LinkError, match="Nobody took the connection"):
                await terminal.central.connected(invitation).__aenter__()
    else:
        entering = asyncio.create_task(terminal.central.connected(invitation).__aenter__())
        await asyncio.wait({entering}, timeout=0.5)
        entering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await entering
        assert entering.cancelled()
    await witness.advertiser.broadcast(CALL)
    await heard(terminal, CALL)
    await witness.advertiser.silence()
    async with linked(jack, terminal) as ends:
        await both_ways(*ends, _PACKETS)
