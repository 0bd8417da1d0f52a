"""From a scenario to the cars of one run: who drives where and when, and what is asked.

Deterministic: every draw belongs to the seed and to what it is drawn for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fieldkit.motion import Journey, Position, distance_m
from fieldkit.world.scenario import MOST_CARS, QUESTION_S, Lane, Scenario, ScenarioError

#: From the start of the car ahead to that of the next.
_REACTION_S: Final = 1.0
#: An empty lane is asked only if no car has stood there for so long, and none does so soon after.
_EMPTY_S: Final = 5.0

#: The longest memory of ``payment_device.sightings``, and before it a car that was here just now.
_FELT_BEFORE_S: Final = 12.0
_FELT_AFTER_S: Final = QUESTION_S + 1.0


@dataclass(frozen=True, slots=True)
class Car:
    """One car; ``jack``: it has one. ``stop_s``: when it stands at ``lane``; None: at none."""

    name: str
    journey: Journey
    jack: bool
    lane: int | None = None
    stop_s: tuple[float, float] | None = None

    @property
    def parked(self) -> bool:
        """It never moves."""
        return len(set(self.journey.places)) == 1


@dataclass(frozen=True, slots=True)
class Question:
    """The till of ``lane`` asks which jack is there. ``car``: index of who stands there."""

    lane: int
    at_s: float
    car: int | None


@dataclass(frozen=True, slots=True)
class Day:
    """All that happens in one run."""

    cars: Sequence[Car]
    questions: Sequence[Question]

    def windows(self) -> npt.NDArray[np.float64]:
        """Begin and end of every stretch in which a question can feel what is heard, merged."""
        merged: list[list[float]] = []
        for question in self.questions:
            begins_s, ends_s = question.at_s - _FELT_BEFORE_S, question.at_s + _FELT_AFTER_S
            if merged and begins_s <= merged[-1][1]:
                merged[-1][1] = max(ends_s, merged[-1][1])
            else:
                merged.append([begins_s, ends_s])
        return np.array(merged, dtype=np.float64).reshape(-1, 2)


def generator(seed: int, *belongs_to: str) -> np.random.Generator:
    """Random numbers that depend on the seed and on what they are for, and on nothing else."""
    key = "\0".join((str(seed), *belongs_to)).encode()
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(key, digest_size=16).digest()))


def day(scenario: Scenario, seed: int) -> Day:
    """Cars and questions of a run. Raises ScenarioError if there are too many cars at a time."""
    cars = [
        *(car for index in range(len(scenario.lanes)) for car in _queue(scenario, index, seed)),
        *_passing(scenario, seed),
        *_parked(scenario, seed),
    ]
    _check_crowd(scenario, cars)
    questions = [
        question
        for index in range(len(scenario.lanes))
        for question in _questions(scenario, index, cars, seed)
    ]
    return Day(cars, sorted(questions, key=lambda question: (question.at_s, question.lane)))


def _queue(scenario: Scenario, index: int, seed: int) -> Iterator[Car]:
    """The cars of one lane, one behind the other: nobody moves up before there is room."""
    lane = scenario.lanes[index]
    if not lane.arrivals_s:
        return
    random = generator(seed, "lane", lane.name)
    places = queue_places(lane)
    step_s = distance_m(places[0], places[1]) / lane.speed_mps
    leaves_s = distance_m(places[0], Position(*lane.exit_m)) / lane.speed_mps
    room_s = [0.0] * len(places)  # by place, from when on it is free
    arrives_s, number = 0.0, 0
    while True:
        arrives_s += random.exponential(lane.arrivals_s)
        service_s, jack = random.uniform(*lane.service_s), random.random() < scenario.jacks.in_cars
        at_s, path = _move_up(arrives_s, room_s, step_s, len(places))
        if at_s + service_s + leaves_s > scenario.duration_s:
            return
        path += [(0, at_s), (0, at_s + service_s)]
        room_s[0] = at_s + service_s + _REACTION_S
        journey = Journey(
            (*(time_s for _, time_s in path), at_s + service_s + leaves_s),
            (*(places[place] for place, _ in path), Position(*lane.exit_m)),
        )
        stop_s = (at_s, at_s + service_s)
        yield Car(f"{lane.name} {number}", journey, jack, index, stop_s)
        number += 1


def queue_places(lane: Lane) -> list[Position]:
    """Where cars of a lane wait: the stop itself first, the entry last."""
    stop, entry = Position(*lane.stop_m), Position(*lane.entry_m)
    count = max(1, int(distance_m(stop, entry) / lane.queue_gap_m))
    return [
        Position(
            stop.x_m + (entry.x_m - stop.x_m) * number / count,
            stop.y_m + (entry.y_m - stop.y_m) * number / count,
        )
        for number in range(count + 1)
    ]


def _move_up(
    arrives_s: float, room_s: list[float], step_s: float, places: int
) -> tuple[float, list[tuple[int, float]]]:
    """When a car reaches the stop, and its (place, time) on the way; updates ``room_s``."""
    at_s = max(arrives_s, room_s[places - 1])
    path: list[tuple[int, float]] = []
    for place in range(places - 1, 0, -1):
        path.append((place, at_s))
        starts_s = max(at_s, room_s[place - 1])
        if starts_s > at_s:
            path.append((place, starts_s))
        room_s[place] = starts_s + _REACTION_S
        at_s = starts_s + step_s
    return at_s, path


def _passing(scenario: Scenario, seed: int) -> Iterator[Car]:
    for index, traffic in enumerate(scenario.traffic):
        random = generator(seed, "traffic", str(index))
        start, to = Position(*traffic.from_m), Position(*traffic.to_m)
        drive_s = distance_m(start, to) / traffic.speed_mps
        at_s, number = random.exponential(traffic.every_s), 0
        while at_s + drive_s < scenario.duration_s:
            jack = random.random() < scenario.jacks.in_cars
            journey = Journey((at_s, at_s + drive_s), (start, to))
            yield Car(f"passing {index}-{number}", journey, jack)
            at_s += random.exponential(traffic.every_s)
            number += 1


def _parked(scenario: Scenario, seed: int) -> Iterator[Car]:
    for index, block in enumerate(scenario.parked):
        random = generator(seed, "parked", str(index))
        for number in range(block.columns * block.rows):
            row, column = divmod(number, block.columns)
            at = Position(
                block.at_m[0] + column * block.column_m, block.at_m[1] + row * block.row_m
            )
            journey = Journey((0.0, scenario.duration_s), (at, at))
            yield Car(f"parked {index}-{number}", journey, random.random() < scenario.jacks.in_cars)


def _check_crowd(scenario: Scenario, cars: Sequence[Car]) -> None:
    changes = [(car.journey.at_s[0], 1) for car in cars]
    changes += [(car.journey.at_s[-1], -1) for car in cars]
    present = most = 0
    for _, change in sorted(changes):
        present += change
        most = max(most, present)
    if most > MOST_CARS:
        raise ScenarioError(
            f"{scenario.name}: {most} cars at a time, more than {MOST_CARS}; let fewer arrive"
        )


def _questions(
    scenario: Scenario, index: int, cars: Sequence[Car], seed: int
) -> Iterator[Question]:
    lane = scenario.lanes[index]
    random = generator(seed, "questions", lane.name)
    stops: list[tuple[float, float]] = []
    for number, car in enumerate(cars):
        if car.lane == index and car.stop_s is not None:
            stops.append(car.stop_s)
            yield Question(index, car.stop_s[0] + random.uniform(*lane.ask_after_s), number)
    if not lane.empty_questions_s:
        return
    at_s = random.exponential(lane.empty_questions_s)
    while at_s < scenario.duration_s - QUESTION_S:
        if all(
            at_s + _EMPTY_S < begins_s or at_s > ends_s + _EMPTY_S for begins_s, ends_s in stops
        ):
            yield Question(index, at_s, None)
        at_s += random.exponential(lane.empty_questions_s) + QUESTION_S
