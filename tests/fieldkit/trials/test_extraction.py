"""A case made of one recorded payment, and the test that is made of it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fieldkit.trials.extraction import (
    Expectation,
    ExtractionError,
    extract,
    module_name,
    module_text,
)
from fieldkit.trials.lane_case import CaseError, LaneCase, load
from fieldkit.trials.lane_recording import LaneRecording, Outcome
from tests.fieldkit.trials.lane_streets import A, B, C, recorded, standing, with_hole

PAYMENT, OTHER = "0199aaaa-0000-7000-8000-00000000c0fe", "0199aaaa-0000-7000-8000-00000000beef"
TRACE = [{"agent": "lane-1", "event": "charge_asked", "payment": PAYMENT}]


def paid(recording: LaneRecording, **payments: str) -> LaneRecording:
    """The same, with decisions (``d`` and its number) made for payments."""
    decisions = list(recording.decisions)
    for name, payment in payments.items():
        number = int(name[1:])
        decisions[number] = replace(decisions[number], asked="charge", payment=payment)
    return replace(recording, decisions=decisions)


def crossing() -> LaneRecording:
    """A car that has stood there for long, another that comes by, a third long before."""
    street = recorded(
        standing(C, -50, 0, 20), standing(A, -60, 40, 120), standing(B, -64, 110, 120)
    )
    return paid(street, d100=OTHER, d470=PAYMENT, d475=OTHER)


@pytest.fixture
def case() -> LaneCase:
    return extract("parking", [crossing()], PAYMENT, TRACE)


def test_a_case_is_short_and_decides_as_the_whole(case: LaneCase) -> None:
    recording = crossing()
    assert case.decided() == recording.decisions[470].answer
    assert case.decided().outcome is Outcome.AMBIGUOUS
    # The whole has C's visit too, and A's from its beginning.
    assert len(case.adverts) < 300 < recording.adverts


def test_a_case_keeps_handles_and_no_code_and_no_other_payment(case: LaneCase) -> None:
    assert {advert.code.hex()[:4] for advert in case.adverts} == {"aaaa", "bbbb"}
    assert A.hex() not in case.to_text()
    assert {decision.payment for decision in case.decisions} == {None, PAYMENT}
    assert OTHER not in case.to_text()
    assert case.trace == TRACE


def test_a_case_is_read_as_it_was_written(case: LaneCase, tmp_path: Path) -> None:
    (tmp_path / "case.json").write_text(case.to_text(), encoding="utf-8")
    assert load(tmp_path / "case.json") == case


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "no case"),
        ("{", "no case"),
        ('{"format": 7}', "format 7"),
        ('{"format": 1, "trial": "x"}', "no case"),
    ],
)
def test_what_is_no_case_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "case.json").write_text(text, encoding="utf-8")
    with pytest.raises(CaseError, match=said):
        load(tmp_path / "case.json")
    with pytest.raises(CaseError, match="cannot be read"):
        load(tmp_path / "none.json")


def test_another_lane_and_codes_with_one_handle_stay_apart() -> None:
    twin = A[:2] + bytes(6)
    recording = recorded(standing(A, -60, 0, 20), standing(twin, -62, 0, 20))
    told = replace(
        recording.decisions[-1],
        elsewhere={twin.hex()[:6]: 30.0},
        payment=PAYMENT,
        answer=replace(recording.decisions[-1].answer, outcome=Outcome.CHOSEN),
    )
    case = extract("t", [replace(recording, decisions=[told])], PAYMENT, [])
    assert str(case.decided()) == "chosen aaaa"
    assert len({advert.code for advert in case.adverts}) == 2


def test_a_payment_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ExtractionError, match=OTHER):
        extract("parking", [crossing()], "0199", TRACE)
    with pytest.raises(ExtractionError, match="none at all"):
        extract("parking", [], "0199", TRACE)


def test_a_decision_behind_a_hole_is_refused() -> None:
    with pytest.raises(ExtractionError, match="not recorded"):
        extract("parking", [with_hole(crossing(), 800, 1400)], PAYMENT, TRACE)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("chosen:aaaa", Expectation(Outcome.CHOSEN, "aaaa")),
        ("ambiguous", Expectation(Outcome.AMBIGUOUS)),
        ("none", Expectation(Outcome.NONE)),
    ],
)
def test_what_is_wanted_can_be_said(text: str, wanted: Expectation) -> None:
    assert Expectation.parse(text) == wanted


@pytest.mark.parametrize("text", ["", "chosen", "chosen:", "chosen:AAAA", "none:aaaa", "all"])
def test_what_nobody_can_want_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write chosen:HANDLE"):
        Expectation.parse(text)


def made(case: LaneCase, wanted: Expectation, folder: Path) -> Path:
    file = folder / f"{module_name(case)}.py"
    file.write_text(module_text(case, wanted), encoding="utf-8")
    file.with_suffix(".json").write_text(case.to_text(), encoding="utf-8")
    return file


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_the_made_test_runs_as_it_is(case: LaneCase, tmp_path: Path) -> None:
    file = made(case, Expectation.of(case.decided()), tmp_path)
    assert file.name == "test_lane_1_0000c0fe.py"
    for arguments in (["ruff", "check"], ["ruff", "format", "--check"], ["pytest"]):
        ended = run(*arguments, file)
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_made_test_fails_while_the_wanted_answer_is_not_given(
    case: LaneCase, tmp_path: Path
) -> None:
    ended = run("pytest", made(case, Expectation.parse("chosen:aaaa"), tmp_path))
    assert ended.returncode == 1
    assert "ambiguous (equally_near: aaaa, bbbb)" in ended.stdout
