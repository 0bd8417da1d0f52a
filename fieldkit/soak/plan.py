"""What happens in a soak, stretch by stretch, by a seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Final

from fieldkit.trials.mix import Mix, mixed
from fieldkit.trials.scenario import Scenario
from fieldkit.trials.steps import (
    PowerCut,
    RadioRestarted,
    ServerRestarted,
    SetClock,
    Step,
    WifiLost,
)

#: Payments of one stretch, which takes about a minute.
STRETCH: Final = 8
_FAULT_CHANCE: Final = 0.7
#: An agent that starts anew says nothing about growth for a while: about once in half an hour.
_RESTART_CHANCE: Final = 0.04
_OFF_S: Final = (2.0, 6.0)
_CLOCK_OFF_S: Final = (-400.0, 400.0)


def stretches(scenario: Scenario, seed: int) -> Iterator[list[Step]]:
    """Without end: the payments of a mix, and mostly one fault among them."""
    luck = random.Random(f"soak {seed}")
    cars = [car.name for car in scenario.cars]
    lanes = [lane.name for lane in scenario.lanes]
    mix = scenario.mix or Mix(payments=STRETCH)
    while True:
        faults = list(_faults(luck, cars, lanes))
        some = mix.model_copy(update={"payments": STRETCH})
        yield mixed(some, faults, cars, lanes, luck.getrandbits(32))


def _faults(luck: random.Random, cars: Sequence[str], lanes: Sequence[str]) -> Iterator[Step]:
    for_s = round(luck.uniform(*_OFF_S), 1)
    place = {"after_payments": luck.randrange(STRETCH), "for_s": for_s}
    if luck.random() < _RESTART_CHANCE:
        # The last car alone loses its power, so that the agents of the others run on.
        cut = {"car": cars[-1], "jack_in_1970": luck.random() < 0.5}
        if luck.random() < 0.5:
            yield PowerCut.model_validate({"do": "power_cut", **cut, **place})
        else:
            yield ServerRestarted.model_validate({"do": "server_restarted", **place})
    elif luck.random() < _FAULT_CHANCE:
        car = luck.choice(cars)
        kind = luck.randrange(3)
        if kind == 0:
            yield WifiLost.model_validate({"do": "wifi_lost", "car": car, **place})
        elif kind == 1:
            yield RadioRestarted.model_validate({"do": "radio_restarted", "car": car, **place})
        else:
            machine = luck.choice([*lanes, *(f"{name}-phone" for name in cars)])
            off_s = round(luck.uniform(*_CLOCK_OFF_S), 1)
            after = place["after_payments"]
            yield SetClock.model_validate(
                {"do": "set_clock", "machine": machine, "off_s": off_s, "after_payments": after}
            )
