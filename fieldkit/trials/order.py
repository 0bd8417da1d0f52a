"""What is to be played: a scenario file, a seed, and what of it. Pure but for ``of``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from fieldkit.trials.scenario import Scenario, ScenarioError, parse
from fieldkit.trials.steps import Step


@dataclass(frozen=True)
class Order:
    """``text`` is the scenario as it was written."""

    name: str
    scenario: Scenario
    text: str
    timeline: tuple[Step, ...]
    seed: int

    @classmethod
    def of(cls, file: Path, seed: int | None = None) -> Order:
        """``seed`` None: the scenario's own. Raises ScenarioError."""
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ScenarioError(f"it cannot be read: {error}") from None
        scenario = parse(text)
        used = scenario.seed if seed is None else seed
        return cls(file.stem, scenario, text, tuple(scenario.timeline(used)), used)

    def without(self, numbers: Collection[int]) -> Order:
        """The same without these steps of the timeline, which are counted from 1."""
        numbered = enumerate(self.timeline, start=1)
        return replace(self, timeline=tuple(s for number, s in numbered if number not in numbers))

    def with_right_clocks(self) -> Order:
        """The same with no clock off from the beginning."""
        return replace(self, scenario=self.scenario.model_copy(update={"machines": ()}))

    def at(self, lanes: Collection[str]) -> Order:
        """The same with these lanes and the first car alone."""
        cars = self.scenario.cars[:1]
        here = tuple(lane for lane in self.scenario.lanes if lane.name in lanes)
        agents = {"server", *lanes, *(n for car in cars for n in (car.jack, car.phone))}
        wrong = tuple(entry for entry in self.scenario.machines if entry.name in agents)
        update = {"cars": cars, "lanes": here, "machines": wrong}
        return replace(self, scenario=self.scenario.model_copy(update=update))
