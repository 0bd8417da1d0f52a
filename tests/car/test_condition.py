"""A wall clock that is really set, which no other machine's may be."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from tests.car.bluetooth import run
from twochannel.condition.watch import ConditionWatch
from twochannel.trace import Trace


async def test_a_clock_that_is_set_is_noted_within_seconds(tmp_path: Path) -> None:
    noted: asyncio.Queue[Mapping[str, object]] = asyncio.Queue()
    trace = Trace("jack", None, boot="b")
    trace.listen(noted.put_nowait)

    async def by_ms() -> object:
        async with asyncio.timeout(30):
            while (line := await noted.get())["event"] != "clock_stepped":
                pass
        return line["by_ms"]

    async with ConditionWatch(trace, tmp_path).running():
        async with asyncio.timeout(30):
            assert (await noted.get())["event"] == "health"
        for seconds in (90, -90):
            await run("date", "--set", f"{seconds:+d} seconds")
            stepped_ms = await by_ms()
            assert isinstance(stepped_ms, int)
            # date reads the clock and sets it a moment later.
            assert abs(stepped_ms - seconds * 1000) < 2000
