"""The BlueZ radio on the kernel's Bluetooth: what it sends and what it hears.

The controllers are as strict as a Raspberry Pi's: no address change while they scan.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from dbus_fast import Variant

from fieldkit.bench.quantiles import quantile
from tests.car.bluetooth import CarBluetooth, until
from tests.car.radios import (
    EDDYSTONE,
    LANE,
    advertising,
    beacon,
    collected,
    gaps_ms,
    heard,
    opened,
    opened_as,
)
from twochannel.radio import adverts
from twochannel.radio import bluez_names as names
from twochannel.radio.port import Broadcast, Radio, Sighting

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("restored")]

#: Non-resolvable, and no controller's of the car.
NOBODYS = "2A:00:00:00:00:31"
#: ADV_NONCONN_IND in an advertising report (Core spec, Vol 4 Part E section 7.7.65.2).
NONCONNECTABLE = 0x03
#: Flags, BR/EDR Not Supported: the kernel puts it before what leaves room for it.
KERNELS_FLAGS = b"\x02\x01\x04"
#: Without advert while the code changes.
GAP_LIMIT_MS = 300
#: One advert each at the beginning and the end of two windows that are not quite the same.
EDGES = 2


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


@pytest.mark.parametrize(
    "sent", [beacon(2), Broadcast(LANE, b"\x01" + bytes(12), 20)], ids=["beacon", "lane frame"]
)
async def test_what_is_sent_is_non_connectable_and_says_nothing_else(
    jack: Radio, witness: Radio, monkeypatch: pytest.MonkeyPatch, sent: Broadcast
) -> None:
    """By the PDU type at the witness, which no kernel has come between."""
    seen: list[adverts.Report] = []
    parsed = adverts.reports

    def noted(packet: bytes) -> Iterator[adverts.Report]:
        for report in parsed(packet):
            seen.append(report)
            yield report

    sightings = witness.scanner.sightings()
    await jack.advertiser.broadcast(sent)
    address = (await heard(sightings, sent)).address
    monkeypatch.setattr(adverts, "reports", noted)
    for _ in range(5):
        await heard(sightings, sent)
    of_jack = [report for report in seen if report.address == address]
    assert len(of_jack) >= 5
    assert {report.event_type for report in of_jack} == {NONCONNECTABLE}
    payload = adverts.advertising_data(sent.service_uuid, sent.service_data)
    (data,) = {report.advertising_data for report in of_jack}
    assert data.removeprefix(KERNELS_FLAGS) == payload


@pytest.mark.parametrize("controller", ["jack", "terminal"])
async def test_an_adapter_can_be_chosen_by_its_name(
    car: CarBluetooth, witness: Radio, controller: str
) -> None:
    name = (await car.present(controller)).name
    sightings = witness.scanner.sightings()
    async with opened_as(f"bluez:{name}") as radio:
        assert radio.adapter_name == name
        await radio.advertiser.broadcast(beacon(3))
        await heard(sightings, beacon(3))
        assert await advertising(car) == {controller}


async def test_of_several_adapters_the_first_is_taken_if_none_is_named(
    car: CarBluetooth, witness: Radio
) -> None:
    names_of = {name: (await car.present(name)).name for name in ("jack", "terminal")}
    first = min(names_of, key=lambda one: int(names_of[one].removeprefix("hci")))
    sightings = witness.scanner.sightings()
    async with opened_as("bluez") as radio:
        await radio.advertiser.broadcast(beacon(4))
        await heard(sightings, beacon(4))
        assert await advertising(car) == {first}


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
    assert len(gap_ms) == 9
    assert max(gap_ms) <= GAP_LIMIT_MS


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
    # Nor are there more than were sent: each is delivered once.
    assert abs(len(sent) - len(received)) <= EDGES
    assert len({sighting.rssi_dbm for sighting in received}) > 8  # steps of 1 dB, not of 8


async def test_every_level_is_delivered_as_it_was_measured(
    car: CarBluetooth, terminal: Radio
) -> None:
    """Of adverts that come as fast as a jack sends them, with a level of its own each."""
    sent = beacon(31)
    data = adverts.advertising_data(sent.service_uuid, sent.service_data)
    levels_dbm = [-40 - 7 * number % 45 for number in range(100)]
    hearing = asyncio.create_task(collected(terminal, sent, 15))
    async with car.air() as air:
        await until(partial(air.deliver, "terminal", NOBODYS, data, -99, random=True))
        for level_dbm in levels_dbm:
            await asyncio.sleep(sent.interval_ms / 1000)
            assert await air.deliver("terminal", NOBODYS, data, level_dbm, random=True)
    first, *rest = [sighting.rssi_dbm for sighting in await hearing]
    assert (first, rest) == (-99, levels_dbm)


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
