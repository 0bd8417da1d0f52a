"""What the report says of played days, beside what was really done to their agents."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from fieldkit.trials.alignment import Alignment, align
from fieldkit.trials.archive import Trial
from tests.trials.virtual import DEADLINE_S, PlayedTrial

#: What without a fault takes a tenth of it.
SLOW_S = "0.7"


@pytest.fixture(scope="session")
def told(first_day: PlayedTrial, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of the first day, for programs."""
    folder = tmp_path_factory.mktemp("report")
    line = [sys.executable, "-m", "fieldkit", "report", str(first_day.archive), "--slow", SLOW_S]
    line += ["--out", str(folder / "day.html"), "--json", str(folder / "day.json")]
    ended = subprocess.run(line, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found: dict[str, Any] = json.loads((folder / "day.json").read_text())
    return found


def cause(told: dict[str, Any], payment: str) -> str | None:
    (found,) = (p["cause"] for p in told["payments"] if p["payment"] == payment)
    return None if found is None else str(found)


def step_payment(trial: PlayedTrial, begins: str) -> str:
    """The payment of the step that is told like this."""
    (found,) = (s["payment"] for s in trial.document["steps"] if s["step"].startswith(begins))
    return str(found)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("pay car=mina amount=4.50", None),
        ("pay car=mina amount=3.20", "slow_gatt"),
        ("pay car=mina amount=31.00", "owner_declined"),
        ("pay car=joon amount=2.80", "presence"),
        ("pay car=mina amount=25.00", "owner_silent"),
    ],
)
def test_what_was_done_to_a_payment_is_its_cause(
    first_day: PlayedTrial, told: dict[str, Any], step: str, expected: str | None
) -> None:
    assert cause(told, step_payment(first_day, step)) == expected


@pytest.mark.parametrize(
    ("agent", "text"),
    [
        ("joon-jack", "machine lost its power or was reset, with no orderly end"),
        ("joon-phone", "machine was rebooted or lost its power"),
        ("joon-jack", "it went from unsynchronised to server"),
        ("server", "agent started again"),
        ("lane-1", "wall clock set back by 75.0"),
    ],
)
def test_what_was_done_to_a_machine_is_among_the_incidents(
    told: dict[str, Any], agent: str, text: str
) -> None:
    played = [i for i in told["incidents"] if i["kind"] != "fault"]
    assert any(i["agent"] == agent and text in i["text"] for i in played), played


def test_every_fault_of_the_truth_is_told_as_played(
    first_day: PlayedTrial, told: dict[str, Any]
) -> None:
    shown = Counter(i["agent"] for i in told["incidents"] if i["kind"] == "fault")
    assert shown == Counter(fault["machine"] for fault in first_day.truth["faults"])


def test_lanes_chose_the_car_that_stood_there(told: dict[str, Any]) -> None:
    assert {(row["truth"], row["decided"]) for row in told["confusion"]} == {
        ("a car with its jack", "right jack")
    }


def test_each_payment_is_of_the_car_that_paid(first_day: PlayedTrial, told: dict[str, Any]) -> None:
    jacks = {payment["payment"]: payment["jack"] for payment in told["payments"]}
    assert jacks == {paid["payment"]: f"{paid['car']}-jack" for paid in first_day.truth["payments"]}


def test_no_leg_takes_less_than_nothing(told: dict[str, Any]) -> None:
    legs = [ms for payment in told["payments"] for ms in payment["legs_ms"].values()]
    assert min(ms for ms in legs if ms is not None) >= 0


@pytest.mark.parametrize("day", ["first_day", "busy_day"])
def test_the_true_time_of_every_event_is_within_its_uncertainty(
    request: pytest.FixtureRequest, day: str
) -> None:
    played: PlayedTrial = request.getfixturevalue(day)
    alignment = align(Trial.open(played.archive))
    assert alignment.statements == ()
    events, outside = 0, []
    for agent, noted in played.events.items():
        for event in noted:
            found_us, within_us = alignment.at_us(agent, event.boot, event.mono_ns // 1000)
            error_us = abs(found_us - server_us(played, alignment, played.true_us(event)))
            events += 1
            # The truth and the answer are whole microseconds, of both clocks.
            if error_us > within_us + 3:
                outside.append((agent, event.event, error_us, within_us))
    assert events > 500
    assert outside == []


def server_us(played: PlayedTrial, alignment: Alignment, true_us: int) -> int:
    """What the clock of the timeline showed at that time."""
    readings = played.truth["clock_offsets_us"][alignment.reference.machine]
    ((mono_us, at_us),) = ((m, t) for m, t, boot in readings if boot == alignment.reference.boot)
    return int(mono_us + true_us - at_us)


def test_the_page_is_written_beside_the_document(
    first_day: PlayedTrial, told: dict[str, Any]
) -> None:
    assert told["trial"] == "first-day"
    assert len(told["payments"]) == len(first_day.truth["payments"])
    assert all(truth["inside"] for truth in told["clock_truths"])
