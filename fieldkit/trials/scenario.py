"""Scenario files of ``fieldkit trial play`` (docs/field-trials.md). Pure but for ``load``.

Lengths are metres, times seconds. Agents are named after what they belong to: ``server``, each lane
by its name, and the two of a car ``CAR-jack`` and ``CAR-phone``. Each agent has a machine, which
has its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from fieldkit.cast import (
    SEEDS_FOLDER,
    AirRole,
    CarRole,
    Cast,
    JackRole,
    LimitRole,
    MerchantRole,
    MethodRole,
    PhoneRole,
    TerminalRole,
)
from fieldkit.toml_models import parsed, text_of
from fieldkit.trials.mix import Mix, mixed
from fieldkit.trials.steps import CarStep, Drive, SetClock, Step
from twochannel.protocol.statements import Name

SCENARIOS_FOLDER: Final = SEEDS_FOLDER / "trials"
SERVER: Final = "server"
#: Beside the jack, which is in the socket of the dashboard.
_PHONE_FROM_JACK_M: Final = (0.5, 0.5)
_MAX_CARS: Final = 8

#: TOML has arrays, not tuples.
_Metres = Annotated[float, Field(ge=-1e4, le=1e4, allow_inf_nan=False)]
_Place = Annotated[tuple[_Metres, _Metres], BeforeValidator(lambda value: tuple(value))]


class ScenarioError(Exception):
    """The file is not a scenario. The text lists every problem, one a line."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CarEntry(_Entry):
    """A car, its owner's rules, and where it is when it is at no lane.

    ``prompt_s``: how long the phone asks its owner.
    """

    name: Name
    parked_m: _Place
    tx_power_dbm: Annotated[int, Field(ge=-100, le=20)] = 0
    prompt_s: Annotated[float, Field(gt=0, le=300)] = 50.0
    methods: Annotated[tuple[MethodRole, ...], Field(min_length=1)] = (
        MethodRole(token="tok_success", label="Visa 4242"),  # noqa: S106 - of the simulated processor
    )
    limits: tuple[LimitRole, ...] = ()

    @property
    def jack(self) -> str:
        return f"{self.name}-jack"

    @property
    def phone(self) -> str:
        return f"{self.name}-phone"

    def role(self) -> CarRole:
        """What the stage knows of it."""
        x_m, y_m = (at + by for at, by in zip(self.parked_m, _PHONE_FROM_JACK_M, strict=True))
        return CarRole(
            jack=JackRole(name=self.jack, tx_power_dbm=self.tx_power_dbm, at_m=self.parked_m),
            phone=PhoneRole(
                name=self.phone,
                label=f"Phone of {self.name}",
                at_m=(x_m, y_m),
                prompt_s=self.prompt_s,
                methods=self.methods,
                limits=self.limits,
            ),
        )


class MachineEntry(_Entry):
    """What is wrong with a machine from the beginning: by how much its wall clock is ahead."""

    name: Name
    clock_off_s: Annotated[float, Field(ge=-1e8, le=1e8, allow_inf_nan=False)]


class Scenario(_Entry):
    """One trial. Raises pydantic.ValidationError, which is a ValueError."""

    title: Annotated[str, Field(min_length=1, max_length=80)]
    seed: int = 1
    propagation: dict[str, float] = {}
    merchants: Annotated[tuple[MerchantRole, ...], Field(min_length=1)]
    lanes: Annotated[tuple[TerminalRole, ...], Field(min_length=1, max_length=20)]
    cars: Annotated[tuple[CarEntry, ...], Field(min_length=1, max_length=_MAX_CARS)]
    machines: tuple[MachineEntry, ...] = ()
    steps: tuple[Step, ...] = ()
    mix: Mix | None = None

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        self.cast()  # which refuses names that are there twice
        if problems := list(self._problems()):
            raise ValueError("; ".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        cars, lanes = {car.name for car in self.cars}, {lane.name for lane in self.lanes}
        agents = {SERVER, *lanes, *(n for car in self.cars for n in (car.jack, car.phone))}
        named = {m.name for m in self.machines} | {
            step.machine for step in self.steps if isinstance(step, SetClock)
        }
        if unknown := sorted(named - agents):
            yield f"no machine is called {', '.join(unknown)}"
        for number, step in enumerate(self.steps, start=1):
            if isinstance(step, CarStep) and step.car not in cars:
                yield f"step {number}: no car is called {step.car}"
            if isinstance(step, Drive) and step.to not in lanes:
                yield f"step {number}: no lane is called {step.to}"
            if step.after_payments is not None and self.mix is None:
                yield f"step {number}: after_payments needs a [mix] that makes payments"

    def cast(self, seed: int | None = None) -> Cast:
        """Everyone who takes part."""
        first, *more = (car.role() for car in self.cars)
        return Cast(
            air=AirRole(seed=self.seed if seed is None else seed, propagation=self.propagation),
            jack=first.jack,
            phone=first.phone,
            merchants=self.merchants,
            terminals=self.lanes,
            more_cars=tuple(more),
        )

    def timeline(self, seed: int | None = None) -> list[Step]:
        """Every step, in order: those of the file, and those of the mix by its seed."""
        if self.mix is None:
            return list(self.steps)
        cars = [car.name for car in self.cars]
        lanes = [lane.name for lane in self.lanes]
        return mixed(self.mix, self.steps, cars, lanes, self.seed if seed is None else seed)

    def car(self, name: str) -> CarEntry:
        """The car of that name; KeyError if there is none."""
        return {car.name: car for car in self.cars}[name]

    def clock_off_s(self, machine: str) -> float:
        """By how much the wall clock of a machine is ahead when the trial begins."""
        return sum(entry.clock_off_s for entry in self.machines if entry.name == machine)


def parse(text: str) -> Scenario:
    """The scenario in TOML ``text``. Raises ScenarioError."""
    return parsed(Scenario, text, ScenarioError, whole="scenario")


def load(file: Path) -> Scenario:
    """Read a scenario from ``file``. Raises ScenarioError."""
    return parse(text_of(file, ScenarioError))
