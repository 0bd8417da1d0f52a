"""Recorded adverts heard again by a radio on the virtual air."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fieldkit.air import Air
from fieldkit.air_commands import CommandError
from fieldkit.air_control import AirControl
from fieldkit.trials.to_air import play
from twochannel.protocol import beacon
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Sighting

ADDRESS = "2A:00:00:00:00:0{}"


def beacons(*at_s: float) -> list[Sighting]:
    """One advert at each time, each with an address, a code and a level of its own."""
    return [
        Sighting(
            ADDRESS.format(number % 10),
            beacon.SERVICE_UUID,
            beacon.BeaconFrame(0, bytes([number] * 8)).encode(),
            -50 - number,
            time_s,
            random_address=number % 2 == 0,
        )
        for number, time_s in enumerate(at_s)
    ]


async def taken(stream: AsyncIterator[Sighting], count: int) -> list[Sighting]:
    async with asyncio.timeout(10):
        return [await anext(stream) for _ in range(count)]


def unlike_in_time(sighting: Sighting) -> tuple[object, ...]:
    return (
        *(sighting.address, sighting.service_uuid, sighting.service_data),
        *(sighting.rssi_dbm, sighting.random_address),
    )


async def test_a_radio_hears_them_as_they_were_heard(air: Air) -> None:
    sent = beacons(100.0, 100.1, 100.1, 100.35)
    async with AirControl(air.control) as control:
        # Nobody scans yet: the first is held back until somebody does, and takes what is heard.
        playing = asyncio.create_task(play(control, "terminal", sent))
        await control.mute("terminal")
        async with open_radio(f"bumble:{air.transports['terminal']}") as radio:
            stream = radio.scanner.sightings()
            await control.unmute("terminal")
            heard = await taken(stream, len(sent))
            played = await playing
    assert list(map(unlike_in_time, heard)) == list(map(unlike_in_time, sent))
    assert (played.adverts, played.unheard) == (4, 0)
    lag_s = [
        h.heard_at_s - s.heard_at_s - heard[0].heard_at_s + 100.0
        for h, s in zip(heard, sent, strict=True)
    ]
    assert all(-0.01 <= lag <= played.latest_s + 0.05 for lag in lag_s)


async def test_speed_shortens_the_time_between_them(air: Air) -> None:
    sent = beacons(0.0, 30.0)
    async with (
        AirControl(air.control) as control,
        open_radio(f"bumble:{air.transports['terminal']}") as radio,
    ):
        stream = radio.scanner.sightings()
        played = await play(control, "terminal", sent, speed=100.0)
        first, second = await taken(stream, 2)
    assert second.heard_at_s - first.heard_at_s == pytest.approx(0.3, abs=played.latest_s + 0.05)


async def test_what_nobody_hears_is_counted(air: Air) -> None:
    async with (
        AirControl(air.control) as control,
        open_radio(f"bumble:{air.transports['terminal']}") as radio,
    ):
        stream = radio.scanner.sightings()
        playing = asyncio.create_task(play(control, "terminal", beacons(0.0, 0.5)))
        await taken(stream, 1)
        await control.mute("terminal")
        played = await playing
    assert (played.adverts, played.unheard) == (2, 1)


async def test_an_air_without_that_controller_says_so(air: Air) -> None:
    async with AirControl(air.control) as control:
        with pytest.raises(CommandError, match="pump"):
            await play(control, "pump", beacons(0.0))


async def test_nothing_recorded_is_nothing_to_play(air: Air) -> None:
    async with AirControl(air.control) as control:
        assert (await play(control, "terminal", [])).adverts == 0
