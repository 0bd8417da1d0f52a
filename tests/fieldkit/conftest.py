"""An air without luck, for tests that are about something else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fieldkit.air import Air, AirPlan, ControllerPlan
from fieldkit.propagation import Propagation

STILL = Propagation(shadowing_sd_db=0, fading_sd_db=0, loss_probability=0)


@pytest.fixture
async def air() -> AsyncIterator[Air]:
    """Two controllers three metres apart; every packet arrives with the same strength."""
    controllers = (ControllerPlan(name="jack"), ControllerPlan(name="terminal", x=3))
    async with Air(AirPlan(propagation=STILL, controllers=controllers)) as opened:
        yield opened
