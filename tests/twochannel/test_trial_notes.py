"""Notes of a trial: what is taken, what is refused, what lasts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.trace import Trace
from twochannel.trial_notes import FILE_NAME, MAX_TEXT, TrialNotes, Truth


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[Trace]:
    with Trace("terminal", tmp_path / "trace.jsonl", boot="b") as opened:
        yield opened


@pytest.fixture
def notes(trace: Trace, tmp_path: Path) -> TrialNotes:
    return TrialNotes(trace, tmp_path)


def noted(folder: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "trace.jsonl").read_text().splitlines())
    return [
        {name: line.get(name) for name in ("event", "trial", "text", "truth") if name in line}
        for line in lines
    ]


def test_a_trial_is_started_marked_and_stopped(notes: TrialNotes, tmp_path: Path) -> None:
    notes.start("monday-1")
    notes.start("monday-1")
    notes.mark(" car arrives ", Truth("lane-1", "joon"))
    notes.mark("it has left", Truth("lane-1", None))
    assert (notes.stop(), notes.trial) == ("monday-1", None)
    notes.mark("afterwards")
    there = {"kind": "at_lane", "lane": "lane-1", "jack": "joon", "present": True}
    gone = {"kind": "at_lane", "lane": "lane-1", "jack": None, "present": False}
    marked = {"event": "trial_marked", "trial": "monday-1"}
    assert noted(tmp_path) == [
        {"event": "trial_started", "trial": "monday-1"},
        marked | {"text": "car arrives", "truth": there},
        marked | {"text": "it has left", "truth": gone},
        {"event": "trial_stopped", "trial": "monday-1"},
        {"event": "trial_marked", "trial": None, "text": "afterwards", "truth": None},
    ]


def test_it_goes_on_after_a_restart(notes: TrialNotes, trace: Trace, tmp_path: Path) -> None:
    notes.start("monday-1")
    assert TrialNotes(trace, tmp_path).trial == "monday-1"
    notes.stop()
    assert TrialNotes(trace, tmp_path).trial is None


@pytest.mark.parametrize("kept", [b"", b"{", b"[]", b'{"trial": 5}', b'{"trial": "../x"}', b"\xff"])
def test_a_spoilt_file_counts_for_nothing(trace: Trace, tmp_path: Path, kept: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(kept)
    assert TrialNotes(trace, tmp_path).trial is None


@pytest.mark.parametrize("name", ["", "Monday", "../x", "a b", "a" * 41, "-x", "é"])
def test_a_name_is_one_that_a_file_can_have(notes: TrialNotes, name: str) -> None:
    with pytest.raises(CodedError) as refused:
        notes.start(name)
    assert refused.value.code is ErrorCode.CLAIM_INVALID


def test_one_trial_at_a_time(notes: TrialNotes) -> None:
    with pytest.raises(CodedError, match="no trial runs here"):
        notes.stop()
    notes.start("a")
    with pytest.raises(CodedError, match="trial a runs; stop it"):
        notes.start("b")
    assert notes.trial == "a"


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "\x1b[2J", "x" * (MAX_TEXT + 1)])
def test_a_mark_is_one_line(notes: TrialNotes, tmp_path: Path, text: str) -> None:
    with pytest.raises(CodedError):
        notes.mark(text)
    assert noted(tmp_path) == []


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"lane": "1"},
        {"lane": "", "jack": None},
        {"lane": "1", "jack": 5},
        {"lane": None, "jack": "j"},
        {"lane": "1", "jack": "j", "more": 1},
        ["lane", "jack"],
        "lane",
    ],
)
def test_half_a_truth_is_none(value: object) -> None:
    with pytest.raises(CodedError) as refused:
        Truth.read(value)
    assert refused.value.code is ErrorCode.CLAIM_INVALID
