"""Archives of trials: what is read, and how what cannot be read is told."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fieldkit.trials.archive import Advert, Trial, TrialError
from tests.fieldkit.trials.archives import line, packed
from tests.fieldkit.trials.recordings import pay, trip
from twochannel.radio.btsnoop import HEADER, Record, encode

AGENT = {"name": "lane-1", "party": "terminal", "module": "payment_device"}


def manifest(**changes: object) -> str:
    machines = [{"name": "lane-pi", "agents": [AGENT]}]
    told: dict[str, object] = {"format": 1, "trial": "t", "machines": machines, "files": {}}
    return json.dumps(told | changes)


def folder(path: Path, files: Mapping[str, bytes | str]) -> Path:
    """A trial that was unpacked."""
    for name, content in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def noted(event: str, mono_ns: int, boot: str = "a", **fields: Any) -> str:
    members = {
        "v": 1,
        "party": "terminal",
        "event": event,
        "payment": None,
        "mono_ns": mono_ns,
        "wall_ms": 0,
        "boot": boot,
        "clock": "system",
    }
    return json.dumps(members | fields) + "\n"


def record(unix_us: int, number: int) -> bytes:
    return encode(Record(unix_us, number - 1, "2A:01:02:03:04:05", True, 0xFEAA, b"\x30", -60))


def test_a_zip_and_a_folder_are_the_same(tmp_path: Path) -> None:
    made = trip()
    pay(made)
    archive = packed(made, tmp_path / "saturday.trial")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "unpacked")
    zipped, unpacked = Trial.open(archive), Trial.open(tmp_path / "unpacked")
    assert zipped == unpacked
    assert zipped.name == "saturday"
    events = {one.agent: [line(event) for event in one.events] for one in zipped.agents}
    assert events == {one.agent: [line(event) for event in one.events] for one in made.agents}


def test_pieces_are_read_in_order_and_the_one_being_written_last(tmp_path: Path) -> None:
    trial = Trial.open(
        folder(
            tmp_path,
            {
                "trial.json": manifest(),
                "lane-pi/lane-1/trace.jsonl": noted("third", 3),
                "lane-pi/lane-1/trace.000010.jsonl": noted("second", 2),
                "lane-pi/lane-1/trace.000009.jsonl": noted("first", 1),
                "lane-pi/lane-1/notes.txt": "no piece of a ring",
            },
        )
    )
    assert [event.event for event in trial.agents[0].events] == ["first", "second", "third"]


def test_what_a_power_cut_left_of_a_line_is_counted_and_left_out(tmp_path: Path) -> None:
    cut = noted("agent_started", 1) + noted("code_heard", 2)[:30]
    files = {"trial.json": manifest(), "lane-pi/lane-1/trace.000001.jsonl": cut}
    (agent,) = Trial.open(folder(tmp_path, files)).agents
    assert ([event.event for event in agent.events], agent.unreadable) == (["agent_started"], 1)


def test_runs_are_from_start_to_start(tmp_path: Path) -> None:
    lines = (
        noted("code_heard", 1),
        noted("agent_started", 2),
        noted("code_heard", 3),
        noted("agent_started", 1, boot="b"),
    )
    files = {"trial.json": manifest(), "lane-pi/lane-1/trace.jsonl": "".join(lines)}
    (agent,) = Trial.open(folder(tmp_path, files)).agents
    told = [(run.number, run.boot, len(run.events)) for run in agent.runs]
    assert told == [(1, "a", 1), (2, "a", 2), (3, "b", 1)]


def test_adverts_belong_to_the_run_that_recorded_them(tmp_path: Path) -> None:
    epoch_us = 1_800_000_000_000_000
    begun: dict[str, Any] = {"file": "adverts", "epoch_us": epoch_us}
    lines = (
        noted("agent_started", 1),
        noted("recording_begun", 1, piece=1, **begun),
        noted("agent_started", 2, boot="b"),
        noted("recording_begun", 2, boot="b", piece=3, **begun),
        noted("agent_started", 3, boot="c"),
    )
    pieces = {
        f"lane-pi/lane-1/adverts.{name}btsnoop": HEADER + record(epoch_us + mono_us, number)
        for name, mono_us, number in (("000001.", 10, 1), ("000002.", 20, 2), ("", 30, 1))
    }
    files = {"trial.json": manifest(), "lane-pi/lane-1/trace.jsonl": "".join(lines)}
    trial = Trial.open(folder(tmp_path, {**files, **pieces}))
    (agent,) = trial.agents
    heard = [[advert.mono_us for advert in trial.adverts(agent, run)] for run in agent.runs]
    assert heard == [[10, 20], [30], []]
    first = next(trial.adverts(agent, agent.runs[0]))
    assert first == Advert(10, "2A:01:02:03:04:05", 0xFEAA, b"\x30", -60, random_address=True)


def test_a_piece_that_is_no_recording_is_named(tmp_path: Path) -> None:
    lines = noted("agent_started", 1) + noted("recording_begun", 1, piece=1, epoch_us=0)
    files: dict[str, bytes | str] = {
        "trial.json": manifest(),
        "lane-pi/lane-1/trace.jsonl": lines,
        "lane-pi/lane-1/adverts.000001.btsnoop": b"no recording",
    }
    trial = Trial.open(folder(tmp_path, files))
    with pytest.raises(TrialError, match="Piece 1 of recorded adverts cannot be read"):
        list(trial.adverts(trial.agents[0], trial.agents[0].runs[0]))


def test_digests_are_checked(tmp_path: Path) -> None:
    name, content = "lane-pi/lane-1/trace.jsonl", noted("agent_started", 1)
    told = {name: {"bytes": len(content), "sha256": hashlib.sha256(content.encode()).hexdigest()}}
    path = folder(tmp_path, {"trial.json": manifest(files=told), name: content})
    assert len(Trial.open(path).agents[0].events) == 1
    folder(tmp_path, {name: content.replace("agent_started", "code_heard")})
    with pytest.raises(TrialError, match="is not as it was packed"):
        Trial.open(path)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("no JSON", "is malformed"),
        (manifest(format=2), "has format 2, which this fieldkit does not know"),
        (json.dumps({"format": 1}), "there is no 'machines'"),
        (json.dumps([1]), "is malformed"),
    ],
)
def test_what_is_no_manifest_is_refused_in_words(tmp_path: Path, told: str, message: str) -> None:
    with pytest.raises(TrialError, match=message):
        Trial.open(folder(tmp_path, {"trial.json": told}))


def test_what_is_no_archive_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "photo.trial").write_bytes(b"no zip")
    with pytest.raises(TrialError, match="is no archive of a trial, or was not copied whole"):
        Trial.open(tmp_path / "photo.trial")
    with pytest.raises(TrialError, match=r"there is no 'trial\.json'"):
        Trial.open(folder(tmp_path / "empty", {"other.txt": ""}))
    with pytest.raises(TrialError, match="cannot be read"):
        Trial.open(tmp_path / "nowhere.trial")
