"""``fieldkit report`` on archives as they are collected."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fieldkit.cli import main
from tests.fieldkit.trials.archives import packed
from tests.fieldkit.trials.machines import NS, Machine, Trip
from tests.fieldkit.trials.recordings import trip
from tests.fieldkit.trials.test_causes import FAILED, SLOW
from tests.fieldkit.trials.test_figures import heard, three


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    made = trip()
    three(made)
    return packed(made, tmp_path / "saturday.trial")


def report(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


def test_it_tells_what_happened_and_writes_the_page(archive: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = report(archive, "--out", page)
    assert result.exit_code == 0, result.output
    assert "1 of 3 payments succeeded (95 % interval 6.1% to 79.2%)" in result.output
    assert (
        "terminal-1 failed: No jack was heard strongly enough to be at the lane." in result.output
    )
    assert "1 of 3 payments succeeded" in page.read_text()


def test_the_page_is_named_after_the_trial(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert report(archive).exit_code == 0
    assert (tmp_path / "saturday-report.html").is_file()


def test_programs_get_figures_and_tables(archive: Path, tmp_path: Path) -> None:
    figures, tables = tmp_path / "figures.json", tmp_path / "tables"
    result = report(archive, "--out", tmp_path / "p.html", "--json", figures, "--csv", tables)
    assert result.exit_code == 0, result.output
    told = json.loads(figures.read_text())
    assert (told["trial"], told["success"]["of"]) == ("saturday", 3)
    names = {"payments.csv", "clocks.csv", "incidents.csv", "levels.csv", "events.csv"}
    assert {file.name for file in tables.iterdir()} == names


def test_another_trial_is_compared(archive: Path, tmp_path: Path) -> None:
    made = trip()
    SLOW["slow_gatt"][1](made)
    other = packed(made, tmp_path / "friday.trial")
    figures, page = tmp_path / "figures.json", tmp_path / "p.html"
    result = report(archive, "--against", other, "--out", page, "--json", figures)
    assert result.exit_code == 0, result.output
    assert json.loads(figures.read_text())["against"]["other"] == "friday"
    assert "Against friday" in page.read_text()


def test_slow_is_what_one_says_it_is(tmp_path: Path) -> None:
    made = trip()
    SLOW["slow_gatt"][1](made)
    archive = packed(made, tmp_path / "t.trial")
    page = tmp_path / "p.html"
    assert "came over Bluetooth" in report(archive, "--out", page).output
    assert "came over Bluetooth" not in report(archive, "--out", page, "--slow", "9").output


def test_faults_that_were_played_are_shown_where_they_lie(tmp_path: Path) -> None:
    made = trip()
    FAILED["jack_radio"][1](made)
    truth = {
        "clock_offsets_us": {"desk": [[1_000_000, 501_000_000, "boot-1"]]},
        "faults": [
            {
                "name": "adapter_unplugged",
                "machine": "car",
                "from_true_us": 510_000_000,
                "to_true_us": 520_000_000,
            }
        ],
        "at_lane": [
            {
                "lane": "terminal-1",
                "car": "mina",
                "jack": "jack-1",
                "from_true_us": 590_000_000,
                "to_true_us": 610_000_000,
            }
        ],
    }
    archive = packed(made, tmp_path / "t.trial", truth)
    figures = tmp_path / "f.json"
    assert report(archive, "--out", tmp_path / "p.html", "--json", figures).exit_code == 0
    told = json.loads(figures.read_text())
    (fault,) = [incident for incident in told["incidents"] if incident["kind"] == "fault"]
    assert (fault["at_ns"], fault["until_ns"]) == (10 * NS, 20 * NS)
    assert fault["text"] == "adapter unplugged, as played"
    (met,) = told["confusion"]
    assert met == {"truth": "a car with its jack", "decided": "none", "count": 1}


def test_a_boot_that_nothing_ties_is_told_as_unknown(tmp_path: Path) -> None:
    made = trip()
    three(made)
    made.machines["jack"] = Machine("car")
    made.note("jack", "agent_started", 50 * NS)
    figures = tmp_path / "f.json"
    archive = packed(made, tmp_path / "t.trial")
    assert report(archive, "--out", tmp_path / "p.html", "--json", figures).exit_code == 0
    clocks = {one["machine"]: one for one in json.loads(figures.read_text())["clocks"]}
    assert clocks["car"]["basis"] == "wall clock"
    assert clocks["car"]["within_ns"] == [None, None]
    assert "unknown" in (tmp_path / "p.html").read_text()


def test_what_else_happened_tells_how_well_its_time_is_known(tmp_path: Path) -> None:
    made = trip()
    three(made)
    made.note("server", "trial_marked", 40 * NS, trial="t", text="exact")
    made.machines["jack"] = Machine("car")
    made.note("jack", "trial_marked", 50 * NS, trial="t", text="somewhere")
    archive = packed(made, tmp_path / "t.trial")
    figures, tables = tmp_path / "f.json", tmp_path / "tables"
    line = (archive, "--out", tmp_path / "p.html", "--json", figures, "--csv", tables)
    assert report(*line).exit_code == 0
    told = json.loads(figures.read_text())
    assert told["format"] == 2
    assert {one["text"]: one["within_ns"] for one in told["incidents"]} == {
        "exact": 0,
        "somewhere": None,
    }
    with (tables / "incidents.csv").open(newline="") as file:
        rows = {row["text"]: row["within_ns"] for row in csv.DictReader(file)}
    assert rows == {"exact": "0.0", "somewhere": ""}


def test_blind_windows_tell_how_well_their_times_are_known(tmp_path: Path) -> None:
    made = trip()
    three(made)
    made.machines |= dict.fromkeys(("jack", "terminal"), Machine("car"))
    made.note("jack", "beacon_rotated", 40 * NS, handle="3f2a")
    for at_s in (50, 53):
        heard(made, at_s)
    figures, page = tmp_path / "f.json", tmp_path / "p.html"
    archive = packed(made, tmp_path / "t.trial")
    assert report(archive, "--out", page, "--json", figures).exit_code == 0
    (window,) = json.loads(figures.read_text())["blind_windows"]
    assert (window["to_ns"] - window["from_ns"], window["within_ns"]) == (3 * NS, None)
    (row,) = (row for row in page.read_text().split("<tr>") if "recording</td>" in row)
    assert '<span class="pm">unknown</span>' in row


def test_what_is_no_trial_is_refused_in_words(tmp_path: Path) -> None:
    other = tmp_path / "photo.trial"
    other.write_bytes(b"no zip")
    result = report(other)
    assert result.exit_code == 1
    assert "is no archive of a trial" in result.output


def test_a_trial_without_traces_is_refused_in_words(tmp_path: Path) -> None:
    result = report(packed(Trip({}), tmp_path / "empty.trial"))
    assert result.exit_code == 1
    assert "has no trace of any agent" in result.output


def test_a_page_that_cannot_be_written_is_told(archive: Path, tmp_path: Path) -> None:
    result = report(archive, "--out", tmp_path / "nowhere" / "p.html")
    assert result.exit_code == 1
    assert "cannot be written" in result.output
