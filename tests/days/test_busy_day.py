"""The shipped ``busy-day``: sixty payments and more, and every fault in what the agents noted."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fieldkit.trace import TraceEvent
from fieldkit.trials.alignment import align
from fieldkit.trials.archive import Trial
from fieldkit.trials.scenario import SCENARIOS_FOLDER
from tests.trials import found_faults
from tests.trials.brought import assert_same_day, carried, last_lines_collected
from tests.trials.virtual import (
    PlayedTrial,
    clocks_inside,
    played,
    replayed_exactly,
    times_outside,
    told_by,
)

#: A phone tries Bluetooth when Wi-Fi has been silent for 1.5 s; without a fault all is faster.
SLOW_S = "1.2"
#: An auth code that is asked for so shortly before a fault ends need not meet it.
MEETS_US = 2_500_000
US_PER_S = 1_000_000


@pytest.fixture(scope="module")
def busy_day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlayedTrial]:
    folder = tmp_path_factory.mktemp("busy-day")
    day = played(SCENARIOS_FOLDER / "busy-day.toml", folder, kept=True)
    yield day
    assert day.states is not None
    shutil.rmtree(day.states)


def during(trial: PlayedTrial, fault: Mapping[str, Any], agent: str) -> list[TraceEvent]:
    """What an agent noted from the beginning of a fault on."""
    ends_us = fault["to_true_us"] + found_faults.NOTED_S * US_PER_S
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
        "server_restarted": 2,
        # The power of a car is that of its jack and of its phone.
        "power_cut": 6,
        "clock_in_1970": 1,
    }


def test_each_fault_is_seen_in_what_was_recorded(busy_day: PlayedTrial) -> None:
    for lost in faults(busy_day, "wifi_lost"):
        noted = during(busy_day, lost, lost["machine"])
        assert {"gatt_tried", "jack_lost"} & {event.event for event in noted}
    of_machine = Counter(cut["machine"] for cut in faults(busy_day, "power_cut"))
    for cut in faults(busy_day, "power_cut"):
        boots = {event.boot for event in busy_day.events[cut["machine"]]}
        assert len(boots) == 1 + of_machine[cut["machine"]]
    for restarted in faults(busy_day, "server_restarted"):
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


# --- what the report finds, from the recordings alone


@pytest.fixture(scope="module")
def told(busy_day: PlayedTrial, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report for programs, without the truth: what was played cannot be copied from there."""
    folder = tmp_path_factory.mktemp("report")
    blind = replace(
        busy_day, archive=found_faults.without_truth(busy_day.archive, folder / "day.trial")
    )
    return told_by("report", blind, folder, "--slow", SLOW_S, "--out", str(folder / "day.html"))


def test_the_report_finds_every_fault_at_its_agent_and_time(
    busy_day: PlayedTrial, told: dict[str, Any]
) -> None:
    incidents = told["incidents"]
    assert "fault" not in {incident["kind"] for incident in incidents}
    alignment = align(Trial.open(busy_day.archive))
    for fault in busy_day.truth["faults"]:
        found = found_faults.found(busy_day, alignment, incidents, fault)
        assert len(found) == 1, (fault, incidents)


def test_the_report_tells_whose_clock_was_wrong_from_the_beginning(told: dict[str, Any]) -> None:
    texts = {(i["agent"], i["text"]) for i in told["incidents"] if "the server's" in i["text"]}
    assert ("pump-3", "wall clock 3.2 min ahead of the server's") in texts
    assert ("joon-phone", "wall clock 5.2 min behind the server's") in texts


def test_the_report_tells_of_no_restart_and_no_lost_radio_that_there_was_not(
    busy_day: PlayedTrial, told: dict[str, Any]
) -> None:
    def machines(*names: str) -> Counter[str]:
        return Counter(f["machine"] for f in busy_day.truth["faults"] if f["name"] in names)

    def agents(kind: str) -> Counter[str]:
        return Counter(i["agent"] for i in told["incidents"] if i["kind"] == kind)

    assert agents("restart") == machines("power_cut", "server_restarted")
    assert agents("radio") == machines("radio_restarted")


@pytest.mark.parametrize(
    ("name", "cause", "sentence"),
    [
        ("wifi_lost", "slow_gatt", "so the auth code came over Bluetooth"),
        ("radio_restarted", "presence", "it did not, for its radio was off"),
    ],
)
def test_the_cause_of_a_payment_is_the_fault_that_it_met(
    busy_day: PlayedTrial, told: dict[str, Any], name: str, cause: str, sentence: str
) -> None:
    payments = {payment["payment"]: payment for payment in told["payments"]}
    owners = {payment["payment"]: payment["owner"] for payment in busy_day.truth["payments"]}
    for fault in faults(busy_day, name):
        met = [
            payments[one.payment]
            for one in busy_day.events[f"{fault['car']}-phone"]
            if one.event == "auth_code_asked"
            and one.payment is not None
            and owners[one.payment] == "rule"
            and fault["from_true_us"] < busy_day.true_us(one) < fault["to_true_us"] - MEETS_US
        ]
        assert met, fault
        for payment in met:
            assert payment["cause"] == cause, payment
            assert sentence in payment["cause_text"], payment


@pytest.mark.parametrize(
    ("met", "status", "cause", "sentence"),
    [
        (
            "power_cut car=mina for_s=4.0",
            "captured",
            "slow_restart",
            "The phone's machine was restarted in between and was back at",
        ),
        (
            "power_cut car=mina for_s=65.0",
            "expired",
            "power_cut",
            "The machine of the phone lost its power or was reset, with no orderly end",
        ),
        (
            "server_restarted for_s=2.0",
            "captured",
            "slow_restart",
            "The server's agent was restarted in between and was back at",
        ),
    ],
)
def test_the_cause_of_a_payment_is_what_was_cut_or_restarted_while_its_owner_was_asked(
    busy_day: PlayedTrial, told: dict[str, Any], met: str, status: str, cause: str, sentence: str
) -> None:
    (step,) = (s for s in busy_day.document["steps"] if s["step"].endswith(f"meets: {met}"))
    (payment,) = (p for p in told["payments"] if p["payment"] == step["payment"])
    assert (step["status"], payment["status"]) == (status, status)
    assert payment["cause"] == cause, payment
    assert payment["cause_text"].startswith(sentence), payment


def test_no_failure_is_left_unexplained(told: dict[str, Any]) -> None:
    """What was a little slow may be: this machine has other things to do."""
    failed = [payment for payment in told["payments"] if payment["outcome"] != "paid"]
    assert len(failed) >= 3
    assert "unexplained" not in {payment["cause"] for payment in failed}


def test_the_truth_is_within_what_is_stated_of_every_clock(
    busy_day: PlayedTrial, tmp_path: Path
) -> None:
    found = told_by("report", busy_day, tmp_path, "--out", str(tmp_path / "day.html"))
    # Two lanes, and the boots of jack and phone: two of one car, three of the other.
    assert clocks_inside(found) == 2 + 2 * 2 + 2 * 3
    jacks = {payment["payment"]: payment["jack"] for payment in found["payments"]}
    assert jacks == {p["payment"]: f"{p['car']}-jack" for p in busy_day.truth["payments"]}
    assert {row["decided"] for row in found["confusion"]} == {"right jack"}


def test_every_decision_of_a_lane_is_replayed_exactly(
    busy_day: PlayedTrial, tmp_path: Path
) -> None:
    assert replayed_exactly(busy_day, tmp_path) > 100


# --- carried home on a stick, as from machines that nobody played on


@pytest.fixture(scope="module")
def collected(busy_day: PlayedTrial, tmp_path_factory: pytest.TempPathFactory) -> PlayedTrial:
    stick = tmp_path_factory.mktemp("stick")
    return replace(busy_day, archive=carried(busy_day, "busy-day", stick))


def test_what_is_bundled_and_collected_is_what_the_agents_recorded(
    busy_day: PlayedTrial, collected: PlayedTrial
) -> None:
    """And what they noted after the player had packed it, to their orderly end."""
    for last in last_lines_collected(busy_day, collected.archive):
        assert b'"agent_stopped"' in last


def test_the_report_of_what_was_collected_is_that_of_the_day(
    collected: PlayedTrial, told: dict[str, Any], tmp_path: Path
) -> None:
    page = str(tmp_path / "day.html")
    found = told_by("report", collected, tmp_path, "--slow", SLOW_S, "--out", page)
    assert_same_day(found, told)
    assert causes_of(found) == causes_of(told)


def causes_of(report: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    """By payment, how it ended and why."""
    return {p["payment"]: (p["status"], p["cause"]) for p in report["payments"]}


def test_every_decision_of_a_lane_that_was_collected_is_replayed_exactly(
    busy_day: PlayedTrial, collected: PlayedTrial, tmp_path: Path
) -> None:
    packed, brought = tmp_path / "packed", tmp_path / "brought"
    packed.mkdir()
    brought.mkdir()
    assert replayed_exactly(collected, brought) >= replayed_exactly(busy_day, packed)
