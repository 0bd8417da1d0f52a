"""A jack's and a terminal's controller on an air without luck, offered over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fieldkit.air import Air, AirPlan, ControllerPlan
from fieldkit.propagation import Propagation
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Radio

STILL = Propagation(shadowing_sd_db=0, fading_sd_db=0, loss_probability=0)


@pytest.fixture
async def air() -> AsyncIterator[Air]:
    """Every packet arrives, with the strength its distance of three metres allows."""
    controllers = (ControllerPlan(name="jack"), ControllerPlan(name="terminal", x=3))
    async with Air(AirPlan(propagation=STILL, controllers=controllers)) as opened:
        yield opened


@pytest.fixture
async def jack(air: Air) -> AsyncIterator[Radio]:
    async with open_radio(f"bumble:{air.transports['jack']}") as radio:
        yield radio


@pytest.fixture
async def terminal(air: Air) -> AsyncIterator[Radio]:
    async with open_radio(f"bumble:{air.transports['terminal']}") as radio:
        yield radio
