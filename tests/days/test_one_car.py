"""The shipped ``one-car``: the same file on air and in the virtual car, and the desk finds it all.

In the virtual car bluetoothd is killed and started, and the Wi-Fi is left. Some minutes: ``pytest
tests/days/test_one_car.py``. Needs what ``fieldkit car build`` needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fieldkit.trials.scenario import SCENARIOS_FOLDER
from tests.trials import one_car
from tests.trials.virtual import PlayedTrial, played, replayed_exactly, times_outside, told_by

pytestmark = pytest.mark.parametrize("place", ["air", "car"], scope="module")

ONE_CAR = SCENARIOS_FOLDER / "one-car.toml"


@pytest.fixture(scope="module")
def trial(place: str, tmp_path_factory: pytest.TempPathFactory) -> PlayedTrial:
    return played(ONE_CAR, tmp_path_factory.mktemp(place), on=place)


@pytest.fixture(scope="module")
def report(trial: PlayedTrial, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return told_by("report", trial, tmp_path_factory.mktemp("report"))


def test_nothing_was_left_out_and_everything_went_as_it_must(trial: PlayedTrial) -> None:
    assert trial.document["payments"] == {"captured": 3, "declined": 1}
    names = [fault["name"] for fault in trial.truth["faults"]]
    assert sorted(names) == ["radio_restarted", "server_restarted", "wifi_lost"]


def test_the_jack_noted_that_its_radio_was_lost_and_how_it_recovered(
    trial: PlayedTrial, place: str
) -> None:
    lost, back = (
        [event for event in trial.events["mina-jack"] if event.event == name]
        for name in ("radio_lost", "radio_recovered")
    )
    fault = trial.fault("radio_restarted", "mina-jack")
    during = [event for event in lost if fault["from_true_us"] <= trial.true_us(event)]
    assert during
    after = [event for event in back if event.mono_ns > during[0].mono_ns]
    assert after
    # The adapter of a killed bluetoothd is switched off and on; one that was gone is opened.
    assert after[0].fields["rung"] == {"air": "reopened", "car": "power_cycle"}[place]


@pytest.mark.parametrize("name", one_car.FOUND)
def test_the_report_finds_each_fault_with_its_cause(
    trial: PlayedTrial, report: dict[str, Any], name: str
) -> None:
    assert len(one_car.found(trial, report, name)) == 1, report["incidents"]


def test_a_payment_whose_wifi_was_lost_took_its_code_over_bluetooth(
    trial: PlayedTrial, report: dict[str, Any]
) -> None:
    (over_gatt,) = (paid for paid in report["payments"] if paid["amount_minor"] == 320)
    assert over_gatt["outcome"] == "paid"
    ways = {
        event.fields["path"]
        for event in trial.events["mina-phone"]
        if event.event == "auth_code_received" and event.payment == over_gatt["payment"]
    }
    assert ways == {"gatt"}


def test_every_time_is_within_what_is_stated(trial: PlayedTrial) -> None:
    assert times_outside(trial) == []


def test_every_decision_comes_out_as_it_was(trial: PlayedTrial, tmp_path: Path) -> None:
    assert replayed_exactly(trial, tmp_path, {"lane-1"}) > 4
