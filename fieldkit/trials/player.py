"""Plays the steps of a scenario, and keeps the truth about them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fieldkit.process import StageError
from fieldkit.trace import TraceError
from fieldkit.trials import steps
from fieldkit.trials.company import Company
from fieldkit.trials.driving import Driving
from fieldkit.trials.misfortunes import Misfortunes
from fieldkit.trials.owners import Owners
from fieldkit.trials.paying import Ending, Paying
from fieldkit.trials.steps import CarStep, Step
from twochannel.control import ControlError
from twochannel.protocol.errors import CodedError

#: What a step may fail by; the steps after it are played all the same.
FAILURES: Final = (StageError, TraceError, TimeoutError, ControlError, CodedError, OSError)


@dataclass(frozen=True, slots=True)
class Played:
    """One step. ``failure``: empty if it went as it must."""

    number: int
    step: Step
    from_us: int
    to_us: int
    ending: Ending
    failure: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "step": steps.told(self.step),
            "from_true_us": self.from_us,
            "to_true_us": self.to_us,
            "payment": self.ending.payment or None,
            "status": self.ending.status or None,
            "failure": self.failure or None,
        }


class Player:
    """``tell`` is told of each step when it is over."""

    def __init__(self, company: Company, tell: Callable[[Played], None]) -> None:
        self.played: list[Played] = []
        self._stopped = False
        self._company, self._truth, self._tell = company, company.truth, tell
        self._cars = [entry.name for entry in company.scenario.cars]
        self._driving = Driving(company)
        self._misfortunes = Misfortunes(company)
        self._paying = Paying(company, self._driving, Owners(company, self._misfortunes))
        self._acts: dict[type[Any], Callable[[Any], Awaitable[None]]] = {
            steps.Drive: self._driving.drive,
            steps.Leave: self._driving.leave,
            steps.Wait: _wait,
            steps.WifiLost: self._misfortunes.wifi_lost,
            steps.RadioRestarted: self._misfortunes.radio_restarted,
            steps.PowerCut: self._misfortunes.power_cut,
            steps.SetClock: self._misfortunes.set_clock,
            steps.ServerRestarted: self._misfortunes.server_restarted,
        }

    async def play(self, timeline: Sequence[Step]) -> None:
        """Play all; what fails is noted, and the rest is played all the same."""
        numbered = list(enumerate(timeline, start=1))
        try:
            while numbered:
                group = _side_by_side(numbered)
                numbered = numbered[len(group) :]
                await asyncio.gather(*map(self._play_track, _tracks(group)))
            await self._misfortunes.all_over()
            for car in self._cars:
                await self._company.left(car)
        finally:
            await self._misfortunes.end()

    def stop(self) -> None:
        """Play no further step; those that have begun are played to their end."""
        self._stopped = True

    async def _play_track(self, track: Sequence[tuple[int, Step]]) -> None:
        for number, step in track:
            if self._stopped:
                return
            began_us, ending, failure = self._truth.now_us(), Ending(), ""
            try:
                await self._do(step, ending)
            except FAILURES as error:
                failure = str(error) or type(error).__name__
            ended_us = self._truth.now_us()
            self.played.append(Played(number, step, began_us, ended_us, ending, failure))
            self._tell(self.played[-1])

    async def _do(self, step: Step, ending: Ending) -> None:
        match step:
            case steps.Pay():
                await self._paying.pay(step, ending)
            case steps.Refuel():
                await self._paying.refuel(step, ending)
            case _:
                await self._acts[type(step)](step)


async def _wait(step: steps.Wait) -> None:
    await asyncio.sleep(step.for_s)


def _side_by_side(numbered: Sequence[tuple[int, Step]]) -> Sequence[tuple[int, Step]]:
    """The first steps that may go on at once: up to one of no car, or that one alone."""
    for index, (_, step) in enumerate(numbered):
        if not all(isinstance(part, CarStep) for part in steps.parts(step)):
            return numbered[: max(index, 1)]
    return numbered


def _tracks(group: Sequence[tuple[int, Step]]) -> list[list[tuple[int, Step]]]:
    """The steps of each car, in order."""
    by_car: dict[str, list[tuple[int, Step]]] = {}
    for number, step in group:
        by_car.setdefault(step.car if isinstance(step, CarStep) else "", []).append((number, step))
    return list(by_car.values())
