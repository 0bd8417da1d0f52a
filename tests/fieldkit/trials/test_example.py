"""The recorded trial of the worked example: it opens, is whole, small, and reported as it was."""

from __future__ import annotations

import json
from pathlib import Path

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
    line = ["report", str(EXAMPLE), "--slow", "0.7", "--out", str(folder / "example.html")]
    return CliRunner().invoke(main, [*line, "--json", str(folder / "example.json")]), folder


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
    lines = [line for line in result.output.splitlines() if not line.startswith("Report: ")]
    told = DOCUMENT.read_text(encoding="utf-8")
    assert len(lines) >= 4
    for line in lines:
        assert line in told


def test_each_payment_is_that_of_the_car_which_stood_there(reported: tuple[Result, Path]) -> None:
    """Both cars hear both lanes."""
    _, folder = reported
    found = json.loads((folder / "example.json").read_text())
    jacks = {payment["payment"]: payment["jack"] for payment in found["payments"]}
    truth = Trial.open(EXAMPLE).truth
    assert truth is not None
    assert jacks == {paid["payment"]: f"{paid['car']}-jack" for paid in truth["payments"]}
    assert {row["decided"] for row in found["confusion"]} == {"right jack"}


def test_its_times_are_known_as_well_as_is_stated(reported: tuple[Result, Path]) -> None:
    _, folder = reported
    found = json.loads((folder / "example.json").read_text())
    assert len(found["clock_truths"]) == 8
    assert all(truth["inside"] for truth in found["clock_truths"])
