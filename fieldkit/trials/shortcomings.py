"""What a place cannot do of a scenario, step by step, told before it is played. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fieldkit.hosts import Bench
from fieldkit.trials import steps
from fieldkit.trials.scenario import Scenario
from fieldkit.trials.steps import CarStep, Step


@dataclass(frozen=True, slots=True)
class Shortcoming:
    """``number`` of the step in the timeline; None: a clock that is off from the beginning."""

    number: int | None
    what: str
    reason: str

    def __str__(self) -> str:
        step = "from the beginning" if self.number is None else f"step {self.number}"
        return f"{step}, {self.what}: {self.reason}"


def in_car(scenario: Scenario, timeline: Sequence[Step]) -> list[Shortcoming]:
    """Of the virtual car: it is one car."""
    return _of_steps(scenario, timeline, lambda step: _other_car(scenario, step))


def on_bench(bench: Bench, scenario: Scenario, timeline: Sequence[Step]) -> list[Shortcoming]:
    """Of real machines: what nothing there switches, moves or puts wrong."""
    clocks = [
        Shortcoming(None, f"clock of {entry.name} {entry.clock_off_s:+g} s", _CLOCK)
        for entry in scenario.machines
    ]
    return clocks + _of_steps(scenario, timeline, lambda step: _on_bench(bench, scenario, step))


_CLOCK = "the clocks of real machines are set on them, not from here"
_POWER = "nothing on this bench cuts the power of the car"


def _of_steps(
    scenario: Scenario, timeline: Sequence[Step], reason: Callable[[Step], str]
) -> list[Shortcoming]:
    """Steps with a reason; and those of a car that could then not get to where they are done."""
    found, lost = [], {entry.name: "" for entry in scenario.cars}
    for number, step in enumerate(timeline, start=1):
        why = next(filter(None, map(reason, steps.parts(step))), "")
        if isinstance(step, steps.Drive):
            lost[step.car] = why and f"{step.car} does not get to {step.to}"
        elif isinstance(step, steps.Pay | steps.Refuel) and not why:
            why = lost[step.car]
        if why:
            found.append(Shortcoming(number, steps.told(step), why))
    return found


def _other_car(scenario: Scenario, step: Step) -> str:
    first = scenario.cars[0].name
    if isinstance(step, CarStep) and step.car != first:
        return f"there is one car, which is {first}"
    return ""


def _on_bench(bench: Bench, scenario: Scenario, step: Step) -> str:
    if why := _other_car(scenario, step):
        return why
    match step:
        case steps.Drive() if step.to not in bench.terminals:
            return f"there is no {step.to} on this bench"
        case steps.Drive() if step.to not in bench.car.at and not bench.car.air:
            return f"the car is not at {step.to}, and nothing on this bench moves it"
        case steps.WifiLost() if not (bench.wifi.cut and bench.wifi.mend):
            return "nothing on this bench cuts the Wi-Fi of phone and jack"
        case steps.RadioRestarted() if not (bench.radio.take and bench.radio.give):
            return "nothing on this bench takes the jack's radio away"
        case steps.PowerCut():
            return _POWER
        case steps.SetClock():
            return _CLOCK
    return ""
