"""The cast: who takes part in a demo or a test (``seeds/demo.toml``). Pure but for ``load``.

Names of agents are also the names of their virtual radios, state folders and logs.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from fieldkit.toml_models import parsed, text_of
from twochannel.protocol.statements import Label, Name

_INSTALLED: Final = Path(__file__).parent / "seeds"
#: The seeds: beside the packages in a source tree, inside this one where it is installed.
SEEDS_FOLDER: Final = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[1] / "seeds"
DEMO_CAST: Final = SEEDS_FOLDER / "demo.toml"

#: TOML has arrays, not tuples.
_Metres = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
_Place = Annotated[tuple[_Metres, _Metres], BeforeValidator(lambda value: tuple(value))]


class CastError(Exception):
    """The file is not a cast. The text lists every problem, one a line."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RadioPlace(_Entry):
    """A radio that belongs to no agent. ``at_m``: x and y in metres."""

    name: Name
    at_m: _Place


class JackRole(_Entry):
    """The jack and where the car stands at first."""

    name: Name
    tx_power_dbm: Annotated[int, Field(ge=-100, le=20)]
    at_m: _Place


class MethodRole(_Entry):
    """A payment method: its test token and what the owner calls it."""

    token: Name
    label: Label


class LimitRole(_Entry):
    """The owner's limit for one payment, as ``phone-agent merchants allow`` takes it."""

    merchant: Name
    limit: str


class PhoneRole(_Entry):
    """The phone, with what its owner has set up on it. ``at_m``: at first; it rides in the car."""

    name: Name
    label: Label
    at_m: _Place
    prompt_s: Annotated[float, Field(gt=0, le=300)]
    methods: tuple[MethodRole, ...]
    limits: tuple[LimitRole, ...]


class CarRole(_Entry):
    """A car: the jack in its socket and the phone of its owner."""

    jack: JackRole
    phone: PhoneRole


class MerchantRole(_Entry):
    """``presence``: whether the jack must have heard the lane (``require`` or ``prefer``)."""

    id: Name
    name: Label
    presence: Annotated[str, Field(pattern="^(require|prefer)$")]


class TerminalRole(_Entry):
    """``label`` is the lane that people are shown."""

    name: Name
    label: Label
    merchant: Name
    at_m: _Place


class AirRole(_Entry):
    """Seed and model of the virtual air (``fieldkit.air``, ``fieldkit.propagation``)."""

    seed: int
    propagation: dict[str, float] = {}


class Cast(_Entry):
    """Everyone who takes part. ``jack`` and ``phone`` are those of the first car."""

    air: AirRole
    jack: JackRole
    phone: PhoneRole
    merchants: tuple[MerchantRole, ...]
    terminals: Annotated[tuple[TerminalRole, ...], Field(min_length=1)]
    extra_radios: tuple[RadioPlace, ...] = ()
    more_cars: tuple[CarRole, ...] = ()

    @property
    def cars(self) -> tuple[CarRole, ...]:
        """All of them, the first one first."""
        return CarRole(jack=self.jack, phone=self.phone), *self.more_cars

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        names = [name for car in self.cars for name in (car.jack.name, car.phone.name)]
        names += [terminal.name for terminal in self.terminals]
        names += [radio.name for radio in self.extra_radios]
        if len(set(names)) < len(names):
            raise ValueError("each agent and radio needs a name of its own")
        known = {merchant.id for merchant in self.merchants}
        asked = {terminal.merchant for terminal in self.terminals}
        asked |= {limit.merchant for car in self.cars for limit in car.phone.limits}
        if missing := asked - known:
            raise ValueError(f"no such merchant: {', '.join(sorted(missing))}")
        return self

    def in_car(
        self, at_m: tuple[float, float], car: CarRole | None = None
    ) -> dict[str, tuple[float, float]]:
        """Where jack and phone are while ``car``, hence its jack, is at ``at_m``.

        None: the first car.
        """
        jack, phone = (car.jack, car.phone) if car else (self.jack, self.phone)
        x_m, y_m = (a - b for a, b in zip(phone.at_m, jack.at_m, strict=True))
        return {jack.name: at_m, phone.name: (at_m[0] + x_m, at_m[1] + y_m)}

    def at(self, terminals: Collection[str], extra_radios: Collection[str] = ()) -> Cast:
        """Those of this cast who are needed at ``terminals`` and for radios of nobody's."""
        here = tuple(terminal for terminal in self.terminals if terminal.name in terminals)
        nobodys = tuple(radio for radio in self.extra_radios if radio.name in extra_radios)
        return self.model_copy(update={"terminals": here, "extra_radios": nobodys})

    def terminal(self, name: str) -> TerminalRole:
        """The terminal of that name; KeyError if there is none."""
        return {terminal.name: terminal for terminal in self.terminals}[name]

    def air_plan(self, seed: int | None = None) -> dict[str, Any]:
        """The plan that ``fieldkit air`` takes, with ``seed`` in place of the cast's own."""
        places = []
        for jack, phone in ((car.jack, car.phone) for car in self.cars):
            sender = {"name": jack.name, "tx_power_dbm": jack.tx_power_dbm}
            places += [_at(sender, jack.at_m), _at({"name": phone.name}, phone.at_m)]
        places += [_at({"name": terminal.name}, terminal.at_m) for terminal in self.terminals]
        places += [_at({"name": radio.name}, radio.at_m) for radio in self.extra_radios]
        return {
            "seed": self.air.seed if seed is None else seed,
            "propagation": self.air.propagation,
            "controllers": places,
        }


def _at(controller: dict[str, Any], at_m: tuple[float, float]) -> dict[str, Any]:
    return controller | {"x": at_m[0], "y": at_m[1]}


def parse(text: str) -> Cast:
    """The cast in TOML ``text``. Raises CastError."""
    return parsed(Cast, text, CastError, whole="cast")


def load(file: Path) -> Cast:
    """Read a cast from ``file``. Raises CastError."""
    return parse(text_of(file, CastError))
