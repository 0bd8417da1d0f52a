"""Measuring a real radio: Bumble on virtual air."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fieldkit.air import Air, AirPlan, ControllerPlan
from fieldkit.propagation import Propagation
from twochannel.doctor.findings import State
from twochannel.doctor.listening import PROBE_UUID, broadcast, listen
from twochannel.doctor.listening_rules import blind_row, interval_row, rssi_step_row
from twochannel.doctor.readings import Broadcasting
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Broadcast, Radio

_FADING = Propagation(shadowing_sd_db=0, fading_sd_db=4, loss_probability=0)


@pytest.fixture
async def air() -> AsyncIterator[Air]:
    controllers = tuple(ControllerPlan(name=name, x=x) for x, name in enumerate(("a", "b", "c")))
    async with Air(AirPlan(propagation=_FADING, controllers=controllers)) as opened:
        yield opened


@pytest.fixture
async def radio(air: Air) -> AsyncIterator[Radio]:
    async with open_radio(f"bumble:{air.transports['a']}") as opened:
        yield opened


async def test_adverts_and_levels_are_measured(air: Air, radio: Radio) -> None:
    async with open_radio(f"bumble:{air.transports['b']}") as other:
        await other.advertiser.broadcast(Broadcast(0xFEAA, bytes(10), 100))
        listening = await listen(radio, 2.0)
    assert 2.0 <= listening.seconds < 4.0
    assert list(listening.heard_at_s) == sorted(listening.heard_at_s)
    assert blind_row(listening).state is State.OK
    # How fine the finest step of so few adverts is, chance says.
    assert rssi_step_row(listening).state is State.OK


async def test_silence_is_measured_as_silence(radio: Radio) -> None:
    listening = await listen(radio, 0.3)
    assert (listening.heard_at_s, listening.levels) == ((), ())


async def test_a_witness_measures_the_interval(air: Air, radio: Radio) -> None:
    sent = await broadcast(radio, 100, f"bumble:{air.transports['b']}", 2.0)
    assert isinstance(sent, Broadcasting)
    row = interval_row(None, sent, 100)
    assert row.state is State.OK
    assert 80 < float(row.value or 0) < 160, row


async def test_the_probe_is_off_the_air_afterwards(air: Air, radio: Radio) -> None:
    async with open_radio(f"bumble:{air.transports['c']}") as other:
        sightings = other.scanner.sightings()
        sent = await broadcast(radio, 20, f"bumble:{air.transports['b']}", 0.5)
        assert isinstance(sent, Broadcasting)
        assert (await anext(sightings)).service_uuid == PROBE_UUID
        # What is on its way may still come; then it is quiet.
        await listen(other, 0.2)
        assert (await listen(other, 0.5)).heard_at_s == ()
