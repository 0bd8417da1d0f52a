"""Everybody and everything that the steps of a trial act on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fieldkit.cast import CarRole
from fieldkit.stage import Stage
from fieldkit.trials.ground import Ground
from fieldkit.trials.scenario import Scenario
from fieldkit.trials.truth import Truth
from twochannel.trial_notes import MARKS_PATH, PATH


@dataclass(frozen=True)
class Company:
    """``truth`` grows with what is done, and what is at a lane is marked by its agent."""

    trial: str
    scenario: Scenario
    stage: Stage
    ground: Ground
    truth: Truth = field(default_factory=Truth)

    async def starts(self) -> None:
        """The trial begins: every lane's agent is told."""
        for lane in self.scenario.lanes:
            await self.stage.ask(lane.name, "POST", PATH, {"trial": self.trial})

    async def stops(self) -> None:
        """The trial is over."""
        for lane in self.scenario.lanes:
            await self.stage.ask(lane.name, "DELETE", PATH)

    async def arrived(self, car: str, lane: str) -> None:
        """It stands there from now on, which somebody marks as the truth."""
        jack = self.car(car).jack.name
        self.truth.arrived(lane, car, jack)
        await self._mark(lane, jack, f"{car} stands at {lane}")

    async def left(self, car: str) -> None:
        """It is at no lane from now on; who still is there is marked."""
        stay = self.truth.left(car)
        if stay is not None:
            still = self.truth.standing_at(stay.lane)
            await self._mark(stay.lane, still, f"{car} has left {stay.lane}")

    async def _mark(self, lane: str, jack: str | None, text: str) -> None:
        body: dict[str, object] = {"text": text, "truth": {"lane": lane, "jack": jack}}
        await self.stage.ask(lane, "POST", MARKS_PATH, body)

    def car(self, name: str) -> CarRole:
        """The car of that name in the scenario."""
        names = [entry.name for entry in self.scenario.cars]
        return self.stage.cast.cars[names.index(name)]

    def agents(self, car: str) -> Sequence[str]:
        """The agents that ride in it."""
        return self.car(car).jack.name, self.car(car).phone.name
