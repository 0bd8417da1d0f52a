"""Payment …4fe4b928 at pump-3, from the trial first-day.

Recorded: chosen 1ce0. Wanted: chosen 1ce0. The file beside this one has what the lane heard in
the 12 s before: 2 codes.
"""

from __future__ import annotations

from pathlib import Path

from fieldkit.trials.lane_case import load

CASE = load(Path(__file__).with_suffix(".json"))


def test_the_answer_is_chosen_1ce0() -> None:
    answer = CASE.decided()
    assert (answer.outcome, answer.jack) == ("chosen", "1ce0"), str(answer)
