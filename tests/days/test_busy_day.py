"""The shipped ``busy-day``: sixty payments and more, and every fault in what the agents noted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fieldkit.trace import TraceEvent
from fieldkit.trials.scenario import SCENARIOS_FOLDER
from tests.trials.virtual import PlayedTrial, played, replayed_exactly, times_outside, told_by

#: A fault is noted at the latest so long after it has ended.
NOTED_S = 20
US_PER_S = 1_000_000


@pytest.fixture(scope="module")
def busy_day(tmp_path_factory: pytest.TempPathFactory) -> PlayedTrial:
    return played(SCENARIOS_FOLDER / "busy-day.toml", tmp_path_factory.mktemp("busy-day"))


def during(trial: PlayedTrial, fault: Mapping[str, Any], agent: str) -> list[TraceEvent]:
    """What an agent noted from the beginning of a fault on."""
    ends_us = fault["to_true_us"] + NOTED_S * US_PER_S
    return [e for e in trial.events[agent] if fault["from_true_us"] <= trial.true_us(e) <= ends_us]


def faults(trial: PlayedTrial, name: str) -> list[dict[str, Any]]:
    return [fault for fault in trial.truth["faults"] if fault["name"] == name]


def test_two_cars_paid_sixty_times_at_two_lanes(busy_day: PlayedTrial) -> None:
    paid = busy_day.truth["payments"]
    assert len(paid) == sum(busy_day.document["payments"].values()) >= 60
    assert busy_day.document["payments"]["captured"] >= 50
    where = {(one["car"], one["lane"]) for one in paid}
    assert where == {(car, lane) for car in ("mina", "joon") for lane in ("lane-1", "pump-3")}
    settled = {
        event.payment
        for lane in ("lane-1", "pump-3")
        for event in busy_day.events[lane]
        if event.event == "payment_settled"
    }
    assert settled >= {one["payment"] for one in paid}


def test_the_faults_of_the_scenario_are_those_of_the_truth(busy_day: PlayedTrial) -> None:
    names = [fault["name"] for fault in busy_day.truth["faults"]]
    assert Counter(names) == {
        "wifi_lost": 2,
        "radio_restarted": 1,
        "clock_stepped": 1,
        "server_restarted": 1,
        # The power of a car is that of its jack and of its phone.
        "power_cut": 2,
        "clock_in_1970": 1,
    }


def test_each_fault_is_seen_in_what_was_recorded(busy_day: PlayedTrial) -> None:
    for lost in faults(busy_day, "wifi_lost"):
        noted = during(busy_day, lost, lost["machine"])
        assert {"gatt_tried", "jack_lost"} & {event.event for event in noted}
    for cut in faults(busy_day, "power_cut"):
        boots = {event.boot for event in busy_day.events[cut["machine"]]}
        assert len(boots) == 2
    (restarted,) = faults(busy_day, "server_restarted")
    noted = during(busy_day, restarted, "server")
    assert "agent_started" in {event.event for event in noted}
    (woken,) = faults(busy_day, "clock_in_1970")
    first = during(busy_day, woken, woken["machine"])[0]
    assert (first.clock, first.wall_ms < 600_000) == ("unsynchronised", True)


def test_what_was_marked_is_the_truth(busy_day: PlayedTrial) -> None:
    stays = busy_day.truth["at_lane"]
    for lane in ("lane-1", "pump-3"):
        noted = busy_day.events[lane]
        assert [e.event for e in noted if e.event in {"trial_started", "trial_stopped"}] == [
            "trial_started",
            "trial_stopped",
        ]
        marks = [e for e in noted if e.event == "trial_marked"]
        here = [stay for stay in stays if stay["lane"] == lane]
        jacks = [mark.fields["truth"]["jack"] for mark in marks]
        assert jacks == [jack for stay in here for jack in (stay["jack"], None)]
        assert len(here) > 5
        for mark, stay in zip(marks[::2], here, strict=True):
            assert 0 <= busy_day.true_us(mark) - stay["from_true_us"] < US_PER_S


def test_the_true_time_of_every_event_is_within_its_uncertainty(busy_day: PlayedTrial) -> None:
    assert sum(map(len, busy_day.events.values())) > 2000
    assert times_outside(busy_day) == []


def test_the_report_finds_each_restart_and_each_car(busy_day: PlayedTrial, tmp_path: Path) -> None:
    found = told_by("report", busy_day, tmp_path, "--out", str(tmp_path / "day.html"))
    restarted = {i["agent"] for i in found["incidents"] if i["kind"] == "restart"}
    assert restarted >= {"joon-jack", "joon-phone", "server"}
    assert any(i["kind"] == "clock" and i["agent"] == "lane-1" for i in found["incidents"])
    jacks = {payment["payment"]: payment["jack"] for payment in found["payments"]}
    assert jacks == {p["payment"]: f"{p['car']}-jack" for p in busy_day.truth["payments"]}
    assert {row["decided"] for row in found["confusion"]} == {"right jack"}


def test_every_decision_of_a_lane_is_replayed_exactly(
    busy_day: PlayedTrial, tmp_path: Path
) -> None:
    assert replayed_exactly(busy_day, tmp_path) > 100
