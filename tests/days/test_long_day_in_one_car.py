"""The shipped ``long-day-in-one-car`` in the virtual car: sixty payments, and bluetoothd killed.

Some minutes: ``pytest tests/days/test_long_day_in_one_car.py``. Needs what ``fieldkit car build``
needs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fieldkit.trials.alignment import align
from fieldkit.trials.archive import Trial
from fieldkit.trials.scenario import SCENARIOS_FOLDER
from tests.trials import found_faults
from tests.trials.virtual import (
    PlayedTrial,
    clocks_inside,
    played,
    replayed_exactly,
    times_outside,
    told_by,
)

LANES = {"lane-1", "pump-3"}
#: There is one bluetoothd for all of them.
RADIOS = ("mina-jack", "mina-phone", *sorted(LANES))
#: What is late in the car without a fault is not that late.
SLOW_S = "3.0"


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> PlayedTrial:
    folder = tmp_path_factory.mktemp("long-day")
    trial = played(SCENARIOS_FOLDER / "long-day-in-one-car.toml", folder, on="car")
    print(f"took {trial.document['took_s']} s: {trial.document['payments']}", end="; ")
    return trial


@pytest.fixture(scope="module")
def told(day: PlayedTrial, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report for programs, without the truth: what was played cannot be copied from there."""
    folder = tmp_path_factory.mktemp("report")
    blind = replace(day, archive=found_faults.without_truth(day.archive, folder / "day.trial"))
    return told_by("report", blind, folder, "--slow", SLOW_S, "--out", str(folder / "day.html"))


def payment_of(day: PlayedTrial, told: dict[str, Any], step: str) -> dict[str, Any]:
    """As the report tells it, of the only step whose text has ``step`` in it."""
    (payment,) = (s["payment"] for s in day.document["steps"] if step in s["step"])
    (found,) = (one for one in told["payments"] if one["payment"] == payment)
    return dict(found)


def test_sixty_payments_went_through_at_two_lanes_as_they_must(day: PlayedTrial) -> None:
    paid = day.truth["payments"]
    assert len(paid) == sum(day.document["payments"].values()) >= 60
    assert day.document["payments"].keys() == {"captured", "declined"}
    assert {one["lane"] for one in paid} == LANES
    declined = [one for one in paid if one["owner"] == "declines"]
    assert len(declined) == day.document["payments"]["declined"]


def test_nothing_was_left_out(day: PlayedTrial) -> None:
    assert Counter(fault["name"] for fault in day.truth["faults"]) == {
        "wifi_lost": 1,
        "radio_restarted": 1,
        "clock_stepped": 1,
        "server_restarted": 2,
        # The power of the car is that of its jack and of its phone.
        "power_cut": 2,
        "clock_in_1970": 1,
    }


def test_the_report_finds_every_fault_at_its_agent_and_time(
    day: PlayedTrial, told: dict[str, Any]
) -> None:
    alignment = align(Trial.open(day.archive))
    for fault in day.truth["faults"]:
        found = found_faults.found(day, alignment, told["incidents"], fault)
        assert len(found) == 1, (fault, told["incidents"])


def test_bluetoothd_was_killed_for_every_radio_of_the_car(
    day: PlayedTrial, told: dict[str, Any]
) -> None:
    radios = [i for i in told["incidents"] if i["kind"] == "radio"]
    assert {incident["agent"] for incident in radios} == set(RADIOS)
    fault = day.fault("radio_restarted", "mina-jack")
    for agent in RADIOS:
        noted = [e for e in day.events[agent] if day.true_us(e) >= fault["from_true_us"]]
        assert {"radio_lost", "radio_recovered"} <= {event.event for event in noted}


def test_the_report_tells_whose_clock_was_wrong_from_the_beginning(told: dict[str, Any]) -> None:
    texts = {(i["agent"], i["text"]) for i in told["incidents"] if "the server's" in i["text"]}
    assert ("pump-3", "wall clock 3.2 min ahead of the server's") in texts
    assert ("mina-phone", "wall clock 5.2 min behind the server's") in texts


def test_a_payment_whose_wifi_was_lost_took_its_code_over_bluetooth(
    day: PlayedTrial, told: dict[str, Any]
) -> None:
    lost = day.fault("wifi_lost", "mina-phone")
    ways = {
        event.payment: event.fields["path"]
        for event in day.events["mina-phone"]
        if event.event == "auth_code_received"
    }
    met = [
        event.payment
        for event in day.events["mina-phone"]
        if event.event == "auth_code_asked"
        and lost["from_true_us"] < day.true_us(event) < lost["to_true_us"]
    ]
    assert ways[met[0]] == "gatt"
    causes = {payment["payment"]: payment["cause"] for payment in told["payments"]}
    assert causes[met[0]] == "slow_gatt"


def test_a_payment_whose_server_was_restarted_is_told_as_that(
    day: PlayedTrial, told: dict[str, Any]
) -> None:
    payment = payment_of(day, told, "meets: server_restarted")
    assert (payment["status"], payment["cause"]) == ("captured", "slow_restart")
    assert payment["cause_text"].startswith("The server's agent was restarted in between")


def test_no_failure_is_left_unexplained(told: dict[str, Any]) -> None:
    failed = [payment for payment in told["payments"] if payment["outcome"] != "paid"]
    assert "unexplained" not in {payment["cause"] for payment in failed}


def test_every_time_is_within_what_is_stated(day: PlayedTrial) -> None:
    assert times_outside(day) == []


def test_the_truth_is_within_what_is_stated_of_every_clock(
    day: PlayedTrial, tmp_path: Path
) -> None:
    found = told_by("report", day, tmp_path, "--out", str(tmp_path / "day.html"))
    # Two lanes, and both boots of jack and phone.
    assert clocks_inside(found) == 2 + 2 * 2


def test_every_decision_comes_out_as_it_was(day: PlayedTrial, tmp_path: Path) -> None:
    same = replayed_exactly(day, tmp_path, LANES)
    print(f"{same} decisions replayed")
    assert same > 100
