"""What is made of what a radio was measured to do."""

from __future__ import annotations

import dataclasses

import pytest

from tests.twochannel.doctor.specimens import ADAPTER
from twochannel.doctor.findings import Missing, Refused, State, Unread
from twochannel.doctor.listening_rules import (
    advertises_row,
    blind_row,
    changes_db,
    gaps_s,
    hears_row,
    interval_row,
    rssi_step_row,
)
from twochannel.doctor.readings import AdapterReading, Broadcasting, Listening


def heard(*at_s: float, levels: tuple[tuple[str, int], ...] = ()) -> Listening:
    return Listening(10.0, at_s, levels)


def steadily(first_s: float, last_s: float, gap_s: float = 0.1) -> tuple[float, ...]:
    return tuple(first_s + gap_s * step for step in range(round((last_s - first_s) / gap_s) + 1))


def levels(*dbm: int) -> tuple[tuple[str, int], ...]:
    return tuple(("AA", level) for level in dbm)


@pytest.mark.parametrize(
    ("at_s", "state"),
    [
        (steadily(0.1, 9.9), State.OK),
        ((*steadily(0.1, 4.0), *steadily(6.5, 9.9)), State.WARNING),
        ((*steadily(0.1, 3.0), *steadily(8.0, 9.9)), State.FAILING),
        # BlueZ's pause at the beginning and at the end.
        (steadily(5.0, 9.9), State.FAILING),
        (steadily(0.1, 5.0), State.FAILING),
        # Too quiet to tell.
        ((), State.UNKNOWN),
        ((1.0, 2.0, 3.0, 9.0), State.UNKNOWN),
        # Quiet enough that 3 s do not stand out.
        (tuple(steadily(0.5, 4.0, 0.5) + steadily(7.0, 9.9, 0.5)), State.OK),
    ],
)
def test_a_blind_window_is_one_that_stands_out_of_the_traffic(
    at_s: tuple[float, ...], state: State
) -> None:
    row = blind_row(heard(*at_s))
    assert row.state is state, row
    if state not in (State.UNKNOWN, State.OK):
        assert row.value == pytest.approx(max(gaps_s(heard(*at_s))), abs=0.001)
        assert row.do


def test_gaps_reach_from_end_to_end() -> None:
    assert gaps_s(heard(1.0, 4.0)) == [1.0, 3.0, 6.0]


@pytest.mark.parametrize(
    ("dbm", "state", "step"),
    [
        ((-50, -58, -50, -66, -50, -60, -70), State.FAILING, 8),
        ((-50, -51, -53, -50, -51, -52), State.OK, 1),
        # One fine step proves that levels are not coarse.
        ((-50, -58, -50, -66, -50, -58, -57), State.OK, 1),
        ((-50, -50, -50, -50, -50, -50, -50), State.UNKNOWN, None),
        ((-50, -58), State.UNKNOWN, None),
    ],
)
def test_levels_that_move_by_8_db_alone_are_coarse(
    dbm: tuple[int, ...], state: State, step: int | None
) -> None:
    row = rssi_step_row(heard(levels=levels(*dbm)))
    assert (row.state, row.value) == (state, step)


def test_levels_are_compared_within_a_sender() -> None:
    mixed = (("AA", -50), ("BB", -51), ("AA", -58), ("BB", -51), ("AA", -58))
    assert changes_db(mixed) == [8]


def test_silence_is_a_warning_and_anything_heard_is_not() -> None:
    assert hears_row(heard()).state is State.WARNING
    row = hears_row(heard(1.0, 2.0, 3.0))
    assert (row.state, row.value) == (State.OK, 0.3)


def test_a_refused_advert_fails_with_the_refusals_own_cure() -> None:
    row = advertises_row(Refused("has no free slot", "end the programs"))
    assert (row.state, row.do) == (State.FAILING, "end the programs")
    assert advertises_row(Broadcasting(None)).state is State.OK


LEGACY = ADAPTER
EXTENDED = dataclasses.replace(ADAPTER, extended=True)
DEAF_TO_INTERVALS = dataclasses.replace(ADAPTER, intervals=False)


def every(gap_s: float, count: int = 20) -> Broadcasting:
    return Broadcasting(tuple(gap_s * step for step in range(count)))


@pytest.mark.parametrize(
    ("adapter", "sent", "asked_ms", "state", "value"),
    [
        (LEGACY, Broadcasting(None), 20, State.OK, 150),
        (EXTENDED, Broadcasting(None), 20, State.OK, 20),
        (DEAF_TO_INTERVALS, Broadcasting(None), 100, State.FAILING, 1280),
        (LEGACY, every(0.108), 100, State.OK, 108.0),
        (LEGACY, every(0.5), 100, State.WARNING, 500.0),
        # What is measured beats what is expected, both ways.
        (LEGACY, every(1.285), 100, State.FAILING, 1285.0),
        (DEAF_TO_INTERVALS, every(0.108), 100, State.OK, 108.0),
        # Too few to measure by.
        (DEAF_TO_INTERVALS, every(1.28, 3), 100, State.FAILING, 1280),
        (LEGACY, Unread("the agent runs"), 100, State.OK, 150),
        (Unread("there is no adapter"), Unread("not open"), 100, State.UNKNOWN, None),
        # A radio without BlueZ.
        (None, Broadcasting(None), 100, State.OK, 100),
        (None, Unread("--quick"), 100, State.UNKNOWN, None),
    ],
)
def test_the_interval(
    adapter: AdapterReading | Missing | None,
    sent: Broadcasting | Missing,
    asked_ms: int,
    state: State,
    value: float | None,
) -> None:
    row = interval_row(adapter, sent, asked_ms)
    assert (row.state, row.value) == (state, pytest.approx(value) if value else value)
    assert bool(row.do) is (state in (State.WARNING, State.FAILING))


@pytest.mark.parametrize("rule", [hears_row, blind_row, rssi_step_row, advertises_row])
def test_what_was_not_measured_says_why(rule: object) -> None:
    assert callable(rule)
    assert rule(Unread("not measured: --quick")).state is State.UNKNOWN
