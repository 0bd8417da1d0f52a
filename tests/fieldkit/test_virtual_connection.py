"""Connections between virtual controllers: made, carrying, ended and lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bumble import hci

from fieldkit.motion import Position
from fieldkit.propagation import Propagation
from tests.fieldkit.hand_air import (
    ADV,
    ERROR,
    STILL,
    Host,
    Site,
    address,
    advertise,
    parameters,
    scan,
    start_advertising,
    start_scanning,
)

JACK_ADDRESS = address().random_address
PHONE_ADDRESS = address(9)
INTERVAL_S = 0.03
TIMEOUT_S = 2.0
CANCEL = hci.HCI_LE_Create_Connection_Cancel_Command()


def connect(to: hci.Address = JACK_ADDRESS) -> hci.HCI_LE_Create_Connection_Command:
    return hci.HCI_LE_Create_Connection_Command(
        le_scan_interval=96,
        le_scan_window=96,
        initiator_filter_policy=0,
        peer_address_type=to.address_type,
        peer_address=to,
        own_address_type=hci.OwnAddressType.RANDOM,
        connection_interval_min=24,
        connection_interval_max=24,
        max_latency=0,
        supervision_timeout=200,
        min_ce_length=0,
        max_ce_length=0,
    )


def data(payload: bytes, handle: int = 1) -> bytes:
    """An L2CAP frame of one fragment, as the host sends it."""
    frame = len(payload).to_bytes(2, "little") + b"\x04\x00" + payload
    return bytes(hci.HCI_AclDataPacket(handle, 0, 0, len(frame), frame))


def disconnect(handle: int = 1) -> hci.HCI_Disconnect_Command:
    reason = ERROR.REMOTE_USER_TERMINATED_CONNECTION_ERROR
    return hci.HCI_Disconnect_Command(connection_handle=handle, reason=reason)


async def initiating_pair(site: Site, distance_m: float = 1.0) -> tuple[Host, Host]:
    jack, phone = site.host("jack"), site.host("phone", distance_m)
    await start_advertising(jack, parameters(ADV.ADV_IND))
    await phone.accept(PHONE_ADDRESS)
    assert await phone.start(connect()) == ERROR.SUCCESS
    return jack, phone


async def connected_pair(site: Site, distance_m: float = 1.0) -> tuple[Host, Host]:
    jack, phone = await initiating_pair(site, distance_m)
    site.clock.advance(10)
    for host in (jack, phone):
        made = await host.event(hci.HCI_LE_Connection_Complete_Event)
        assert (made.status, made.connection_handle) == (ERROR.SUCCESS, 1)
    return jack, phone


async def reason(host: Host) -> int:
    gone = await host.event(hci.HCI_Disconnection_Complete_Event)
    return int(gone.reason)


async def received(host: Host, number: int) -> list[bytes]:
    packets = [await host.event(hci.HCI_AclDataPacket) for _ in range(number)]
    return [packet.data[4:] for packet in packets]


# --- how connections are made


async def test_a_connectable_advert_that_is_heard_makes_the_connection_and_ends() -> None:
    site = Site()
    jack, phone = await initiating_pair(site)
    site.clock.advance(0)
    at_jack = await jack.event(hci.HCI_LE_Connection_Complete_Event)
    at_phone = await phone.event(hci.HCI_LE_Connection_Complete_Event)
    assert (at_jack.role, at_phone.role) == (hci.Role.PERIPHERAL, hci.Role.CENTRAL)
    assert at_jack.peer_address == PHONE_ADDRESS.random_address
    assert at_phone.peer_address == JACK_ADDRESS
    for made in (at_jack, at_phone):
        assert (made.connection_interval, made.supervision_timeout) == (24, 200)
    assert not jack.controller.is_advertising
    assert not phone.controller.listening


@pytest.mark.parametrize("kind", [ADV.ADV_NONCONN_IND, ADV.ADV_SCAN_IND])
async def test_an_advert_that_is_not_connectable_makes_none(kind: int) -> None:
    site = Site()
    jack, phone = site.host("jack"), site.host("phone")
    await start_advertising(jack, parameters(kind))
    await phone.accept(PHONE_ADDRESS)
    await phone.start(connect())
    site.clock.advance(5)
    assert await phone.silent()
    assert jack.controller.is_advertising


async def test_an_advert_of_another_address_makes_none() -> None:
    site = Site()
    jack, phone = site.host("jack"), site.host("phone")
    await start_advertising(jack, parameters(ADV.ADV_IND))
    await phone.accept(PHONE_ADDRESS)
    await phone.start(connect(address(2).random_address))
    site.clock.advance(5)
    assert await phone.silent()
    assert jack.controller.is_advertising


async def test_who_is_out_of_range_is_connected_once_in_range() -> None:
    site = Site()
    jack, phone = await initiating_pair(site, distance_m=200)
    site.clock.advance(5)
    assert await phone.silent()
    phone.controller.move(Position(2, 0))
    site.clock.advance(1)
    await phone.event(hci.HCI_LE_Connection_Complete_Event)
    await jack.event(hci.HCI_LE_Connection_Complete_Event)


async def test_one_advert_makes_one_connection() -> None:
    site = Site()
    jack, first = await initiating_pair(site)
    second = site.host("second")
    await second.accept(address(5))
    await second.start(connect())
    site.clock.advance(5)
    await first.event(hci.HCI_LE_Connection_Complete_Event)
    assert await second.silent()
    await jack.event(hci.HCI_LE_Connection_Complete_Event)
    assert await jack.silent()


async def test_a_cancelled_attempt_says_so_and_makes_no_connection() -> None:
    site = Site()
    phone = site.host("phone")
    await phone.accept(PHONE_ADDRESS)
    assert await phone.start(connect()) == ERROR.SUCCESS
    assert await phone.start(connect()) == ERROR.COMMAND_DISALLOWED_ERROR
    assert await phone.ask(address(3)) == ERROR.COMMAND_DISALLOWED_ERROR
    await phone.accept(CANCEL)
    cancelled = await phone.event(hci.HCI_LE_Connection_Complete_Event)
    assert cancelled.status == ERROR.UNKNOWN_CONNECTION_IDENTIFIER_ERROR
    assert await phone.ask(CANCEL) == ERROR.COMMAND_DISALLOWED_ERROR
    jack = site.host("jack")
    await start_advertising(jack, parameters(ADV.ADV_IND))
    site.clock.advance(5)
    assert jack.controller.is_advertising
    await phone.accept(address(3))


async def test_an_initiator_needs_the_address_that_it_names() -> None:
    phone = Site().host("phone")
    assert await phone.start(connect()) == ERROR.INVALID_COMMAND_PARAMETERS_ERROR


# --- what they carry


async def test_data_arrives_whole_and_in_order_at_the_next_event() -> None:
    site = Site()
    jack, phone = await connected_pair(site)
    for number in range(5):
        jack.controller.on_packet(data(b"to phone %d" % number))
        phone.controller.on_packet(data(b"to jack %d" % number))
    assert await jack.silent()
    site.clock.advance(INTERVAL_S)
    for host, expected in ((phone, b"to phone %d"), (jack, b"to jack %d")):
        events = [await host.event(hci.HCI_Packet) for _ in range(10)]
        arrived = [event for event in events if isinstance(event, hci.HCI_AclDataPacket)]
        assert [packet.data[4:] for packet in arrived] == [expected % n for n in range(5)]
        completed = {bytes(event) for event in events if event not in arrived}
        assert completed == {bytes(hci.HCI_Number_Of_Completed_Packets_Event([1], [1]))}


async def test_a_host_is_told_of_all_fragments_once_they_have_arrived() -> None:
    site = Site()
    jack, phone = await connected_pair(site)
    whole = data(bytes(range(60)))[5:]
    for offset in range(0, len(whole), 27):
        part = whole[offset : offset + 27]
        packet = hci.HCI_AclDataPacket(1, 1 if offset else 0, 0, len(part), part)
        phone.controller.on_packet(bytes(packet))
    phone.controller.muted = True
    site.clock.advance(TIMEOUT_S / 2)
    assert await phone.silent()
    phone.controller.muted = False
    site.clock.advance(INTERVAL_S)
    completed = await phone.event(hci.HCI_Number_Of_Completed_Packets_Event)
    assert completed.num_completed_packets == [3]
    assert await received(jack, 1) == [bytes(range(60))]


async def test_lost_packets_are_sent_again() -> None:
    site = Site(Propagation(shadowing_sd_db=0, fading_sd_db=0, loss_probability=0.5))
    jack, phone = await connected_pair(site)
    for number in range(40):
        jack.controller.on_packet(data(bytes((number,))))
        site.clock.advance(INTERVAL_S)
    site.clock.advance(1)
    assert await received(phone, 40) == [bytes((number,)) for number in range(40)]


async def test_a_connection_keeps_its_addresses_when_the_controller_changes_its_own() -> None:
    site = Site()
    jack, phone = await connected_pair(site)
    await jack.accept(address(7), parameters(), advertise())
    await start_scanning(phone)
    site.clock.advance(1)
    assert {str(report.address) for _, report in phone.heard} == {str(address(7).random_address)}
    phone.controller.on_packet(data(b"still there"))
    site.clock.advance(INTERVAL_S)
    assert await received(jack, 1) == [b"still there"]
    await phone.event(hci.HCI_Number_Of_Completed_Packets_Event)
    await phone.accept(scan(0))


# --- how they end


async def test_both_sides_are_told_who_ended_it() -> None:
    site = Site()
    jack, phone = await connected_pair(site)
    phone.controller.on_packet(data(b"goodbye"))
    assert await phone.start(disconnect()) == ERROR.SUCCESS
    site.clock.advance(INTERVAL_S)
    assert await received(jack, 1) == [b"goodbye"]
    assert await reason(jack) == ERROR.REMOTE_USER_TERMINATED_CONNECTION_ERROR
    await phone.event(hci.HCI_Number_Of_Completed_Packets_Event)
    assert await reason(phone) == ERROR.CONNECTION_TERMINATED_BY_LOCAL_HOST_ERROR
    assert await phone.start(disconnect()) == ERROR.UNKNOWN_CONNECTION_IDENTIFIER_ERROR


def _far(host: Host) -> None:
    host.controller.move(Position(300, 0))


def _mute(host: Host) -> None:
    host.controller.muted = True


@pytest.mark.parametrize("vanish", [_far, _mute])
async def test_who_is_not_heard_for_the_supervision_timeout_is_lost(
    vanish: Callable[[Host], None],
) -> None:
    site = Site(STILL)
    jack, phone = await connected_pair(site)
    vanish(phone)
    site.clock.advance(TIMEOUT_S - 2 * INTERVAL_S)
    jack.controller.on_packet(data(b"never heard"))
    assert await jack.silent()
    site.clock.advance(3 * INTERVAL_S)
    assert await reason(jack) == ERROR.CONNECTION_TIMEOUT_ERROR
    assert await reason(phone) == ERROR.CONNECTION_TIMEOUT_ERROR


async def test_a_controller_that_was_reset_is_missed_after_the_timeout() -> None:
    site = Site()
    jack, phone = await connected_pair(site)
    phone.controller.reset()
    site.clock.advance(TIMEOUT_S - 2 * INTERVAL_S)
    assert await jack.silent()
    site.clock.advance(3 * INTERVAL_S)
    assert await reason(jack) == ERROR.CONNECTION_TIMEOUT_ERROR
    assert await phone.silent()


async def test_who_comes_back_in_time_is_still_connected() -> None:
    site = Site()
    jack, phone = await connected_pair(site)
    for _ in range(5):
        phone.controller.muted = True
        site.clock.advance(TIMEOUT_S * 0.9)
        phone.controller.muted = False
        site.clock.advance(INTERVAL_S)
    jack.controller.on_packet(data(b"hello"))
    site.clock.advance(INTERVAL_S)
    assert await received(phone, 1) == [b"hello"]


async def test_a_process_that_stood_still_loses_no_connection() -> None:
    site = Site()
    jack, phone = await connected_pair(site)
    site.clock.stall(60)
    site.clock.advance(INTERVAL_S)
    assert await jack.silent()
    assert await phone.silent()


async def test_two_that_have_parted_can_meet_again() -> None:
    site = Site()
    jack, phone = await connected_pair(site)
    for _ in range(3):
        await phone.start(disconnect())
        site.clock.advance(INTERVAL_S)
        for host in (jack, phone):
            await reason(host)
        await jack.accept(advertise())
        await phone.start(connect())
        site.clock.advance(1)
        for host in (jack, phone):
            await host.event(hci.HCI_LE_Connection_Complete_Event)
