"""The search for the best rules, one grid after the other, on all processors."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from fieldkit.trials import rules_grid
from fieldkit.trials.lane_recording import Answer
from fieldkit.trials.questions import Judged, Place
from fieldkit.trials.tuning import NONE, OUTCOMES, Fold, Matrix, Score, Tuning
from payment_device.sightings import LaneRules

#: So many sets of rules are tried in one go: short enough for a bar, long enough to be worth it.
_CANDIDATES_AT_ONCE: Final = 24

#: Told of the tasks that are done, and of all that are known.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Change:
    """A question that comes out otherwise: its name, lane, and both answers with what they are."""

    question: str
    lane: str
    before: tuple[str, str]
    after: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """The best rules, with what they were judged by. ``validation``: all folds together."""

    rules: LaneRules
    tuning: Tuning = field(repr=False)
    folds: Sequence[Fold]
    validation: Score | None
    changes: Sequence[Change]


#: In a worker: the places, sent once.
_places: list[Place] = []


def search(
    places: Sequence[Place],
    usual: LaneRules,
    *,
    folds: int,
    seed: int,
    halvings: int,
    progress: Progress,
) -> Found:
    """The best rules for all questions of ``places``; ``halvings``: how many finer grids."""
    questions = [question for place in places for question in place.questions]
    tuning = Tuning(questions, usual, folds, seed)
    shared = any(place.shares for place in places)
    names = [name for name in rules_grid.COARSE if shared or name != "home_margin_db"]
    with _workers(places) as pool:
        trying = _Trying(pool, places, tuning, progress)
        lines = {fold: set[LaneRules]() for fold in (None, *range(tuning.folds))}
        grid = rules_grid.coarse(usual, names)
        trying.answer(grid)
        for line in lines.values():
            line.update(grid)
        for halving in range(1, halvings + 1):
            finer = {
                fold: rules_grid.finer(tuning.best(line, fold), names, halving)
                for fold, line in lines.items()
            }
            trying.answer([rules for grid in finer.values() for rules in grid])
            for fold, grid in finer.items():
                lines[fold].update(grid)
        best = tuning.best(lines[None])
        by_fold = {f: tuning.best(line, f) for f, line in lines.items() if f is not None}
        found = tuning.validated(by_fold)
        changes = list(_changes(tuning, best, trying.answers_of((usual, best))))
    validation = _together([fold.validation for fold in found]) if found else None
    return Found(best, tuning, found, validation, changes)


class _Trying:
    """Has the workers answer, and keeps count."""

    def __init__(
        self,
        pool: ProcessPoolExecutor,
        places: Sequence[Place],
        tuning: Tuning,
        progress: Progress,
    ) -> None:
        self._pool = pool
        self._places = places
        self._tuning = tuning
        self._progress = progress
        self._done = self._known = 0

    def answer(self, grid: Sequence[LaneRules]) -> None:
        """Add the answers under those rules that were not tried yet."""
        tried = set(self._tuning.rules)
        fresh = [rules for rules in dict.fromkeys(grid) if rules not in tried]
        offsets = np.cumsum([0, *(len(place.questions) for place in self._places)])
        answers: Matrix = np.full((offsets[-1], len(fresh)), NONE, dtype=np.int8)
        tasks = {
            self._pool.submit(_outcomes, number, fresh[at : at + _CANDIDATES_AT_ONCE]): (number, at)
            for at in range(0, len(fresh), _CANDIDATES_AT_ONCE)
            for number in range(len(self._places))
        }
        self._known += len(tasks)
        for task in as_completed(tasks):
            (number, at), block = tasks[task], task.result()
            rows = slice(offsets[number], offsets[number + 1])
            answers[rows, at : at + block.shape[1]] = block
            self._done += 1
            self._progress(self._done, self._known)
        self._tuning.add(fresh, answers)

    def answers_of(self, rules: Sequence[LaneRules]) -> list[dict[int, Answer]]:
        """By question, the whole answers under each of ``rules``."""
        found: list[dict[int, Answer]] = []
        for number in range(len(self._places)):
            told = self._pool.submit(_answers, number, rules).result()
            by_question: list[dict[int, Answer]] = [{} for _ in self._places[number].questions]
            for one in told:
                by_question[one.question][one.rules] = one.answer
            found += by_question
        return found


def _changes(
    tuning: Tuning, best: LaneRules, answers: Sequence[dict[int, Answer]]
) -> Iterator[Change]:
    for number, question in enumerate(tuning.questions):
        before, after = answers[number][0], answers[number][1]
        if (before.outcome, before.jack) != (after.outcome, after.jack):
            yield Change(
                question.name,
                question.lane,
                (tuning.outcome(number, tuning.usual).value, str(before)),
                (tuning.outcome(number, best).value, str(after)),
            )


def _together(scores: Sequence[Score]) -> Score:
    return Score(
        *(
            sum(getattr(score, name) for score in scores)
            for name in ("questions", "wrong", "unserved", "ambiguous")
        )
    )


@contextmanager
def _workers(places: Sequence[Place]) -> Iterator[ProcessPoolExecutor]:
    # Not forked: a bar on the screen is drawn by a thread, which a fork would leave behind.
    context = multiprocessing.get_context("spawn")
    count = min(os.cpu_count() or 1, 61)
    pool = ProcessPoolExecutor(count, context, initializer=_take, initargs=(list(places),))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _take(places: list[Place]) -> None:
    _places[:] = places


def _outcomes(place: int, candidates: Sequence[LaneRules]) -> Matrix:
    answers: Matrix = np.full((len(_places[place].questions), len(candidates)), NONE, np.int8)
    for one in _places[place].play(candidates):
        answers[one.question, one.rules] = OUTCOMES.index(one.outcome)
    return answers


def _answers(place: int, candidates: Sequence[LaneRules]) -> list[Judged]:
    return list(_places[place].play(candidates))
