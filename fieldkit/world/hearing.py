"""What every terminal hears in one run: ``fieldkit.propagation`` for millions of adverts at once.

The law, its parameters and the shadowing of each pair of radios are those of the virtual air.
Here come the things that matter where cars stand side by side, with the sources of the defaults
(``fieldkit.world.scenario.Surroundings``, and ``fieldkit.propagation`` for the first two):

- [TR37885] table 6.2.1-1 and section 6.2.1: a vehicle between two antennas that are both lower
  than its roof takes 9 dB, log-normal with a standard deviation of 4.5 dB.
- [CORE] an advert is sent on three channels and a receiver listens on one of them at a time.
- [PATERNA] Cantón Paterna et al., "A Bluetooth Low Energy Indoor Positioning System with Channel
  Diversity, Weighted Trilateration and Kalman Filtering", Sensors 17(12), 2017: the channels fade
  each by itself, so that a radio at rest is heard at three levels.
- [LEITH] Leith, Farrell, "Coronavirus Contact Tracing: Evaluating The Potential Of Using Bluetooth
  Received Signal Strength For Proximity Detection", 2020: levels vary much with the orientation of
  devices and with the bodies near them. How much in a car is not published; 8 dB by direction and
  10 dB by passengers is what the project plans with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fieldkit.motion import Position
from fieldkit.propagation import (
    ADVERTISING_DELAY_LIMIT_S,
    NEAREST_DISTANCE_M,
    REPORTED_RSSI_DBM,
    shadowing_db,
)
from fieldkit.world.obstacles import Blocking, Bools, Floats, behind, within
from fieldkit.world.scenario import Attacker, Scenario
from fieldkit.world.traffic import Car, Day, generator, queue_places
from payment_device.calibration import Reading

#: docs/protocol.md: what a jack is set to.
INTERVAL_S: Final = 0.100
#: Length of an advert on the air: 47 bytes at 1 Mbit/s (docs/measurements.md).
PACKET_S: Final = 0.000_376
#: Half a wavelength at 2.44 GHz: after that the fading is another one.
_FADING_M: Final = 0.06
_CHANNELS: Final = 3
#: Window and interval of a scanner that never sleeps (docs/measurements.md): then the next channel.
_SCAN_WINDOW_S: Final = 0.060
_CODE_BYTES: Final = 8
#: A calibration: how long a car stands at each mark, and how many cars do so one after the other.
_MARKED_S: Final = 10.0
_CARS_AT_MARK: Final = 3


@dataclass(frozen=True, slots=True)
class Adverts:
    """All adverts of one sender: when, where, how far it has come, and with which code.

    ``codes``: index into ``Heard.codes``. ``name``: whose shadowing applies.
    """

    name: str
    at_s: Floats
    x_m: Floats
    y_m: Floats
    travelled_m: Floats
    codes: npt.NDArray[np.int64]
    tx_power_dbm: float
    car: int | None
    in_car: bool


@dataclass(frozen=True, slots=True)
class Heard:
    """What one terminal hears, in order: times, indices of codes, levels."""

    at_s: list[float]
    codes: list[int]
    rssi_dbm: list[int]


@dataclass(frozen=True, slots=True)
class Airtime:
    """What is on the air in one run, and what of it is heard.

    ``codes``: all of them; ``owner``: the car that each belongs to, None for one that is not here.
    ``replayed``: those that an attacker sends at some time.
    """

    codes: list[bytes]
    owner: list[int | None]
    lanes: list[Heard]
    replayed: set[int]


class _Codes:
    """The codes of the run by car and slot, numbered as they first come up."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.codes: list[bytes] = []
        self.owner: list[int | None] = []
        self._numbers: dict[tuple[int | None, int], int] = {}

    def number(self, car: int | None, slot: int) -> int:
        if (car, slot) not in self._numbers:
            text = f"{self._seed}\0code\0{car}\0{slot}".encode()
            self._numbers[car, slot] = len(self.codes)
            self.codes.append(hashlib.blake2b(text, digest_size=_CODE_BYTES).digest())
            self.owner.append(car)
        return self._numbers[car, slot]


def listen(scenario: Scenario, day: Day, seed: int) -> Airtime:
    """All that the terminals of a run hear around its questions."""
    codes = _Codes(seed)
    windows = day.windows()
    senders = [
        _jack_adverts(scenario, index, car, codes, windows, seed)
        for index, car in enumerate(day.cars)
        if car.jack
    ]
    thefts = [
        _attacker_adverts(scenario, number, attacker, senders, codes, windows, seed)
        for number, attacker in enumerate(scenario.attackers)
    ]
    senders += thefts
    replayed = {int(code) for theft in thefts for code in np.unique(theft.codes)}
    blocking = Blocking(day.cars, windows)
    lanes = [
        _at_terminal(scenario, index, senders, blocking, seed)
        for index in range(len(scenario.lanes))
    ]
    return Airtime(codes.codes, codes.owner, lanes, replayed)


def _jack_adverts(
    scenario: Scenario, index: int, car: Car, codes: _Codes, windows: Floats, seed: int
) -> Adverts:
    random = generator(seed, "jack", car.name)
    journey = car.journey
    begins_s, ends_s = journey.at_s[0], journey.at_s[-1]
    jacks = scenario.jacks
    tx_power_dbm = jacks.tx_power_dbm + random.normal(0, jacks.tx_power_sd_db)
    clock_s = random.normal(0, jacks.clock_error_s)
    at_s = _ticks(random, begins_s, ends_s)
    at_s = at_s[within(at_s, windows)]
    knots_s = np.array(journey.at_s)
    xs, ys = (np.array([getattr(p, axis) for p in journey.places]) for axis in ("x_m", "y_m"))
    travelled = np.concatenate(([0.0], np.cumsum(np.hypot(np.diff(xs), np.diff(ys)))))
    slots = np.floor((at_s + clock_s) / jacks.code_life_s).astype(np.int64)
    numbers = {int(slot): codes.number(index, int(slot)) for slot in np.unique(slots)}
    return Adverts(
        car.name,
        at_s,
        np.interp(at_s, knots_s, xs),
        np.interp(at_s, knots_s, ys),
        np.interp(at_s, knots_s, travelled),
        np.array([numbers[int(slot)] for slot in slots], dtype=np.int64),
        tx_power_dbm,
        index,
        in_car=True,
    )


def _ticks(random: np.random.Generator, begins_s: float, ends_s: float) -> Floats:
    """Advertising events: the interval, and a random delay after each [CORE]."""
    count = int((ends_s - begins_s) / INTERVAL_S) + 1
    steps_s = INTERVAL_S + random.uniform(0, ADVERTISING_DELAY_LIMIT_S, count)
    at_s = begins_s + random.uniform(0, INTERVAL_S) + np.cumsum(steps_s)
    return at_s[at_s < ends_s]


def _attacker_adverts(
    scenario: Scenario,
    number: int,
    attacker: Attacker,
    victims: Sequence[Adverts],
    codes: _Codes,
    windows: Floats,
    seed: int,
) -> Adverts:
    """Sends, at every tick, the code that it heard best ``delay_s`` before."""
    random = generator(seed, "attacker", str(number))
    at_s = _ticks(random, 0.0, scenario.duration_s)
    at_s = at_s[within(at_s, windows)]
    if attacker.listens_m is None:
        slots = np.floor(at_s / scenario.jacks.code_life_s).astype(np.int64)
        stolen = np.array([codes.number(None, int(slot)) for slot in slots], dtype=np.int64)
    else:
        stolen = _nearest_codes(attacker.listens_m, at_s - attacker.delay_s, victims)
    at_s, stolen = at_s[stolen >= 0], stolen[stolen >= 0]
    place = np.ones_like(at_s)
    return Adverts(
        f"attacker {number}",
        at_s,
        place * attacker.at_m[0],
        place * attacker.at_m[1],
        place * 0.0,
        stolen,
        attacker.tx_power_dbm,
        car=None,
        in_car=False,
    )


def _nearest_codes(
    ear_m: tuple[float, float], at_s: Floats, victims: Sequence[Adverts]
) -> npt.NDArray[np.int64]:
    """By time, the code of the nearest jack that was sending then; -1 if none was."""
    best_m = np.full(at_s.shape, np.inf)
    best = np.full(at_s.shape, -1, dtype=np.int64)
    for victim in victims:
        if not len(victim.at_s):
            continue
        last = np.searchsorted(victim.at_s, at_s, side="right") - 1
        there = (last >= 0) & (at_s - victim.at_s[np.maximum(last, 0)] < 2 * INTERVAL_S)
        last = np.maximum(last, 0)
        away_m = np.hypot(victim.x_m[last] - ear_m[0], victim.y_m[last] - ear_m[1])
        nearer = there & (away_m < best_m)
        best_m[nearer], best[nearer] = away_m[nearer], victim.codes[last][nearer]
    return best


def marked_places(scenario: Scenario, lane: int, seed: int) -> list[Reading]:
    """What a terminal hears while it is calibrated: cars of its lane, of others, and next in line.

    The cars stand there alone, one after the other, each for ``_MARKED_S``.
    """
    own = scenario.lanes[lane]
    places = queue_places(own)
    stop, next_in_line = places[0], places[1]
    marked = [("stop", True, stop), ("next in line", False, next_in_line)]
    for share, name in ((0.1, "a step back"), (-0.1, "a step ahead")):
        at = Position(
            stop.x_m + share * (next_in_line.x_m - stop.x_m),
            stop.y_m + share * (next_in_line.y_m - stop.y_m),
        )
        marked.append((name, True, at))
    marked += [
        (other.name, False, Position(*other.stop_m))
        for other in scenario.lanes
        if other.name != own.name
    ]
    return [
        Reading(name, here, _standing(scenario, lane, at, f"{name} {car}", seed))
        for name, here, at in marked
        for car in range(_CARS_AT_MARK)
    ]


def _standing(scenario: Scenario, lane: int, at: Position, name: str, seed: int) -> tuple[int, ...]:
    """The levels of one car that stands alone at a place."""
    random = generator(seed, "marked", scenario.lanes[lane].name, name)
    at_s = _ticks(random, 0.0, _MARKED_S)
    place = np.ones_like(at_s)
    tx_power_dbm = random.normal(scenario.jacks.tx_power_dbm, scenario.jacks.tx_power_sd_db)
    sender = Adverts(
        f"marked {name}",
        at_s,
        place * at.x_m,
        place * at.y_m,
        place * 0,
        np.zeros(len(at_s), dtype=np.int64),
        tx_power_dbm,
        car=None,
        in_car=True,
    )
    nobody = Blocking((), np.array([[0.0, _MARKED_S]]))
    levels = _link(scenario, lane, sender, nobody, seed)
    return tuple(
        int(level) for level in np.rint(levels[levels > scenario.propagation.sensitivity_dbm])
    )


def _at_terminal(
    scenario: Scenario, index: int, senders: Sequence[Adverts], blocking: Blocking, seed: int
) -> Heard:
    parts = [_link(scenario, index, sender, blocking, seed) for sender in senders]
    at_s = np.concatenate([sender.at_s for sender in senders] or [np.zeros(0)])
    codes = np.concatenate([s.codes for s in senders] or [np.zeros(0, dtype=np.int64)])
    rssi_dbm = np.concatenate(parts or [np.zeros(0)])
    audible = rssi_dbm > scenario.propagation.sensitivity_dbm - scenario.surroundings.capture_db
    order = np.argsort(at_s[audible], kind="stable")
    at_s, codes, rssi_dbm = (values[audible][order] for values in (at_s, codes, rssi_dbm))
    random = generator(seed, "loss", scenario.lanes[index].name)
    kept = random.random(len(at_s)) >= scenario.propagation.loss_probability
    kept &= rssi_dbm >= scenario.propagation.sensitivity_dbm
    kept &= ~_drowned(at_s, rssi_dbm, scenario.surroundings.capture_db)
    weakest, strongest = REPORTED_RSSI_DBM
    levels = np.clip(np.rint(rssi_dbm[kept]), weakest, strongest).astype(np.int64)
    return Heard(at_s[kept].tolist(), codes[kept].tolist(), levels.tolist())


def _link(scenario: Scenario, index: int, sender: Adverts, blocking: Blocking, seed: int) -> Floats:
    """The level at which each advert of one sender arrives at one terminal, lost or not."""
    site, around, lane = scenario.propagation, scenario.surroundings, scenario.lanes[index]
    random = generator(seed, "link", sender.name, lane.name)
    dx, dy = sender.x_m - lane.terminal_m[0], sender.y_m - lane.terminal_m[1]
    away_m = np.maximum(np.hypot(dx, dy), NEAREST_DISTANCE_M)
    rssi_dbm = (
        sender.tx_power_dbm
        - site.loss_at_1m_db
        - 10 * site.path_loss_exponent * np.log10(away_m)
        + shadowing_db(site, seed, sender.name, lane.name)
        + _fading_db(scenario, sender, random)
    )
    if sender.in_car:
        facing = generator(seed, "facing", sender.name).uniform(0, 2 * np.pi)
        rssi_dbm += around.orientation_db / 2 * np.cos(np.arctan2(dy, dx) - facing)
        rssi_dbm += _passengers_db(scenario, sender.at_s, random)
    loss_db = _log_normal(random, around.vehicle_loss_db, around.vehicle_loss_sd_db)
    rssi_dbm -= loss_db * blocking.between(sender, lane.terminal_m)
    for wall in scenario.metal:
        rssi_dbm -= wall.loss_db * behind(wall, sender, lane.terminal_m)
    return np.asarray(rssi_dbm)


def _fading_db(scenario: Scenario, sender: Adverts, random: np.random.Generator) -> Floats:
    """Of both kinds: what stays while the car stands, by channel, and what changes each time."""
    still_db = scenario.surroundings.channel_sd_db
    restless_db = np.sqrt(scenario.propagation.fading_sd_db**2 - still_db**2)
    cells = (sender.travelled_m / _FADING_M).astype(np.int64)
    count = int(cells.max(initial=0)) + 1
    fades_db = random.normal(0, 1, (_CHANNELS, count))
    channel = (sender.at_s / _SCAN_WINDOW_S).astype(np.int64) % _CHANNELS
    packets = random.normal(0, 1, len(sender.at_s))
    return np.asarray(still_db * fades_db[channel, cells] + restless_db * packets)


def _passengers_db(scenario: Scenario, at_s: Floats, random: np.random.Generator) -> Floats:
    """People who move: a new value every now and then, and a straight way to it."""
    if not len(at_s):
        return np.zeros(0)
    step_s = scenario.surroundings.passengers_move_s
    knots_s = np.arange(at_s[0], at_s[-1] + 2 * step_s, step_s)
    # Between independent values a straight line has two thirds of their variance.
    sd_db = scenario.surroundings.passengers_db * np.sqrt(1.5)
    return np.interp(at_s, knots_s, random.normal(0, sd_db, len(knots_s)))


def _log_normal(random: np.random.Generator, mean: float, sd: float) -> float:
    """One value, never below 0, of this mean and standard deviation."""
    if mean <= 0:
        return 0.0
    variance = np.log(1 + (sd / mean) ** 2)
    return float(random.lognormal(np.log(mean) - variance / 2, np.sqrt(variance)))


def _drowned(at_s: Floats, rssi_dbm: Floats, capture_db: float) -> Bools:
    """Which packets another one covers that is at most so much weaker. ``at_s`` ascends."""
    lost = np.zeros(len(at_s), dtype=np.bool_)
    for distance in (1, 2, 3):
        if len(at_s) <= distance:
            break
        together = at_s[distance:] - at_s[:-distance] < PACKET_S
        lead_db = rssi_dbm[:-distance] - rssi_dbm[distance:]
        lost[:-distance] |= together & (lead_db < capture_db)
        lost[distance:] |= together & (-lead_db < capture_db)
    return lost
