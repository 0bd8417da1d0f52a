"""From readings at marked places to the thresholds of one lane, with the errors to expect. Pure.

A car with a jack stands for some seconds at each place: at some *here*, as customers do, and at
others *not here*: the next lane, the next in the queue. The levels of other cars will differ from
those of this one by ``CAR_SD_DB``, so that a threshold between what was measured has an error that
can be told beforehand: all levels are taken as normally distributed in dB.

The threshold lies where only 1 in 50 cars at the worst place not here seems to be here, unless
that would miss more than 1 in 4 of those that are; and never lower than needed to miss 1 in 160.
To miss one is the lesser evil: the attendant can still pick it. The margin is the one at which a
car at that place is chosen in place of one that is here once in a thousand times.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, median, stdev
from typing import Final

from payment_device.sightings import MAX_RSSI_DBM, LaneRules

#: How unlike cars are at the same place: shadowing 3 dB (3GPP TR 37.885), direction of the jack
#: 8 dB from best to worst, passengers 2.5 dB, mounting and transmit power 1.5 dB, and what is
#: left of the fading when a car stands still, 2 dB.
CAR_SD_DB: Final = 5.5
#: Fewer adverts than this at one place are no level: 2 s of a jack that is heard well.
LEAST_ADVERTS: Final = 15
_STANDARD: Final = NormalDist()
#: How far above the level of cars that are not here the threshold lies: 1 in 50 is mistaken.
_ABOVE_AWAY_SIGMAS: Final = _STANDARD.inv_cdf(0.98)
#: How far below that of cars that are here, at least and at most: 1 in 4 and 1 in 160 are missed.
_BELOW_HERE_SIGMAS: Final = (_STANDARD.inv_cdf(0.75), 2.5)
#: By how much the jack that is calibrated with must be louder than any other.
_ALONE_DB: Final = 10.0
_WRONG_CHOICES: Final = 0.001
_LARGEST_MARGIN_DB: Final = 30.0


class CalibrationError(Exception):
    """The readings give no thresholds. The text says what to do."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was heard of the jack while a car stood at one place; ``here``: as a customer does.

    The same place may be measured with several cars, which makes it the surer.
    """

    place: str
    here: bool
    rssi_dbm: Sequence[int]

    @property
    def level_dbm(self) -> float:
        return median(self.rssi_dbm)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds for one lane and the share of cars, from 0 to 1, for which they will be wrong.

    ``missed``: here and not seen as near enough. ``mistaken``: at the worst other place, alone,
    and seen as here. ``wrong``: at the worst other place and chosen in place of one that is here.
    ``ambiguous``: not told apart from one at the worst other place. None: no other place was
    measured.
    """

    min_rssi_dbm: float
    margin_db: float
    here_dbm: float
    away_dbm: float | None
    missed: float
    mistaken: float | None
    wrong: float | None
    ambiguous: float | None


def reading_of(place: str, here: bool, adverts: Sequence[tuple[bytes, int]]) -> Reading:
    """What was heard of the one jack that is near, from the (code, level) of all adverts.

    Raises CalibrationError if another one is nearly as strong: then it is not known which car
    stands at the place. A jack that changes its code meanwhile looks like two, too.
    """
    levels: dict[bytes, list[int]] = {}
    for code, rssi_dbm in adverts:
        if rssi_dbm <= MAX_RSSI_DBM:
            levels.setdefault(code, []).append(rssi_dbm)
    heard = sorted(levels.values(), key=median, reverse=True)
    often = [of_one for of_one in heard if len(of_one) >= LEAST_ADVERTS]
    if not often:
        most = max(map(len, heard), default=0)
        raise CalibrationError(
            f"the jack was heard only {most} times; check that it is on, or measure longer"
        )
    if len(often) > 1 and median(often[0]) - median(often[1]) < _ALONE_DB:
        raise CalibrationError(
            "two jacks are heard nearly alike; switch the others off or drive them away, and "
            "measure this place again"
        )
    return Reading(place, here, tuple(often[0]))


def derive(readings: Iterable[Reading]) -> Calibration:
    """The thresholds. Raises CalibrationError if the readings are too few or contradict."""
    readings = list(readings)
    for reading in readings:
        if len(reading.rssi_dbm) < LEAST_ADVERTS:
            raise CalibrationError(
                f"at {reading.place} the jack was heard only {len(reading.rssi_dbm)} times; "
                "check that it is switched on, and measure longer"
            )
    here = [reading.level_dbm for reading in readings if reading.here]
    away = _levels_by_place(reading for reading in readings if not reading.here)
    if not here:
        raise CalibrationError("measure at one place at least where customers stand")
    here_dbm, here_sd_db = fmean(here), math.hypot(_spread_db(here), CAR_SD_DB)
    if not away:
        sigmas = _BELOW_HERE_SIGMAS[1]
        threshold_dbm, missed = here_dbm - sigmas * here_sd_db, _STANDARD.cdf(-sigmas)
        margin_db = LaneRules().margin_db
        return Calibration(
            _rounded(threshold_dbm), margin_db, here_dbm, None, missed, None, None, None
        )
    return _between(here_dbm, here_sd_db, max(away))


def _between(here_dbm: float, here_sd_db: float, away_dbm: float) -> Calibration:
    """Thresholds between the places here and the worst of the others, at which one was measured."""
    lead_db, sd_db = here_dbm - away_dbm, math.hypot(here_sd_db, CAR_SD_DB)
    if lead_db <= 0:
        raise CalibrationError(
            "a car that is not here is heard as well as one that is: move the terminal nearer to "
            "the window of the car, or put metal behind it"
        )
    least, most = (sigmas * here_sd_db for sigmas in _BELOW_HERE_SIGMAS)
    below_db = min(max(lead_db - _ABOVE_AWAY_SIGMAS * CAR_SD_DB, least), most)
    threshold_dbm = _rounded(here_dbm - below_db)
    needed_db = -_STANDARD.inv_cdf(_WRONG_CHOICES) * sd_db - lead_db
    margin_db = float(math.ceil(min(max(needed_db, LaneRules().margin_db), _LARGEST_MARGIN_DB)))
    wrong = _STANDARD.cdf((-margin_db - lead_db) / sd_db)
    return Calibration(
        threshold_dbm,
        margin_db,
        here_dbm,
        away_dbm,
        missed=_STANDARD.cdf((threshold_dbm - here_dbm) / here_sd_db),
        mistaken=_STANDARD.cdf((away_dbm - threshold_dbm) / CAR_SD_DB),
        wrong=wrong,
        ambiguous=_STANDARD.cdf((margin_db - lead_db) / sd_db) - wrong,
    )


def _levels_by_place(readings: Iterable[Reading]) -> list[float]:
    """One level for each place, the mean of the cars that stood there."""
    places: dict[str, list[float]] = {}
    for reading in readings:
        places.setdefault(reading.place, []).append(reading.level_dbm)
    return [fmean(levels) for levels in places.values()]


def _spread_db(levels_dbm: Sequence[float]) -> float:
    return stdev(levels_dbm) if len(levels_dbm) > 1 else 0.0


def _rounded(level_dbm: float) -> float:
    """To half a dB: more is not measured."""
    return round(level_dbm * 2) / 2
