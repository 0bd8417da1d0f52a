"""The BlueZ radio on the kernel's Bluetooth: what it sends and what it hears.

The controllers are as strict as a Raspberry Pi's: no address change while they scan.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from dbus_fast import Variant

from fieldkit.bench.quantiles import quantile
from tests.car.bluetooth import CarBluetooth
from tests.car.radios import EDDYSTONE, LANE, beacon, collected, gaps_ms, heard, opened
from twochannel.radio import bluez_names as names
from twochannel.radio.port import Broadcast, Radio, Sighting

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("restored")]

#: Without advert while the code changes; the median, as emulation stalls now and then.
GAP_LIMIT_S = 0.3


async def test_a_broadcast_is_heard_as_it_was_sent(jack: Radio, terminal: Radio) -> None:
    sightings = terminal.scanner.sightings()
    began_s = time.monotonic()
    await jack.advertiser.broadcast(beacon(1))
    sighting = await heard(sightings, beacon(1))
    assert sighting.service_uuid == EDDYSTONE
    assert -90 < sighting.rssi_dbm < -50
    assert began_s <= sighting.heard_at_s <= time.monotonic()


async def test_a_lane_frame_fills_the_advert_and_is_heard(jack: Radio, terminal: Radio) -> None:
    lane = Broadcast(LANE, b"\x01" + bytes(range(12)), 20)
    sightings = jack.scanner.sightings()
    await terminal.advertiser.broadcast(lane)
    assert (await heard(sightings, lane)).service_uuid == LANE


async def test_the_address_changes_with_the_code_and_nothing_links_two(
    jack: Radio, witness: Radio, measured: dict[str, Any]
) -> None:
    found: list[Sighting] = []
    sightings = witness.scanner.sightings()
    first_ms, gap_ms, call_ms = [], [], []
    for number in range(10, 20):
        began_s = time.monotonic()
        await jack.advertiser.broadcast(beacon(number))
        call_ms.append(1000 * (time.monotonic() - began_s))
        async for sighting in sightings:
            found.append(sighting)
            if sighting.service_data == beacon(number).service_data:
                first_ms.append(1000 * (sighting.heard_at_s - began_s))
                break
        if len(found) > 1:
            gap_ms.append(1000 * (found[-1].heard_at_s - found[-2].heard_at_s))
        for _ in range(5):
            found.append(await heard(sightings, beacon(number)))
    measured["code_change"] = {
        "call_ms": [round(value) for value in sorted(call_ms)],
        "first_sighting_ms": [round(value) for value in sorted(first_ms)],
        "gap_ms": [round(value) for value in sorted(gap_ms)],
    }
    codes: dict[str, set[bytes]] = {}
    for sighting in found:
        codes.setdefault(sighting.address, set()).add(sighting.service_data)
    assert all(len(under_one_address) == 1 for under_one_address in codes.values())
    assert len(codes) == 10
    assert all(int(address[:2], 16) >> 6 == 0 for address in codes)  # non-resolvable
    assert quantile(sorted(gap_ms), 0.5) < 1000 * GAP_LIMIT_S


async def test_silence_takes_the_broadcast_off_the_air(jack: Radio, witness: Radio) -> None:
    sightings = witness.scanner.sightings()
    await jack.advertiser.broadcast(beacon(20))
    await heard(sightings, beacon(20))
    await jack.advertiser.silence()
    assert not await collected(witness, beacon(20), 1.0)
    await jack.advertiser.silence()


async def test_closing_takes_the_broadcast_off_the_air(car: CarBluetooth, witness: Radio) -> None:
    sightings = witness.scanner.sightings()
    async with opened(car, "jack") as radio:
        await radio.advertiser.broadcast(beacon(21))
        await heard(sightings, beacon(21))
    assert not await collected(witness, beacon(21), 1.0)


async def test_every_advert_is_delivered_while_both_send_and_scan(
    jack: Radio, terminal: Radio, witness: Radio, measured: dict[str, Any]
) -> None:
    lane = Broadcast(LANE, b"\x01" + bytes(12), 20)
    await jack.advertiser.broadcast(beacon(30))
    await terminal.advertiser.broadcast(lane)
    sent, received, lanes = await asyncio.gather(
        collected(witness, beacon(30), 15),
        collected(terminal, beacon(30), 15),
        collected(jack, lane, 15),
    )
    on_air, blind = sorted(gaps_ms(sent)), sorted(gaps_ms(received))
    measured["interval_ms"] = {
        "asked": 100,
        "median": round(quantile(on_air, 0.5), 1),
        "p99": round(quantile(on_air, 0.99), 1),
        "lane_asked": 20,
        "lane_median": round(quantile(sorted(gaps_ms(lanes)), 0.5), 1),
    }
    measured["reception"] = {
        "sent": len(sent),
        "delivered": len(received),
        "longest_blind_ms": round(blind[-1]),
        "rssi_values": len({sighting.rssi_dbm for sighting in received}),
    }
    assert len(received) > 0.9 * len(sent)
    assert len({sighting.rssi_dbm for sighting in received}) > 8  # steps of 1 dB, not of 8


async def test_what_is_not_an_advert_is_not_a_sighting(
    car: CarBluetooth, jack: Radio, terminal: Radio
) -> None:
    """Properties of a device change, by another program's hand, while the jack is silent."""
    sightings = terminal.scanner.sightings()
    await jack.advertiser.broadcast(beacon(40))
    address = (await heard(sightings, beacon(40))).address
    await jack.advertiser.silence()
    await collected(terminal, beacon(40), 0.5)  # what was still on its way
    device = f"{(await car.present('terminal')).path}/dev_{address.replace(':', '_')}"
    for value in (True, False):
        await car.bus.set_flag(device, names.DEVICE, "Trusted", value=value)
    assert not await collected(terminal, beacon(40), 1.0)


async def test_the_alias_stays_as_it_was(car: CarBluetooth) -> None:
    await car.set_property("jack", "Alias", Variant("s", "somebody's own"))
    async with opened(car, "jack") as radio:
        await radio.advertiser.broadcast(beacon(41))
        during = await car.properties("jack")
    after = await car.properties("jack")
    assert (during["Alias"], after["Alias"]) == ("somebody's own", "somebody's own")
