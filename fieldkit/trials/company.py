"""Everybody and everything that the steps of a trial act on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fieldkit.cast import CarRole
from fieldkit.stage import Stage
from fieldkit.trials.proving_ground import ProvingGround
from fieldkit.trials.scenario import Scenario
from fieldkit.trials.truth import Truth


@dataclass(frozen=True)
class Company:
    """``truth`` grows with what is done."""

    scenario: Scenario
    stage: Stage
    ground: ProvingGround
    truth: Truth = field(default_factory=Truth)

    def car(self, name: str) -> CarRole:
        """The car of that name in the scenario."""
        names = [entry.name for entry in self.scenario.cars]
        return self.stage.cast.cars[names.index(name)]

    def agents(self, car: str) -> Sequence[str]:
        """The agents that ride in it."""
        return self.car(car).jack.name, self.car(car).phone.name
