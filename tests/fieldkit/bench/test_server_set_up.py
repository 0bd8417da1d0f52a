"""Setting a server up for load: nothing is left half started when something fails."""

from __future__ import annotations

import asyncio

import pytest

from fieldkit.bench.server_set_up import finish_all


async def test_results_come_in_the_order_of_their_steps() -> None:
    assert await finish_all(asyncio.sleep(0, number) for number in range(3)) == [0, 1, 2]


async def test_a_failure_goes_up_when_everything_else_has_ended() -> None:
    going_on, ended = asyncio.Event(), []

    async def fail() -> None:
        going_on.set()
        raise ConnectionError("refused")

    async def take_longer() -> None:
        await going_on.wait()
        await asyncio.sleep(0)
        ended.append(True)

    with pytest.raises(ConnectionError, match="refused"):
        await finish_all([fail(), take_longer()])
    assert ended == [True]
