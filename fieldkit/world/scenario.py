"""Scenario files of ``fieldkit world`` (``seeds/world/*.toml``). Pure but for ``load``.

The format is told in docs/lane-decision.md. All lengths are metres, all times seconds, all levels
dB or dBm. What is left out has the default of the class here, which says where it comes from.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from fieldkit.cast import SEEDS_FOLDER
from fieldkit.propagation import Propagation
from fieldkit.toml_models import parsed, text_of
from twochannel.protocol.statements import Label, Name

SCENARIOS_FOLDER: Final = SEEDS_FOLDER / "world"
MOST_LANES: Final = 20
MOST_CARS: Final = 200

#: TOML has arrays, not tuples.
_Metres = Annotated[float, Field(ge=-1e4, le=1e4, allow_inf_nan=False)]
_Place = Annotated[tuple[_Metres, _Metres], BeforeValidator(lambda value: tuple(value))]
_Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
_Decibels = Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def _ordered(value: object) -> object:
    """A range of TOML as a tuple; the range has to begin with the lesser."""
    if isinstance(value, list) and len(value) == 2 and value[0] > value[1]:
        raise ValueError("the first of the two must not be the greater")
    return tuple(value) if isinstance(value, list) else value


_Range = Annotated[tuple[_Seconds, _Seconds], BeforeValidator(_ordered)]


class ScenarioError(Exception):
    """The file is not a scenario. The text lists every problem, one a line."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Surroundings(_Entry):
    """What a place with cars adds to ``fieldkit.propagation``. Sources: ``fieldkit.world.hearing``.

    - ``vehicle_loss_db``, ``vehicle_loss_sd_db``: a car between jack and terminal, both lower than
      its roof; log-normal [TR37885].
    - ``orientation_db``: between the best and the worst direction seen from the car [LEITH].
    - ``passengers_db``: standard deviation of what moving passengers do to one link, changing
      within ``passengers_move_s``; 10 dB from end to end are four of them [LEITH].
    - ``channel_sd_db``: the part of the fading that stands still while the car does, of its own on
      each of the three advertising channels; new every half wavelength [PATERNA].
    - ``capture_db``: of two packets at the same time the stronger is received if it leads by this.
    """

    vehicle_loss_db: _Decibels = 9.0
    vehicle_loss_sd_db: _Decibels = 4.5
    orientation_db: _Decibels = 8.0
    passengers_db: _Decibels = 2.5
    passengers_move_s: _Positive = 2.0
    channel_sd_db: _Decibels = 4.0
    capture_db: _Decibels = 8.0


class Jacks(_Entry):
    """The jacks in the cars.

    ``in_cars``: share of cars that have one. ``tx_power_sd_db``: how unlike they are, with mounting
    and windscreen. ``clock_error_s``: standard deviation of a jack's clock, by which it changes its
    code early or late. ``code_life_s``: docs/protocol.md, rotation exponent 8.
    """

    in_cars: _Share = 0.8
    tx_power_dbm: Annotated[float, Field(ge=-40, le=20)] = 0.0
    tx_power_sd_db: _Decibels = 1.5
    clock_error_s: _Seconds = 2.0
    code_life_s: Annotated[float, Field(ge=10, le=86_400)] = 256.0


class Lane(_Entry):
    """One lane with its terminal.

    A car enters at ``entry_m``, queues on the straight line to ``stop_m`` (the place of its jack),
    and leaves to ``exit_m``. ``arrivals_s``: mean time from one arrival to the next, 0 for a lane
    without cars. ``service_s``: shortest and longest stop. ``ask_after_s``: when, counted from the
    stop, the till asks which jack is there. ``empty_questions_s``: mean time between questions
    while no car stands there, 0 for none.
    """

    name: Label
    terminal_m: _Place
    stop_m: _Place
    entry_m: _Place
    exit_m: _Place
    arrivals_s: _Seconds = 0.0
    service_s: _Range = (8.0, 20.0)
    ask_after_s: _Range = (0.5, 4.0)
    empty_questions_s: _Seconds = 0.0
    speed_mps: _Positive = 3.0
    queue_gap_m: _Positive = 6.5

    @model_validator(mode="after")
    def _stop_is_long_enough(self) -> Self:
        if self.arrivals_s and self.service_s[0] < self.ask_after_s[1] + QUESTION_S:
            raise ValueError(
                f"service_s must begin {QUESTION_S:g} s or more after the end of ask_after_s: a "
                "car stays while the till asks"
            )
        return self


#: How long a till waits for an answer, and so how long a car stays at the least.
QUESTION_S: Final = 3.0


class Traffic(_Entry):
    """Cars that drive by on a straight line; ``every_s``: mean time from one to the next."""

    from_m: _Place
    to_m: _Place
    every_s: _Positive
    speed_mps: _Positive = 10.0


class Parked(_Entry):
    """A block of parked cars: ``columns`` by ``rows``, the first at ``at_m``."""

    at_m: _Place
    columns: Annotated[int, Field(ge=1, le=MOST_CARS)]
    rows: Annotated[int, Field(ge=1, le=MOST_CARS)] = 1
    column_m: _Positive = 2.6
    row_m: _Positive = 5.5


class Metal(_Entry):
    """A wall, cabinet or machine: whatever crosses its line loses ``loss_db``."""

    from_m: _Place
    to_m: _Place
    loss_db: _Decibels = 10.0


class Attacker(_Entry):
    """Stands at ``at_m`` and sends codes of others after ``delay_s``, with a power of its own.

    It takes the code of whatever jack ``listens_m`` hears best, or of a car that is not here at
    all if that is left out.
    """

    at_m: _Place
    tx_power_dbm: Annotated[float, Field(ge=-40, le=30)]
    listens_m: _Place | None = None
    delay_s: _Seconds = 0.3


class Scenario(_Entry):
    """One place, and what happens there. ``share``: the lanes tell each other what they hear."""

    name: Name = "scenario"
    title: Label
    about: Annotated[str, Field(max_length=600)] = ""
    seed: int = 1
    duration_s: Annotated[float, Field(ge=10, le=86_400)]
    share: bool = True
    propagation: Propagation = Propagation()
    surroundings: Surroundings = Surroundings()
    jacks: Jacks = Jacks()
    lanes: tuple[Lane, ...]
    traffic: tuple[Traffic, ...] = ()
    parked: tuple[Parked, ...] = ()
    metal: tuple[Metal, ...] = ()
    attackers: tuple[Attacker, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if problems := list(self._misfits()):
            raise ValueError("; ".join(problems))
        return self

    def _misfits(self) -> Iterator[str]:
        if not 1 <= len(self.lanes) <= MOST_LANES:
            yield f"a place has 1 to {MOST_LANES} lanes"
        if len({lane.name for lane in self.lanes}) < len(self.lanes):
            yield "each lane needs a name of its own"
        if sum(block.columns * block.rows for block in self.parked) > MOST_CARS:
            yield f"at most {MOST_CARS} cars can be parked"
        if self.surroundings.channel_sd_db > self.propagation.fading_sd_db:
            yield "channel_sd_db is a part of fading_sd_db and cannot be more"
        if not any(lane.arrivals_s or lane.empty_questions_s for lane in self.lanes):
            yield "no lane has arrivals_s or empty_questions_s: nothing is asked"


def parse(text: str, name: str = "scenario") -> Scenario:
    """The scenario in TOML ``text``. Raises ScenarioError."""
    return parsed(Scenario, text, ScenarioError, whole="scenario", name=name)


def load(file: Path) -> Scenario:
    """Read a scenario, named as its file. Raises ScenarioError."""
    text = text_of(file, ScenarioError)
    try:
        return parse(text, file.stem)
    except ScenarioError as error:
        raise ScenarioError(f"{file} is not a scenario:\n{error}") from None


def shipped() -> list[Path]:
    """The scenarios that come with the bench, in the order of their names."""
    return sorted(SCENARIOS_FOLDER.glob("*.toml"))
