"""Which rules are best, and whether the data can tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldkit.trials.questions import Question
from fieldkit.trials.tuning import (
    AMBIGUOUS,
    NONE,
    RIGHT,
    WRONG,
    Score,
    Tuning,
    cautions,
    dealt,
    sign_test,
)
from payment_device.sightings import LaneRules

USUAL = LaneRules()
NEAR, FAR = replace(USUAL, margin_db=9.0), replace(USUAL, margin_db=3.0)


def tuned(*columns: tuple[LaneRules, list[int]], folds: int = 2) -> Tuning:
    """Each car asks once; in the last place there is none with a jack."""
    count = len(columns[0][1])
    questions = [Question(f"q{n}", "lane", f"car {n}", n < count - 1) for n in range(count)]
    tuning = Tuning(questions, USUAL, folds, seed=1)
    for rules, answers in columns:
        tuning.add([rules], np.array([answers], dtype=np.int8).T)
    return tuning


def test_a_wrong_choice_weighs_more_than_any_number_of_unserved() -> None:
    tuning = tuned((USUAL, [WRONG, RIGHT, RIGHT, NONE]), (FAR, [AMBIGUOUS, NONE, AMBIGUOUS, NONE]))
    assert tuning.best(tuning.rules) == FAR


def test_who_is_not_served_counts_next_and_an_empty_lane_wants_no_jack() -> None:
    tuning = tuned((USUAL, [RIGHT, NONE, NONE]), (FAR, [RIGHT, RIGHT, NONE]))
    assert tuning.best(tuning.rules) == FAR
    assert tuning.score(USUAL) == Score(3, 0, 1, 0)
    assert tuning.score(FAR) == Score(3, 0, 0, 0)


def test_of_equals_the_one_that_changes_least_is_taken() -> None:
    same = [RIGHT, AMBIGUOUS, NONE]
    tuning = tuned((FAR, same), (NEAR, same))
    assert tuning.best(tuning.rules) == NEAR
    assert tuning.best([FAR]) == FAR


def test_a_fold_is_judged_by_what_the_others_have_chosen() -> None:
    tuning = tuned((USUAL, [WRONG, RIGHT, RIGHT]), (FAR, [RIGHT, WRONG, WRONG]), folds=3)
    chosen = {fold: tuning.best(tuning.rules, fold) for fold in range(tuning.folds)}
    folds = tuning.validated(chosen)
    assert len(folds) == 3
    assert all(fold.validation.questions == 1 and fold.training.questions == 2 for fold in folds)
    # Whatever is held back is the opposite of what the others, or one of them, say.
    assert sum(fold.validation.wrong for fold in folds) >= 1
    assert min(tuning.score(rules).wrong for rules in tuning.rules) == 1


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=60), st.integers(2, 6))
def test_a_visit_is_never_in_two_folds(groups: list[str], folds: int) -> None:
    fold_of = dealt(groups, folds, seed=3)
    for group in set(groups):
        assert len({fold_of[n] for n, name in enumerate(groups) if name == group}) == 1
    if len(set(groups)) > 1:
        assert set(fold_of) == set(range(min(folds, len(set(groups)))))
    else:
        assert set(fold_of) == {-1}
    assert (fold_of == dealt(groups, folds, seed=3)).all()


@pytest.mark.parametrize(
    ("better", "worse", "chance"), [(0, 0, 1.0), (1, 1, 1.0), (5, 0, 0.0625), (9, 1, 0.021484375)]
)
def test_the_sign_test_counts_the_two_tails(better: int, worse: int, chance: float) -> None:
    assert sign_test(better, worse) == pytest.approx(chance)


def test_few_questions_are_said_to_be_few() -> None:
    tuning = tuned((USUAL, [WRONG, RIGHT, RIGHT]), (FAR, [RIGHT, RIGHT, RIGHT]))
    told = cautions(tuning, FAR, tuning.score(FAR))
    assert "Only 3 questions" in told[0]
    assert "do not tell" in told[1]


def test_enough_questions_that_agree_need_no_caution() -> None:
    tuning = tuned((USUAL, [WRONG] * 20 + [RIGHT] * 100), (FAR, [RIGHT] * 120))
    assert cautions(tuning, FAR, tuning.score(FAR)) == []
    assert cautions(tuning, USUAL, tuning.score(USUAL)) == [
        "Nothing better than the rules in use was found."
    ]


def test_one_visit_cannot_be_held_back() -> None:
    tuning = tuned((USUAL, [RIGHT]), (FAR, [RIGHT]))
    assert tuning.folds == 0
    assert any("held back" in line for line in cautions(tuning, USUAL, None))


def test_what_fails_where_it_was_not_trained_is_said() -> None:
    tuning = tuned((USUAL, [RIGHT] * 119 + [WRONG]), (FAR, [RIGHT] * 120))
    told = cautions(tuning, FAR, Score(120, 5, 0, 0))
    assert any("has learnt what was chance" in line for line in told)
