"""Virtual controllers: when they send, what arrives, and what they refuse."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from bumble import hci

from fieldkit.motion import Position
from fieldkit.propagation import Propagation, advertising_delay_s
from tests.fieldkit.hand_air import (
    ADV,
    ANSWER_DATA,
    DATA,
    ERROR,
    REPORT,
    SEED,
    START,
    STOP,
    Host,
    Site,
    address,
    advertise,
    parameters,
    scan,
    scan_parameters,
    start_advertising,
    start_scanning,
    talking_pair,
)


def gaps(host: Host) -> Iterator[float]:
    return (later - earlier for (earlier, _), (later, _) in itertools.pairwise(host.heard))


# --- when adverts are sent


async def test_the_first_advert_is_sent_at_once() -> None:
    site = Site()
    _, terminal = await talking_pair(site)
    site.clock.advance(0)
    assert [when for when, _ in terminal.heard] == [1000.0]


@pytest.mark.parametrize("slots", [32, 160, 2048])
async def test_adverts_follow_after_the_interval_and_up_to_10_ms(slots: int) -> None:
    site = Site()
    jack, terminal = site.host("jack"), site.host("terminal", 1)
    await start_scanning(terminal)
    await start_advertising(jack, parameters(slots=(slots, slots)))
    interval_s = slots * 0.000625
    site.clock.advance(100 * interval_s)
    expected = [interval_s + advertising_delay_s(SEED, "jack", number) for number in range(100)]
    measured = list(gaps(terminal))
    assert len(measured) > 50
    assert measured == pytest.approx(expected[: len(measured)])
    assert min(measured) > interval_s
    assert max(measured) < interval_s + 0.010


async def test_a_controller_without_parameters_uses_the_interval_of_the_specification() -> None:
    site = Site()
    jack, terminal = site.host("jack"), site.host("terminal", 1)
    await start_scanning(terminal)
    await jack.accept(advertise())
    site.clock.advance(60)
    assert all(1.28 < gap < 1.29 for gap in gaps(terminal))
    assert len(terminal.heard) > 40


async def test_events_missed_while_the_process_was_stopped_are_not_made_up_for() -> None:
    site = Site()
    _, terminal = await talking_pair(site)
    site.clock.advance(1)
    before = len(terminal.heard)
    site.clock.stall(60)
    site.clock.advance(0.05)
    assert len(terminal.heard) <= before + 2


async def test_nothing_is_sent_after_stop() -> None:
    site = Site()
    jack, terminal = await talking_pair(site)
    site.clock.advance(1)
    await jack.accept(advertise(STOP))
    before = len(terminal.heard)
    assert before > 5
    site.clock.advance(10)
    assert len(terminal.heard) == before


# --- what arrives


@pytest.mark.parametrize(
    ("kind", "passive", "active"),
    [
        (ADV.ADV_NONCONN_IND, [REPORT.ADV_NONCONN_IND], [REPORT.ADV_NONCONN_IND]),
        (ADV.ADV_SCAN_IND, [REPORT.ADV_SCAN_IND], [REPORT.ADV_SCAN_IND, REPORT.SCAN_RSP]),
        (ADV.ADV_IND, [REPORT.ADV_IND], [REPORT.ADV_IND, REPORT.SCAN_RSP]),
        (ADV.ADV_DIRECT_IND, [], []),
    ],
)
async def test_an_advert_arrives_once_under_its_own_type(
    kind: int, passive: list[int], active: list[int]
) -> None:
    site = Site()
    jack, deaf, listener, asker = (site.host(name) for name in ("jack", "deaf", "ear", "asker"))
    await start_scanning(listener, kind=0)
    await start_scanning(asker, kind=1)
    await start_advertising(jack, parameters(kind))
    site.clock.advance(0.05)
    assert deaf.heard == []
    assert listener.types == passive
    assert asker.types == active


async def test_a_report_says_who_sent_what() -> None:
    site = Site()
    jack, asker = site.host("jack"), site.host("asker", 1)
    await start_scanning(asker, kind=1)
    await start_advertising(jack, parameters(ADV.ADV_IND))
    site.clock.advance(0)
    (_, advert), (_, answer) = asker.heard
    assert str(advert.address) == "06:05:04:03:02:01"
    assert advert.address_type == hci.Address.RANDOM_DEVICE_ADDRESS
    assert (advert.data, answer.data) == (DATA, ANSWER_DATA)
    assert advert.rssi == answer.rssi == -59


async def test_duplicates_are_delivered_unless_the_host_wants_them_filtered() -> None:
    site = Site()
    jack, every, once = site.host("jack"), site.host("every"), site.host("once")
    await start_scanning(every)
    await start_scanning(once, duplicates_filtered=1)
    await start_advertising(jack)
    site.clock.advance(2)
    assert len(every.heard) > 15
    assert len(once.heard) == 1
    await once.accept(scan(STOP), scan(START, 1))
    site.clock.advance(2)
    assert len(once.heard) == 2


async def test_rssi_falls_with_distance_and_rises_with_power() -> None:
    site = Site()
    weak, strong = site.host("weak"), site.host("strong", tx_power_dbm=8)
    near, far = site.host("near", 1), site.host("far", 10)
    for listener in (near, far):
        await start_scanning(listener)
    await start_advertising(weak)
    site.clock.advance(0.01)
    assert (near.rssis, far.rssis) == ([-59], [-79])
    await weak.accept(advertise(STOP))
    await start_advertising(strong)
    site.clock.advance(0.01)
    assert (near.rssis[1:], far.rssis[1:]) == ([-51], [-71])


async def test_a_car_driving_past_grows_louder_and_then_fades() -> None:
    site = Site()
    jack, terminal = site.host("jack", -30), site.host("terminal")
    await start_scanning(terminal)
    await start_advertising(jack)
    assert jack.controller.drive(Position(30, 0), speed_mps=5) == 12
    site.clock.advance(12)
    loudest = terminal.rssis.index(max(terminal.rssis))
    approach, departure = terminal.rssis[: loudest + 1], terminal.rssis[loudest:]
    assert min(len(approach), len(departure)) > 40
    assert approach == sorted(approach)
    assert departure == sorted(departure, reverse=True)
    assert jack.controller.position == Position(30, 0)


async def test_a_car_out_of_range_is_not_heard_until_it_comes_back() -> None:
    site = Site()
    jack, terminal = await talking_pair(site, distance_m=200)
    site.clock.advance(5)
    assert terminal.heard == []
    jack.controller.move(Position(199, 0))
    site.clock.advance(5)
    assert set(terminal.rssis) == {-59}


async def test_a_muted_controller_neither_hears_nor_is_heard() -> None:
    site = Site()
    jack, terminal = await talking_pair(site)
    for muted in (jack, terminal):
        muted.controller.muted = True
        site.clock.advance(2)
        assert terminal.heard == []
        muted.controller.muted = False
    site.clock.advance(2)
    assert len(terminal.heard) > 15


async def history(propagation: Propagation, seed: int, listeners: tuple[str, ...]) -> list[Any]:
    site = Site(propagation, seed)
    hosts = {name: site.host(name, 5) for name in listeners}
    jack = site.host("jack")
    for host in hosts.values():
        await start_scanning(host)
    await start_advertising(jack)
    site.clock.advance(20)
    return [(when, report.rssi) for when, report in hosts["terminal"].heard]


async def test_the_seed_decides_and_other_listeners_change_nothing() -> None:
    alone = await history(Propagation(), 1, ("terminal",))
    in_company = await history(Propagation(), 1, ("phone", "terminal", "lane"))
    assert alone == in_company
    assert alone != await history(Propagation(), 2, ("terminal",))
    assert 0 < len(alone) < 200
    assert len({rssi for _, rssi in alone}) > 5


# --- what the controller refuses


@pytest.mark.parametrize("busy", [start_advertising, start_scanning])
async def test_addresses_and_parameters_cannot_change_under_a_busy_radio(
    busy: Callable[[Host], Awaitable[None]],
) -> None:
    jack = Site().host("jack")
    await busy(jack)
    before = jack.controller.random_address
    assert await jack.ask(address(2)) == ERROR.COMMAND_DISALLOWED_ERROR
    assert jack.controller.random_address == before
    await jack.accept(advertise(STOP), scan(STOP), address(2), parameters(), advertise())
    assert await jack.ask(parameters()) == ERROR.COMMAND_DISALLOWED_ERROR


@pytest.mark.parametrize("slots", [(0x1F, 0x1F), (0x4001, 0x4001), (200, 160), (160, 0x4001)])
async def test_an_interval_outside_the_specification_is_refused(slots: tuple[int, int]) -> None:
    jack = Site().host("jack")
    assert await jack.ask(parameters(slots=slots)) == ERROR.INVALID_COMMAND_PARAMETERS_ERROR


async def test_a_random_address_must_be_set_before_it_is_used() -> None:
    jack = Site().host("jack")
    await jack.accept(parameters(), scan_parameters(0, hci.OwnAddressType.RANDOM))
    assert await jack.ask(advertise()) == ERROR.INVALID_COMMAND_PARAMETERS_ERROR
    assert await jack.ask(scan()) == ERROR.INVALID_COMMAND_PARAMETERS_ERROR
    await jack.accept(address(), advertise(), scan())


async def test_it_presents_itself_as_a_controller_of_a_raspberry_pi_does() -> None:
    jack = Site().host("jack", tx_power_dbm=-4)
    features = jack.controller.le_features
    assert not features & hci.LeFeatureMask.LE_EXTENDED_ADVERTISING
    assert not features & hci.LeFeatureMask.LL_PRIVACY
    assert features & hci.LeFeatureMask.LE_ENCRYPTION
    await jack.accept(hci.HCI_LE_Read_Advertising_Physical_Channel_Tx_Power_Command())
    assert jack.answer.tx_power_level == -4


async def test_a_reset_returns_to_the_initial_state_and_keeps_the_place() -> None:
    site = Site()
    jack, terminal = await talking_pair(site)
    await jack.accept(scan())
    site.clock.advance(1)
    before = len(terminal.heard)
    jack.controller.move(Position(0.5, 0))
    await jack.accept(hci.HCI_Reset_Command())
    site.clock.advance(5)
    assert len(terminal.heard) == before
    assert not jack.controller.is_advertising
    assert not jack.controller.listening
    assert jack.controller.position == Position(0.5, 0)
    assert jack.controller.random_address == hci.Address.ANY_RANDOM
    await jack.accept(advertise(), scan())  # under the public address again
