"""The table of a run, from its document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fieldkit.car import play, radio_figures, table
from fieldkit.car.faults import FaultResult, in_tenths
from fieldkit.car.measures import RadioFigures
from fieldkit.car.play import Outcome
from fieldkit.legs import ENDS, Legs
from fieldkit.results import AuditCheck, JourneyResult

LEGS = dict.fromkeys(ENDS, 12.3) | {"settled": None, "total": None}
NOTED = {
    "code_change": {"first_sighting_ms": [40, 47, 74], "gap_ms": [100, 120, 140]},
    "recovery_s": {"scan_ended": 5.2},
}
RADIO = RadioFigures(80, 131.0, 152.4, 160, 420, 17, 1, [210, 190])


def outcome(**changes: Any) -> Outcome:
    payment = {
        "id": "p",
        "status": "captured",
        "amount": {"currency": "EUR"},
        "authorized_minor": 1,
        "captured_minor": 1,
    }
    journey = JourneyResult("coffee", "Coffee", payment, Legs(LEGS), [], "", [], [], 0, 1)
    fault = FaultResult("rfkill", "rfkill", "captured", "captured", "captured", 1.5, 0.3)
    parts: dict[str, Any] = {
        "journeys": [journey],
        "faults": [fault],
        "audit": [AuditCheck("sums", 3)],
    }
    return Outcome(**(parts | {"radio": RADIO} | changes))


def shown(found: Outcome, capsys: pytest.CaptureFixture[str]) -> str:
    table.show(found.to_json())
    return capsys.readouterr().out


def test_every_figure_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome().ok
    text = shown(outcome(), capsys)
    for words in ("coffee", "12", "–", "median 131.0 ms, p99 152.4 ms", "210 ms, 190 ms"):
        assert words in text
    for words in ("420 ms", "17 values, steps of 1 dB", "rfkill", "1.5 s", "0.3 s", "Audit: clean"):
        assert words in text


def test_what_the_tests_of_the_radio_measured_stands_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cars = [tmp_path / name for name in ("radios", "agents", "journeys")]
    for car, noted in zip(cars, (NOTED, {"doctor": "of no line"}, None), strict=True):
        car.mkdir()
        if noted:
            (car / radio_figures.FILE).write_text(json.dumps(noted))
    table.show(outcome().to_json() | radio_figures.measured(cars))
    told = capsys.readouterr().out
    assert "first sighting: median 47 ms, longest 74 ms" in told
    assert "recovery, scan ended: 5.2 s" in told
    assert radio_figures.measured(cars[2:]) == {}


def test_what_failed_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    lost = FaultResult("rfkill", "rfkill", "captured", failure="no beacon came back")
    failed = outcome(
        faults=[lost],
        audit=[AuditCheck("sums", 3, ["one is missing"])],
        radio=None,
    )
    assert not failed.ok
    text = shown(failed, capsys)
    for words in ("FAILED", "rfkill: no beacon came back", "Audit: sums: one is missing"):
        assert words in text
    assert "Audit: clean" not in text


def test_a_fault_that_failed_fails_the_run() -> None:
    lost = FaultResult("rfkill", "rfkill", failure="no beacon came back")
    assert not outcome(faults=[lost]).ok
    assert not Outcome().ok


@pytest.mark.parametrize(("took_s", "verdict", "code"), [(10.0, "ok", 0), (10.01, "FAILED", 3)])
def test_a_recovery_of_more_than_ten_seconds_fails_the_run_everywhere(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    took_s: float,
    verdict: str,
    code: int,
) -> None:
    """The table, the document and the exit code, of a run whose car is left out."""
    paid = ("captured",) * 3

    async def played(_playlist: object, _out: Path, found: Outcome, **_options: bool) -> None:
        found.journeys, found.audit = outcome().journeys, outcome().audit
        found.faults.append(FaultResult("rfkill", "all radios", *paid, in_tenths(took_s), 0.3))

    monkeypatch.setattr(play, "play", played)
    assert CliRunner().invoke(play.main, [str(tmp_path), "--faults"]).exit_code == code
    document = json.loads((tmp_path / play.DOCUMENT).read_text())
    (fault,) = document["faults"]
    told = "" if code == 0 else "recovery took 10.1 s, and may take 10 s"
    assert (document["ok"], fault["ok"], fault["failure"]) == (code == 0, code == 0, told)
    table.show(document)
    text = capsys.readouterr().out
    (row,) = [line for line in text.splitlines() if line.strip().startswith("all radios ")]
    assert row.split()[2] == verdict
    assert (f"all radios: {told}" in text) is (code != 0)
