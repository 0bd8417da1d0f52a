"""The recorded trial of the worked example: it opens, is whole, small, and reported as it was."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fieldkit.cli import main
from fieldkit.trials.archive import Trial
from fieldkit.trials.scenario import SCENARIOS_FOLDER, parse

EXAMPLE = SCENARIOS_FOLDER / "example.trial"
DOCUMENT = Path(__file__).parents[3] / "docs" / "field-trials.md"
MOST_BYTES = 300 * 1024


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    folder = tmp_path_factory.mktemp("example")
    line = ["report", str(EXAMPLE), "--slow", "0.7", "--json", "example.json"]
    with contextlib.chdir(folder):
        return CliRunner().invoke(main, line), folder


def test_it_is_small_and_whole() -> None:
    assert EXAMPLE.stat().st_size < MOST_BYTES
    trial = Trial.open(EXAMPLE)
    machines = {record.machine for record in trial.agents}
    assert machines >= {"server", "lane-1", "pump-3", "mina-jack", "joon-phone"}
    assert sum(len(record.events) for record in trial.agents) > 500
    assert trial.scenario is not None
    assert parse(trial.scenario).title == "A first day with two cars"


def test_its_lanes_have_recorded_what_they_heard() -> None:
    trial = Trial.open(EXAMPLE)
    for lane in ("lane-1", "pump-3"):
        (record,) = (one for one in trial.agents if one.agent == lane)
        (run,) = record.runs
        assert len(list(trial.adverts(record, run))) > 100
        assert any(event.event == "lane_decision" for event in run.events)


def test_the_document_shows_what_its_report_says(reported: tuple[Result, Path]) -> None:
    result, _ = reported
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    told = DOCUMENT.read_text(encoding="utf-8")
    assert len(lines) >= 4
    for line in lines:
        assert line in told


def found(reported: tuple[Result, Path]) -> dict[str, Any]:
    """The report for programs."""
    document: dict[str, Any] = json.loads((reported[1] / "example.json").read_text())
    return document


def truth() -> Mapping[str, Any]:
    told = Trial.open(EXAMPLE).truth
    assert told is not None
    return told


def test_each_payment_is_that_of_the_car_which_stood_there(reported: tuple[Result, Path]) -> None:
    """Both cars hear both lanes. Where a lane could not choose, the report cannot say of whom."""
    payments = found(reported)["payments"]
    jacks = {p["payment"]: p["jack"] for p in payments if p["cause"] != "ambiguous"}
    paid = {paid["payment"]: f"{paid['car']}-jack" for paid in truth()["payments"]}
    assert len(jacks) == len(paid) - 1 == len(jacks.items() & paid.items())
    decided = {row["decided"]: row["count"] for row in found(reported)["confusion"]}
    assert decided == {"right jack": len(jacks), "ambiguous": 1}


#: By fault: of which kind the incident is that tells of it, and how it is told.
TOLD = {
    "wifi_lost": ("wifi", "did not answer over Wi-Fi, though it was up; found again after"),
    # The power was cut before it came back.
    "radio_restarted": ("radio", "radio lost ("),
    "power_cut": ("restart", "machine lost its power or was reset, with no orderly end"),
    "clock_in_1970": ("clock", "56.9 years behind the server's"),
    "clock_stepped": ("clock", "wall clock set back by 75."),
    "server_restarted": ("restart", "agent was stopped and started again"),
}


def test_every_fault_that_was_played_is_told_of_its_machine(reported: tuple[Result, Path]) -> None:
    incidents = found(reported)["incidents"]
    faults = [fault for fault in truth()["faults"] if fault["name"] != "owner_silent"]
    assert {fault["name"] for fault in faults} == TOLD.keys()
    for fault in faults:
        kind, text = TOLD[fault["name"]]
        of_it = [i for i in incidents if (i["kind"], i["agent"]) == (kind, fault["machine"])]
        assert any(text in incident["text"] for incident in of_it), (fault, of_it)


def test_its_times_are_known_as_well_as_is_stated(reported: tuple[Result, Path]) -> None:
    truths = found(reported)["clock_truths"]
    assert len(truths) == 8
    assert all(truth["inside"] for truth in truths)
