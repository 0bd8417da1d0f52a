"""How much of the machine others used meanwhile."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fieldkit.bench import neighbours
from fieldkit.bench.neighbours import Usage, cores_of_others, parse_work_s

_STAT = "cpu  100 20 30 9000 400 5 6 7 50 2\ncpu0 50 10 15 4500 200 2 3 4 25 1\nintr 1\n"


def test_work_is_all_but_idling_and_what_is_counted_twice() -> None:
    assert parse_work_s(_STAT, 100) == 1.68


def test_another_text_is_no_stat() -> None:
    with pytest.raises(ValueError, match="stat"):
        parse_work_s("intr 1\n", 100)


def test_others_are_the_machine_without_this_process() -> None:
    before, after = Usage(10, 100, 5), Usage(20, 118, 8)
    assert cores_of_others(before, after) == 1.5


def test_rounding_of_ticks_does_not_make_others_negative() -> None:
    assert cores_of_others(Usage(10, 100, 5), Usage(20, 101, 6.5)) == 0


def test_children_that_have_ended_are_not_others() -> None:
    before = neighbours.now()
    subprocess.run([sys.executable, "-c", "sum(range(10**6))"], check=True)
    after = neighbours.now()
    assert after.own_s > before.own_s
    assert after.machine_s >= before.machine_s
