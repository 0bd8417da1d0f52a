"""Payments in numbers: which car visits which lane, and what is paid there, by a seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from fieldkit.trials.steps import Drive, Leave, Owner, Pay, Refuel, Step

_Share = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=1, le=100_000)]
_SPEEDS_MPS: Final = (8.0, 18.0)
#: A pump takes this much of what was held.
_PUMPED: Final = (0.3, 0.95)


class Mix(BaseModel):
    """``payments`` in all, ``per_visit`` of a car at a lane, up to ``most_minor`` cents each.

    ``refuel``, ``declined``, ``silent``: shares of payments. Refuelling holds ``hold_minor``; what
    the owner is to decline, or does not answer, is ``asked_minor``, which no rule of the phone
    allows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    payments: _Count
    per_visit: Annotated[int, Field(ge=1, le=20)] = 2
    most_minor: Annotated[int, Field(ge=100, le=100_000)] = 1800
    refuel: _Share = 0.15
    hold_minor: Annotated[int, Field(ge=100, le=100_000)] = 1900
    declined: _Share = 0.05
    silent: _Share = 0.0
    asked_minor: Annotated[int, Field(ge=100, le=100_000)] = 4500


def mixed(
    mix: Mix, among: Sequence[Step], cars: Sequence[str], lanes: Sequence[str], seed: int
) -> list[Step]:
    """The steps of a whole trial: ``among`` them those of the file, where they say.

    Each car goes from lane to lane, those of several cars in turn, so that they rarely wait.
    """
    luck = random.Random(f"mix {seed}")
    due = sorted(
        (step for step in among if step.after_payments is not None),
        key=lambda step: step.after_payments or 0,
    )
    steps: list[Step] = [step for step in among if step.after_payments is None]
    paid = visit = 0
    while paid < mix.payments:
        car = cars[visit % len(cars)]
        lane = lanes[(visit % len(cars) + visit // len(cars)) % len(lanes)]
        steps.append(Drive(do="drive", car=car, to=lane, speed_mps=_speed_mps(luck)))
        for _ in range(min(mix.per_visit, mix.payments - paid)):
            while due and (due[0].after_payments or 0) <= paid:
                steps.append(due.pop(0))
            steps.append(_payment(mix, car, luck))
            paid += 1
        steps.append(Leave(do="leave", car=car, speed_mps=_speed_mps(luck)))
        visit += 1
    return steps + due


def _speed_mps(luck: random.Random) -> float:
    return round(luck.uniform(*_SPEEDS_MPS), 1)


def _payment(mix: Mix, car: str, luck: random.Random) -> Step:
    chance = luck.random()
    if chance < mix.refuel:
        pumped = round(mix.hold_minor * luck.uniform(*_PUMPED))
        return Refuel(do="refuel", car=car, hold=_typed(mix.hold_minor), amount=_typed(pumped))
    if chance < mix.refuel + mix.declined:
        return Pay(do="pay", car=car, amount=_typed(mix.asked_minor), owner=Owner.DECLINES)
    if chance < mix.refuel + mix.declined + mix.silent:
        return Pay(do="pay", car=car, amount=_typed(mix.asked_minor), owner=Owner.SILENT)
    return Pay(do="pay", car=car, amount=_typed(luck.randint(100, mix.most_minor)))


def _typed(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02}"
