"""What the report says of the shipped ``first-day``, against what was really done to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fieldkit.cli import main
from tests.trials.virtual import PlayedTrial


@pytest.fixture(scope="module")
def told(first_day: PlayedTrial, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The document of ``--json``; what takes a second and more is slow."""
    folder = tmp_path_factory.mktemp("report")
    page, figures = folder / "page.html", folder / "figures.json"
    line = ["report", str(first_day.archive), "--out", str(page), "--json", str(figures)]
    result = CliRunner().invoke(main, [*line, "--slow", "1"])
    assert result.exit_code == 0, result.output
    assert Path(page).stat().st_size > 10_000
    document: dict[str, Any] = json.loads(figures.read_text())
    return document


def test_the_truth_is_within_the_stated_bounds_of_every_clock(
    told: dict[str, Any], first_day: PlayedTrial
) -> None:
    assert told["statements"] == []
    boots = {clock["boot"] for clock in told["clocks"]}
    assert boots == {e.boot for events in first_day.events.values() for e in events}
    assert {clock["basis"] for clock in told["clocks"]} == {"reference", "messages"}
    assert len(told["clock_truths"]) == len(boots) - 1
    assert all(truth["inside"] for truth in told["clock_truths"])
    # Half of the fastest way there and back over a loopback, on a machine that is busy.
    assert max(truth["ms"] for truth in told["clock_truths"]) < 250


def test_every_payment_is_told_with_its_outcome(
    told: dict[str, Any], first_day: PlayedTrial
) -> None:
    paid = {"authorized", "captured", "voided"}
    expected = sum(n for status, n in first_day.document["payments"].items() if status in paid)
    assert (told["success"]["count"], told["success"]["of"]) == (expected, 7)


def test_causes_are_those_that_were_played(told: dict[str, Any], first_day: PlayedTrial) -> None:
    causes = {payment["payment"]: payment["cause"] for payment in told["payments"]}
    silent = first_day.fault("owner_silent", "mina-phone")
    assert causes[silent["payment"]] == "owner_silent"
    over_gatt = {
        e.payment
        for e in first_day.events["mina-phone"]
        if e.event == "auth_code_received" and e.fields["path"] == "gatt"
    }
    assert over_gatt
    assert {causes[str(payment)] for payment in over_gatt} <= {"slow_gatt", "owner_declined"}
    assert "unexplained" not in causes.values()


def test_faults_are_found_in_the_traces(told: dict[str, Any]) -> None:
    texts = {(one["agent"], one["kind"]): one["text"] for one in told["incidents"]}
    assert texts["lane-1", "clock"] == "wall clock set back by 75.000 s"
    assert "went from unsynchronised to server" in texts["joon-jack", "clock"]
    assert "machine" in texts["joon-phone", "restart"]
    assert "agent started again" in texts["server", "restart"]


def test_lanes_chose_whoever_was_really_there(told: dict[str, Any]) -> None:
    assert {one["decided"] for one in told["confusion"]} <= {"right jack", "ambiguous", "none"}
    assert sum(one["count"] for one in told["confusion"]) == 7
