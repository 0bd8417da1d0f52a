"""The Bumble radio on virtual air, over real sockets: what it sends and what it hears."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from bumble import hci

from fieldkit.air import Air
from fieldkit.virtual_controller import Advert, VirtualController
from twochannel.radio.adverts import advertising_data
from twochannel.radio.backends import open_radio
from twochannel.radio.bumble import BumbleScanner
from twochannel.radio.port import Broadcast, Radio, Sighting
from twochannel.radio.sighting_stream import WAITING_SIGHTINGS_LIMIT

EDDYSTONE = 0xFEAA
LANE = 0x7A1E0001_0000_4000_8000_000000000000
NONCONNECTABLE = hci.HCI_LE_Advertising_Report_Event.EventType.ADV_NONCONN_IND


def code(number: int = 0, interval_ms: int = 20) -> Broadcast:
    return Broadcast(EDDYSTONE, b"\x30\xee" + number.to_bytes(8), interval_ms)


async def heard(sightings: AsyncIterator[Sighting], broadcast: Broadcast) -> Sighting:
    """The next sighting of a broadcast, whatever else is heard before it."""
    async with asyncio.timeout(30):
        async for sighting in sightings:
            if sighting.service_data == broadcast.service_data:
                return sighting
    raise AssertionError("the radio was closed")


def raw_advert(data: bytes) -> Advert:
    return Advert(NONCONNECTABLE, hci.Address("01:02:03:04:05:06"), data, b"")


# --- broadcasting and hearing


@pytest.mark.parametrize(
    "broadcast", [Broadcast(EDDYSTONE, b"\x30code", 20), Broadcast(LANE, b"twelve bytes", 20)]
)
async def test_a_broadcast_is_heard_as_it_was_sent(
    jack: Radio, terminal: Radio, broadcast: Broadcast
) -> None:
    sightings = terminal.scanner.sightings()
    started_s = time.monotonic()
    await jack.advertiser.broadcast(broadcast)
    sighting = await heard(sightings, broadcast)
    assert sighting.service_uuid == broadcast.service_uuid
    assert sighting.rssi_dbm == round(-59 - 9.54)  # 3 m
    assert started_s <= sighting.heard_at_s <= time.monotonic()


async def test_what_is_sent_is_non_connectable_under_a_non_resolvable_address(
    air: Air, jack: Radio, monkeypatch: pytest.MonkeyPatch
) -> None:
    adverts: asyncio.Queue[Advert] = asyncio.Queue()
    monkeypatch.setattr(
        VirtualController, "hear", lambda _self, advert, _rssi: adverts.put_nowait(advert)
    )
    async with open_radio(f"bumble:{air.transports['terminal']}"):
        await jack.advertiser.broadcast(code(interval_ms=100))
        advert = await asyncio.wait_for(adverts.get(), 30)
    assert advert.event_type == NONCONNECTABLE
    assert not advert.connectable
    assert not advert.scannable
    assert advert.data == advertising_data(EDDYSTONE, code().service_data)
    assert advert.address.address_type == hci.Address.RANDOM_DEVICE_ADDRESS
    assert advert.address.address_bytes[5] >> 6 == 0b00


@pytest.mark.parametrize(("interval_ms", "slots"), [(20, 32), (100, 160), (10_240, 16_384)])
async def test_the_interval_is_set_in_units_of_the_controller(
    air: Air, jack: Radio, interval_ms: int, slots: int
) -> None:
    await jack.advertiser.broadcast(code(interval_ms=interval_ms))
    advertiser = air.controller("jack").le_legacy_advertiser
    assert advertiser.enabled
    assert advertiser.advertising_interval_min == advertiser.advertising_interval_max == slots


async def test_each_broadcast_has_an_address_of_its_own(jack: Radio, terminal: Radio) -> None:
    sightings = terminal.scanner.sightings()
    addresses = set()
    for number in range(10):
        await jack.advertiser.broadcast(code(number))
        sighting = await heard(sightings, code(number))
        addresses.add(sighting.address)
        assert int(sighting.address[:2], 16) >> 6 == 0b00
    assert len(addresses) == 10


async def test_no_advert_links_an_old_payload_with_a_new_address_or_the_reverse(
    jack: Radio, terminal: Radio
) -> None:
    sightings = terminal.scanner.sightings()
    for number in range(30):
        await jack.advertiser.broadcast(code(number))
        last = await heard(sightings, code(number))
    await jack.advertiser.silence()
    assert last.service_data == code(29).service_data
    await jack.advertiser.broadcast(code(99))
    pairs = {(last.address, last.service_data)}
    async with asyncio.timeout(30):
        async for sighting in sightings:
            pairs.add((sighting.address, sighting.service_data))
            if sighting.service_data == code(99).service_data:
                break
    assert len(pairs) == len({address for address, _ in pairs}) == len({data for _, data in pairs})


async def test_the_radio_hears_while_it_broadcasts_and_after_each_change(
    jack: Radio, terminal: Radio
) -> None:
    lane = Broadcast(LANE, b"lane", 20)
    await terminal.advertiser.broadcast(lane)
    sightings = jack.scanner.sightings()
    for number in range(5):
        await jack.advertiser.broadcast(code(number))
        await heard(sightings, lane)


async def test_silence_takes_the_broadcast_off_the_air_and_may_be_repeated(
    air: Air, jack: Radio
) -> None:
    await jack.advertiser.silence()
    await jack.advertiser.broadcast(code())
    assert air.controller("jack").is_advertising
    await jack.advertiser.silence()
    assert not air.controller("jack").is_advertising
    await jack.advertiser.silence()
    assert air.controller("jack").le_scan_enable


@pytest.mark.parametrize(
    ("broadcast", "problem"),
    [
        (Broadcast(EDDYSTONE, bytes(24), 100), "31 bytes"),
        (Broadcast(LANE, bytes(14), 100), "31 bytes"),
        (Broadcast(EDDYSTONE, b"", 19), "20 to 10240"),
        (Broadcast(EDDYSTONE, b"", 10_241), "20 to 10240"),
    ],
)
async def test_a_broadcast_no_controller_could_send_is_a_mistake_of_the_caller(
    air: Air, jack: Radio, broadcast: Broadcast, problem: str
) -> None:
    await jack.advertiser.broadcast(code())
    with pytest.raises(ValueError, match=problem):
        await jack.advertiser.broadcast(broadcast)
    assert air.controller("jack").is_advertising


# --- scanning


async def test_scanning_is_passive_and_continuous_and_sees_every_packet(
    air: Air, terminal: Radio
) -> None:
    controller = air.controller("terminal")
    assert terminal.name == f"bumble:{air.transports['terminal']}"
    assert controller.le_scan_enable
    assert controller.le_scan_type == hci.HCI_LE_Set_Scan_Parameters_Command.PASSIVE_SCANNING
    assert controller.le_scan_window == controller.le_scan_interval
    assert not controller.filter_duplicates


async def test_every_packet_is_one_sighting(air: Air, terminal: Radio) -> None:
    sightings = terminal.scanner.sightings()
    controller = air.controller("terminal")
    advert = raw_advert(advertising_data(EDDYSTONE, b"same"))
    for rssi_dbm in range(-90, -40):
        controller.hear(advert, rssi_dbm)
    received = [await asyncio.wait_for(anext(sightings), 30) for _ in range(50)]
    assert [sighting.rssi_dbm for sighting in received] == list(range(-90, -40))
    assert {sighting.address for sighting in received} == {"01:02:03:04:05:06"}


async def test_foreign_adverts_are_a_sign_of_life_but_no_sightings(
    air: Air, terminal: Radio
) -> None:
    sightings = terminal.scanner.sightings()
    silent_until = terminal.scanner.last_heard_at_s
    for data in (b"", bytes.fromhex("0201060aff4c001005"), b"\xff" * 31):
        air.controller("terminal").hear(raw_advert(data), -60)
    air.controller("terminal").hear(raw_advert(advertising_data(EDDYSTONE, b"ours")), -60)
    sighting = await asyncio.wait_for(anext(sightings), 30)
    assert sighting.service_data == b"ours"
    assert silent_until is None
    assert terminal.scanner.last_heard_at_s == sighting.heard_at_s


async def test_sightings_begin_when_they_are_asked_for(jack: Radio, terminal: Radio) -> None:
    earlier = terminal.scanner.sightings()
    await jack.advertiser.broadcast(code(1))
    await heard(earlier, code(1))
    await jack.advertiser.broadcast(code(2))
    await heard(earlier, code(2))
    later = terminal.scanner.sightings()
    assert (await asyncio.wait_for(anext(later), 30)).service_data == code(2).service_data


async def test_a_second_consumer_takes_over(jack: Radio, terminal: Radio) -> None:
    first = terminal.scanner.sightings()
    second = terminal.scanner.sightings()
    await jack.advertiser.broadcast(code())
    await heard(second, code())
    assert [sighting async for sighting in first] == []


async def test_a_slow_consumer_loses_the_oldest_and_the_loss_is_counted() -> None:
    scanner = BumbleScanner()
    sightings = scanner.sightings()
    advert = raw_advert(advertising_data(EDDYSTONE, b"flood"))
    for number in range(WAITING_SIGHTINGS_LIMIT + 7):
        scanner.on_report(advert.report(-100 + number % 50))
    assert scanner.lost == 7
    assert (await anext(sightings)).rssi_dbm == -93


async def test_without_a_consumer_nothing_is_kept_and_nothing_is_lost() -> None:
    scanner = BumbleScanner()
    advert = raw_advert(advertising_data(EDDYSTONE, b"flood"))
    for _ in range(WAITING_SIGHTINGS_LIMIT + 1):
        scanner.on_report(advert.report(-60))
    assert scanner.lost == 0
    assert scanner.last_heard_at_s is not None
