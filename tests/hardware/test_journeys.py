"""Every journey of the demo that the bench can play."""

from __future__ import annotations

import pytest

from fieldkit import journeys
from fieldkit.journeys import Journey
from fieldkit.results import JourneyResult
from fieldkit.stage import Stage


@pytest.mark.asyncio(loop_scope="session")
async def test_journey(stage: Stage, journey: Journey, played: list[JourneyResult]) -> None:
    result = await journeys.perform(stage, journey)
    played.append(result)
    assert result.ok, result.failure
