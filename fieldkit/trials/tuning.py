"""Which rules of a lane are best, and whether the questions are enough to say so. Pure.

Wrong choices count first; then customers with a jack that were not served (ambiguous, or none) and
other ambiguous answers. Of equals the rules nearest to the usual ones are taken: nothing is changed
without a reason in the data.

Cross-validation: the questions are dealt to folds by whose visit they are of. Each fold is judged
by the rules that were best for the others.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fieldkit.shares import wilson
from fieldkit.trials.questions import Question
from fieldkit.trials.rules_grid import steps_apart
from fieldkit.world.tally import Outcome, at_most
from payment_device.sightings import LaneRules

#: A difference that would come about by chance alone more often than this tells nothing.
SIGNIFICANT: Final = 0.05
#: Fewer questions than this say little about anything.
FEW_QUESTIONS: Final = 100

#: As they are counted, by number.
OUTCOMES: Final = tuple(Outcome)
RIGHT, WRONG, AMBIGUOUS, NONE = range(len(OUTCOMES))
#: Of a fold that there is not.
_NO_FOLD: Final = -1

Matrix = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Score:
    """What came of some questions. ``unserved``: a jack is there and was not charged."""

    questions: int
    wrong: int
    unserved: int
    ambiguous: int

    @property
    def wrong_interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share of wrong choices."""
        return wilson(self.wrong, self.questions)

    @property
    def unserved_interval(self) -> tuple[float, float]:
        return wilson(self.unserved, self.questions)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "questions": self.questions,
            "wrong": self.wrong,
            "wrong_interval": self.wrong_interval,
            "unserved": self.unserved,
            "unserved_interval": self.unserved_interval,
            "ambiguous": self.ambiguous,
        }


@dataclass(frozen=True, slots=True)
class Fold:
    """``validation``: its own questions under ``rules``, the best of the other folds."""

    rules: LaneRules
    training: Score
    validation: Score


class Tuning:
    """The answers of all questions under all rules that were tried, and what follows."""

    def __init__(
        self, questions: Sequence[Question], usual: LaneRules, folds: int, seed: int
    ) -> None:
        """``usual``: what the others are compared to."""
        self.questions = questions
        self.usual = usual
        self.rules: list[LaneRules] = []
        self._answers: Matrix = np.zeros((len(questions), 0), dtype=np.int8)
        self._there = np.array([question.jack_there for question in questions], dtype=np.bool_)
        self._fold_of = dealt([question.group for question in questions], folds, seed)

    @property
    def folds(self) -> int:
        """As many as there are, at least two; 0 if there are too few groups to part them."""
        return int(self._fold_of.max(initial=_NO_FOLD)) + 1

    def add(self, rules: Sequence[LaneRules], answers: Matrix) -> None:
        """``answers``: a row for each question, a column for each of ``rules``."""
        self.rules += rules
        self._answers = np.hstack([self._answers, answers])

    def best(self, among: Collection[LaneRules], without_fold: int | None = None) -> LaneRules:
        """The best for all questions, or for those of the other folds."""
        rows = self._rows(without_fold)
        wanted = set(among)
        columns = [n for n, rules in enumerate(self.rules) if rules in wanted]
        wrong, unserved = self._losses(rows, columns)
        apart = np.array([steps_apart(self.rules[column], self.usual) for column in columns])
        return self.rules[columns[int(np.lexsort((apart, unserved, wrong))[0])]]

    def score(self, rules: LaneRules, *, fold: int | None = None, others: bool = False) -> Score:
        """Of all questions, of those of ``fold``, or of the ``others``."""
        rows = self._rows(fold) if others or fold is None else self._fold_of == fold
        answers = self._answers[rows, self.rules.index(rules)]
        unserved = self._there[rows] & (answers != RIGHT) & (answers != WRONG)
        return Score(
            int(rows.sum()),
            int((answers == WRONG).sum()),
            int(unserved.sum()),
            int((answers == AMBIGUOUS).sum()),
        )

    def outcome(self, question: int, rules: LaneRules) -> Outcome:
        """What came of one question."""
        return OUTCOMES[int(self._answers[question, self.rules.index(rules)])]

    def validated(self, by_fold: Mapping[int, LaneRules]) -> list[Fold]:
        """Every fold by the rules that the others have chosen."""
        return [
            Fold(rules, self.score(rules, fold=fold, others=True), self.score(rules, fold=fold))
            for fold, rules in sorted(by_fold.items())
        ]

    def chance(self, rules: LaneRules) -> float:
        """How often mere chance would part ``rules`` from the usual ones as much as seen.

        A sign test over the questions of which one is answered worse than the other: wrong is
        worse than unserved, unserved worse than right.
        """
        before, after = (self._badness(one) for one in (self.usual, rules))
        better, worse = int((after < before).sum()), int((after > before).sum())
        return sign_test(better, worse)

    def _badness(self, rules: LaneRules) -> npt.NDArray[np.int8]:
        answers = self._answers[:, self.rules.index(rules)]
        bad = np.where(answers == AMBIGUOUS, 1, 0) + np.where(answers == WRONG, 2, 0)
        return np.where((answers == NONE) & self._there, 1, bad).astype(np.int8)

    def _rows(self, without_fold: int | None) -> Bools:
        if without_fold is None:
            return np.ones(len(self.questions), dtype=np.bool_)
        return np.asarray(self._fold_of != without_fold)

    def _losses(
        self, rows: Bools, columns: Sequence[int]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        answers = self._answers[rows][:, np.array(columns)]
        ambiguous = answers == AMBIGUOUS
        missed = (answers == NONE) & self._there[rows][:, None]
        return (answers == WRONG).sum(axis=0), (ambiguous | missed).sum(axis=0)


def dealt(groups: Sequence[str], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """By question, its fold: each group whole in one, the folds about equally large.

    None (``_NO_FOLD``) for all if there are fewer than two groups.
    """
    names = sorted(set(groups))
    if len(names) < 2 or folds < 2:
        return np.full(len(groups), _NO_FOLD, dtype=np.int64)
    random.Random(seed).shuffle(names)
    names.sort(key=groups.count, reverse=True)
    sizes, fold_of = [0] * min(folds, len(names)), {}
    for name in names:
        fold = sizes.index(min(sizes))
        fold_of[name] = fold
        sizes[fold] += groups.count(name)
    return np.array([fold_of[group] for group in groups], dtype=np.int64)


def sign_test(better: int, worse: int) -> float:
    """How likely it is that as many of the two, or more, fall to one side by chance."""
    total, less = better + worse, min(better, worse)
    if not total:
        return 1.0
    tail = sum(math.comb(total, k) for k in range(less + 1))
    return min(1.0, float(2 * tail / 2**total))


def cautions(tuning: Tuning, found: LaneRules, validation: Score | None) -> list[str]:
    """What a reader must know before the rules are used, in whole sentences."""
    told = []
    count = len(tuning.questions)
    if count < FEW_QUESTIONS:
        told.append(
            f"Only {count} questions with a known answer: even none wrong among so many leaves "
            f"room for {at_most(0, count):.1%} wrong ones. Record more before you rely on this."
        )
    if validation is None:
        told.append(
            "All questions are of one visit, so nothing could be held back: how the rules do on "
            "others is unknown."
        )
    if found == tuning.usual:
        told.append("Nothing better than the rules in use was found.")
    elif tuning.chance(found) > SIGNIFICANT:
        told.append(
            "The data do not tell these rules from those in use: chance alone would part them as "
            f"far in {tuning.chance(found):.0%} of such trials."
        )
    usual = tuning.score(tuning.usual)
    if validation is not None and found != tuning.usual and validation.wrong > usual.wrong:
        told.append(
            "On questions held back the search chose more wrong jacks than the rules in use do: "
            "it has learnt what was chance."
        )
    return told
