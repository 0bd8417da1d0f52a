"""Payment …941f9063 at lane-1, from the trial first-day.

Recorded: ambiguous (equally_near: 93b5, 1ae0). Wanted: ambiguous. The file beside this one has
what the lane heard in the 12 s before: 2 codes.
"""

from __future__ import annotations

from pathlib import Path

from fieldkit.trials.lane_case import load

CASE = load(Path(__file__).with_suffix(".json"))


def test_the_answer_is_ambiguous() -> None:
    answer = CASE.decided()
    assert answer.outcome == "ambiguous", str(answer)
