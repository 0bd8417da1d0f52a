"""Everybody and everything that the steps of a trial act on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from fieldkit.cast import CarRole
from fieldkit.stage import Stage
from fieldkit.trials.attendant import NAME, Attendant
from fieldkit.trials.ground import Ground
from fieldkit.trials.scenario import Scenario
from fieldkit.trials.truth import Truth


@dataclass(frozen=True)
class Company:
    """``truth`` grows with what is done, and ``attendants`` note what they see of it."""

    trial: str
    scenario: Scenario
    stage: Stage
    ground: Ground
    truth: Truth = field(default_factory=Truth)

    @cached_property
    def attendants(self) -> dict[str, Attendant]:
        """By lane."""
        return {
            lane.name: Attendant(
                *(self.trial, lane.name, self.ground.machines[lane.name]),
                self.stage.folder / NAME / lane.name,
            )
            for lane in self.scenario.lanes
        }

    def starts(self) -> None:
        """The trial begins."""
        for attendant in self.attendants.values():
            attendant.starts()

    def stops(self) -> None:
        """The trial is over."""
        for attendant in self.attendants.values():
            attendant.stops()

    def arrived(self, car: str, lane: str) -> None:
        """It stands there from now on."""
        jack = self.car(car).jack.name
        self.truth.arrived(lane, car, jack)
        self.attendants[lane].sees(jack, present=True)

    def left(self, car: str) -> None:
        """It is at no lane from now on."""
        if (stay := self.truth.left(car)) is not None:
            self.attendants[stay.lane].sees(stay.jack, present=False)

    def car(self, name: str) -> CarRole:
        """The car of that name in the scenario."""
        names = [entry.name for entry in self.scenario.cars]
        return self.stage.cast.cars[names.index(name)]

    def agents(self, car: str) -> Sequence[str]:
        """The agents that ride in it."""
        return self.car(car).jack.name, self.car(car).phone.name
