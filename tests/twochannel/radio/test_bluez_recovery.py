"""The ladder of recovery, with a clock turned by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from twochannel.radio.bluez_recovery import (
    NO_ADAPTER,
    POWER_CYCLE_EVERY_S,
    SILENT,
    STUCK_AFTER_FAILURES,
    UNHEALTHY_AFTER_S,
    Condition,
    Recovery,
    Step,
)
from twochannel.radio.bluez_refusals import NO_SERVICE

WELL = Condition(
    service=True,
    adapter=True,
    powered=True,
    left_over=False,
    listening=True,
    on_air=True,
    offered=True,
    heard_at_s=0.0,
)


def steps_of_silence(recovery: Recovery, until_s: int) -> list[tuple[int, Step]]:
    """What is done, second by second, while nothing is heard and everything succeeds."""
    steps: list[tuple[int, Step]] = []
    for now_s in range(until_s + 1):
        step = recovery.next_step(WELL, now_s)
        if step is not Step.NONE:
            steps.append((now_s, step))
            recovery.done(step, now_s)
    return steps


def test_nothing_is_done_to_a_radio_that_is_well() -> None:
    recovery = Recovery()
    for now_s in range(100):
        heard = replace(WELL, heard_at_s=now_s - 1.0)
        assert recovery.next_step(heard, now_s) is Step.NONE
        assert recovery.trouble == ""


@pytest.mark.parametrize(
    ("missing", "step"),
    [
        ("powered", Step.POWER_ON),
        ("offered", Step.OFFER),
        ("on_air", Step.ADVERTISE),
        ("listening", Step.LISTEN),
    ],
)
def test_what_is_missing_is_asked_for(missing: str, step: Step) -> None:
    assert Recovery().next_step(replace(WELL, **{missing: False}), 1.0) is step


@pytest.mark.parametrize(("missing", "trouble"), [("service", NO_SERVICE), ("adapter", NO_ADAPTER)])
def test_what_cannot_be_mended_is_told_and_waited_for(missing: str, trouble: str) -> None:
    recovery = Recovery()
    nothing = replace(WELL, powered=False, listening=False, on_air=False, heard_at_s=None)
    assert recovery.next_step(replace(nothing, **{missing: False}), 1.0) is Step.NONE
    assert recovery.trouble == trouble
    assert recovery.next_step(nothing, 2.0) is Step.POWER_ON
    assert recovery.trouble == ""


def test_power_comes_first_then_the_advert_then_listening() -> None:
    recovery = Recovery()
    state = replace(WELL, powered=False, on_air=False, listening=False)
    order = []
    for part in ("powered", "on_air", "listening"):
        order.append(recovery.next_step(state, 1.0))
        recovery.done(order[-1], 1.0)
        state = replace(state, **{part: True})
    assert order == [Step.POWER_ON, Step.ADVERTISE, Step.LISTEN]


def test_what_a_dead_bluetoothd_has_left_is_cleared_before_anything_is_asked_for() -> None:
    recovery = Recovery()
    state = replace(WELL, left_over=True, on_air=False, listening=False)
    assert recovery.next_step(state, 1.0) is Step.POWER_CYCLE
    recovery.failed(Step.POWER_CYCLE, "", 1.0)  # somebody is connected
    assert recovery.next_step(state, 1.0) is Step.ADVERTISE
    assert recovery.next_step(replace(state, powered=False), 1.0) is Step.POWER_ON


def test_a_step_that_fails_is_told_and_tried_again_with_pauses_below_ten_seconds() -> None:
    recovery = Recovery()
    state = replace(WELL, on_air=False)
    tried = []
    for now_s in range(20):
        if recovery.next_step(replace(state, heard_at_s=now_s), now_s) is Step.ADVERTISE:
            tried.append(now_s)
            recovery.failed(Step.ADVERTISE, "has no free slot", now_s)
        assert recovery.trouble == "has no free slot"
    assert tried == [0, 1, 3, 7, 11, 15, 19]


def test_a_step_that_fails_keeps_nothing_else_from_being_done() -> None:
    recovery = Recovery()
    state = replace(WELL, on_air=False, listening=False)
    assert recovery.next_step(state, 0.0) is Step.ADVERTISE
    recovery.failed(Step.ADVERTISE, "has no free slot", 0.0)
    assert recovery.next_step(state, 0.0) is Step.LISTEN
    recovery.done(Step.LISTEN, 0.0)
    assert recovery.trouble == "has no free slot"


def test_a_reason_is_forgotten_when_the_step_is_done_or_not_needed_any_more() -> None:
    recovery = Recovery()
    state = replace(WELL, on_air=False)
    recovery.next_step(state, 0.0)
    recovery.failed(Step.ADVERTISE, "has no free slot", 0.0)
    recovery.next_step(state, 1.0)
    recovery.done(Step.ADVERTISE, 1.0)
    assert recovery.next_step(WELL, 1.0) is Step.NONE
    assert recovery.trouble == ""
    recovery.failed(Step.ADVERTISE, "has no free slot", 2.0)
    assert recovery.trouble == "has no free slot"
    assert recovery.next_step(WELL, 2.0) is Step.NONE  # it was silenced meanwhile
    assert recovery.trouble == ""


def test_silence_is_met_with_ever_stronger_means_and_then_rarely() -> None:
    assert steps_of_silence(Recovery(), 700) == [
        (5, Step.LISTEN_ANEW),
        (15, Step.POWER_CYCLE),
        (15 + int(POWER_CYCLE_EVERY_S), Step.POWER_CYCLE),
        (15 + 2 * int(POWER_CYCLE_EVERY_S), Step.POWER_CYCLE),
    ]


def test_silence_is_told_after_a_minute_and_one_advert_ends_it() -> None:
    recovery = Recovery()
    steps_of_silence(recovery, int(UNHEALTHY_AFTER_S) - 1)
    assert recovery.trouble == ""
    assert recovery.next_step(WELL, UNHEALTHY_AFTER_S) is Step.NONE
    assert recovery.trouble == SILENT
    assert recovery.next_step(replace(WELL, heard_at_s=61.0), 61.0) is Step.NONE
    assert recovery.trouble == ""
    # And the ladder is climbed from its foot again.
    assert recovery.next_step(replace(WELL, heard_at_s=61.0), 66.0) is Step.LISTEN_ANEW


def test_the_time_of_an_outage_is_no_silence() -> None:
    recovery = Recovery()
    recovery.next_step(WELL, 0.0)
    recovery.next_step(replace(WELL, adapter=False), 4.0)
    assert recovery.next_step(WELL, 100.0) is Step.NONE
    assert recovery.next_step(WELL, 104.9) is Step.NONE
    assert recovery.next_step(WELL, 105.0) is Step.LISTEN_ANEW


def test_a_power_cycle_that_is_put_off_is_no_trouble_and_comes_later() -> None:
    recovery = Recovery()
    steps_of_silence(recovery, 14)
    assert recovery.next_step(WELL, 15.0) is Step.POWER_CYCLE
    recovery.failed(Step.POWER_CYCLE, "", 15.0)
    assert recovery.next_step(WELL, 15.5) is Step.NONE
    assert recovery.trouble == ""
    assert recovery.next_step(WELL, 16.0) is Step.POWER_CYCLE


def test_a_discovery_that_is_stuck_needs_a_power_cycle_but_not_one_after_another() -> None:
    recovery = Recovery()
    state = replace(WELL, listening=False)
    done: list[tuple[int, Step]] = []
    for now_s in range(40):
        step = recovery.next_step(replace(state, heard_at_s=now_s), now_s)
        if step is Step.LISTEN:
            recovery.failed(step, "is busy", now_s)
        elif step is Step.POWER_CYCLE:
            recovery.done(step, now_s)
            done.append((now_s, step))
        assert recovery.trouble in ("", "is busy")
    assert done == [(12, Step.POWER_CYCLE)]  # after attempts at 0, 1, 3, 7 and 11 seconds
    assert STUCK_AFTER_FAILURES == 5


def test_the_strongest_step_is_kept_until_all_is_well() -> None:
    recovery = Recovery()
    state = replace(WELL, service=False, listening=False, on_air=False)
    recovery.next_step(state, 0.0)
    for part, step in (("service", Step.ADVERTISE), ("on_air", Step.LISTEN)):
        state = replace(state, **{part: True})
        assert recovery.next_step(state, 1.0) is step
        recovery.done(step, 1.0)
    assert recovery.next_step(WELL, 1.0) is Step.NONE
    kept = [recovery.strongest]
    recovery.settle()
    kept.append(recovery.strongest)
    assert kept == [Step.LISTEN, Step.NONE]


def test_a_weaker_step_after_a_stronger_one_changes_nothing() -> None:
    recovery = Recovery()
    recovery.done(Step.POWER_CYCLE, 0.0)
    recovery.done(Step.LISTEN, 1.0)
    assert recovery.strongest is Step.POWER_CYCLE


def test_steps_against_silence_count_until_something_is_heard() -> None:
    recovery = Recovery()
    for now_s in range(71):
        step = recovery.next_step(WELL, now_s)
        if step is not Step.NONE:
            recovery.done(step, now_s)
        if not recovery.trouble:
            recovery.settle()
    kept = [recovery.strongest]
    assert recovery.trouble == SILENT
    assert recovery.trouble_since_s(70.0) == 0.0
    recovery.next_step(replace(WELL, heard_at_s=70.5), 71.0)
    kept.append(recovery.strongest)
    recovery.settle()
    kept.append(recovery.strongest)
    assert kept == [Step.POWER_CYCLE, Step.POWER_CYCLE, Step.NONE]


def test_any_other_trouble_lasts_since_it_was_found() -> None:
    recovery = Recovery()
    recovery.next_step(replace(WELL, adapter=False), 5.0)
    assert recovery.trouble_since_s(5.0) == 5.0
