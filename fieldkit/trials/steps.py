"""The steps of a trial, as a scenario file names them by ``do``. Pure.

Steps of one car follow each other; those of different cars go on side by side. A step of no car
waits for all before it, and all after it wait for it; so does a payment that meets one. A fault
that lasts (``for_s``) has begun when its step is over, and ends by itself while the next steps go
on.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from twochannel.protocol.statements import Name

_Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
_Typed = Annotated[str, StringConstraints(pattern=r"^\d{1,6}(\.\d{1,3})?$")]


class Owner(StrEnum):
    """What the owner does about a payment. ``rule``: nothing, the phone has a rule for it."""

    RULE = "rule"
    APPROVES = "approves"
    DECLINES = "declines"
    SILENT = "silent"


class _Step(BaseModel):
    """``after_payments``: only with a mix, after so many of its payments; else before them all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    after_payments: Annotated[int, Field(ge=0)] | None = None


class CarStep(_Step):
    """A step of one car."""

    car: Name


class Drive(CarStep):
    """Drive to a lane, and stop there when it is free.

    ``beside``: at once, and beside the car that stands there.
    """

    do: Literal["drive"]
    to: Name
    speed_mps: Annotated[float, Field(gt=0, le=100)] = 10.0
    beside: bool = False


class Leave(CarStep):
    """Drive off, to where the car is parked."""

    do: Literal["leave"]
    speed_mps: Annotated[float, Field(gt=0, le=100)] = 10.0


class WifiLost(CarStep):
    """The Wi-Fi of jack and phone falls silent, though both still believe in it."""

    do: Literal["wifi_lost"]
    for_s: _Seconds


class RadioRestarted(CarStep):
    """The jack's radio is taken away and comes back: bluetoothd restarted, an adapter replugged."""

    do: Literal["radio_restarted"]
    for_s: _Seconds


class PowerCut(CarStep):
    """Jack and phone lose their power without a word, and boot again after ``for_s``.

    ``unsynced_s``: what they wrote so shortly before is not on disk. ``jack_in_1970``: its clock
    has no battery.
    """

    do: Literal["power_cut"]
    for_s: _Seconds
    unsynced_s: Annotated[float, Field(ge=0, le=10)] = 1.0
    jack_in_1970: bool = False


class SetClock(_Step):
    """The wall clock of a machine is put ``off_s`` ahead of the right time, at once."""

    do: Literal["set_clock"]
    machine: Name
    off_s: Annotated[float, Field(ge=-1e8, le=1e8, allow_inf_nan=False)]


class ServerRestarted(_Step):
    """The server is stopped and comes back after ``for_s``."""

    do: Literal["server_restarted"]
    for_s: _Seconds


class Pay(CarStep):
    """Pay at the lane where the car is. Amounts are EUR, as a person types them.

    ``method``: the label of the card, else the phone's default. ``pick``: the attendant names the
    jack, because others could be meant too. ``hurried``: the till asks as soon as the jack may
    be meant, and may be refused because another could be meant too. ``meets``: what goes wrong as
    soon as the owner is asked, who answers when the phone has noticed, and asks again if it has to.
    """

    do: Literal["pay"]
    amount: _Typed
    owner: Owner = Owner.RULE
    method: str | None = None
    pick: bool = False
    hurried: bool = False
    meets: Annotated[PowerCut | ServerRestarted, Field(discriminator="do")] | None = None

    @model_validator(mode="after")
    def _owner_can_answer(self) -> Self:
        if self.meets is not None and self.owner not in {Owner.APPROVES, Owner.DECLINES}:
            raise ValueError("meets needs an owner who approves or declines")
        if isinstance(self.meets, CarStep) and self.meets.car != self.car:
            raise ValueError(f"meets is of {self.meets.car}, and {self.car} pays")
        return self


class Refuel(CarStep):
    """Hold an amount, then take what was pumped."""

    do: Literal["refuel"]
    hold: _Typed
    amount: _Typed
    owner: Owner = Owner.RULE


class Wait(CarStep):
    """The car stands."""

    do: Literal["wait"]
    for_s: _Seconds


Step = Annotated[
    Drive
    | Leave
    | Pay
    | Refuel
    | WifiLost
    | RadioRestarted
    | PowerCut
    | SetClock
    | ServerRestarted
    | Wait,
    Field(discriminator="do"),
]


def parts(step: Step) -> tuple[Step, ...]:
    """The step, and what its payment meets."""
    met = step.meets if isinstance(step, Pay) else None
    return (step,) if met is None else (step, met)


def told(step: Step) -> str:
    """The step in a few words, for people."""
    hidden = {"do", "after_payments", "meets"}
    members = step.model_dump(exclude=hidden, exclude_defaults=True)
    words = (step.do, *(f"{name}={value}" for name, value in members.items()))
    return " ".join((*words, *(f"meets: {told(met)}" for met in parts(step)[1:])))


def payments(steps: list[Step]) -> int:
    """How many payments there are among them."""
    return sum(isinstance(step, Pay | Refuel) for step in steps)
