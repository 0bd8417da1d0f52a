"""A radio that fails is opened again, for as long as it takes."""

from __future__ import annotations

import asyncio

import pytest

from fieldkit.air import Air, AirPlan, ControllerPlan
from twochannel.radio import watch
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Equipment, Radio, RadioError
from twochannel.radio.watch import RadioWatch, all_of


class Unheard:
    """Nobody wants to know how the radio is (tests/twochannel/condition does)."""

    def opened(self, equipment: Equipment) -> None:
        pass

    def lost(self, reason: str, since_s: float) -> None:
        pass

    def well(self, rung: str) -> None:
        pass


async def test_a_radio_that_went_away_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(watch, "LAST_RETRY_S", 0.05)
    opened: asyncio.Queue[str] = asyncio.Queue()

    async def listen(radio: Radio) -> None:
        opened.put_nowait(radio.name)
        async for _ in radio.scanner.sightings():
            pass

    plan = AirPlan(controllers=(ControllerPlan(name="jack"),))
    async with Air(plan) as air:
        transport = air.transports["jack"]
        keeper = RadioWatch(lambda: open_radio(f"bumble:{transport}"), listen, Unheard())
        task = asyncio.create_task(keeper.run())
        async with asyncio.timeout(10):
            await opened.get()
        problems = [keeper.problem]
    async with asyncio.timeout(10):
        await keeper.tried.wait()
    problems.append(keeper.problem)
    assert problems[0] is None
    assert "disconnected" in (problems[1] or "")
    port = int(transport.rpartition(":")[2])
    again = AirPlan(controllers=(ControllerPlan(name="jack", port=port),))
    async with Air(again), asyncio.timeout(10):
        await opened.get()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_bug_is_not_taken_for_a_radio_failure() -> None:
    async with Air(AirPlan(controllers=(ControllerPlan(name="jack"),))) as air:

        async def stumble(_radio: Radio) -> None:
            raise ZeroDivisionError

        name = f"bumble:{air.transports['jack']}"
        keeper = RadioWatch(lambda: open_radio(name), stumble, Unheard())
        with pytest.raises(ZeroDivisionError):
            await keeper.run()


async def test_when_one_duty_fails_the_others_end() -> None:
    ended = asyncio.Event()

    async def last() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def fail() -> None:
        raise RadioError("gone")

    with pytest.raises(RadioError, match="gone"):
        await all_of(last(), fail())
    assert ended.is_set()
