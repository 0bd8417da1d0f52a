"""Waiting for something that a worker has to live for."""

from __future__ import annotations

import asyncio

import pytest

from fieldkit.bench.lane_crew import LaneError, first


async def test_what_is_awaited_comes_first() -> None:
    worker = asyncio.create_task(asyncio.Event().wait())
    assert await first(worker, asyncio.sleep(0, "challenge")) == "challenge"
    worker.cancel()


async def test_a_worker_that_fails_is_heard_instead() -> None:
    async def refuse() -> None:
        raise ConnectionError("refused")

    with pytest.raises(ConnectionError, match="refused"):
        await first(asyncio.create_task(refuse()), asyncio.Event().wait())


async def test_a_worker_that_ends_leaves_nothing_to_wait_for() -> None:
    worker = asyncio.create_task(asyncio.sleep(0), name="request")
    with pytest.raises(LaneError, match="the request ended too early"):
        await first(worker, asyncio.Event().wait())
