"""A day that was carried home on a stick, beside the same as its player packed it."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.trials.virtual import PlayedTrial

_DEADLINE_S: Final = 120


def carried(day: PlayedTrial, trial: str, stick: Path) -> Path:
    """What ``bundle`` takes from the agents' own state folders, joined by ``collect``."""
    assert day.states is not None
    machines = day.truth["clock_offsets_us"]
    for machine in machines:
        state = str(day.states / machine)
        _told("bundle", "--state", state, "--machine", machine, "--out", str(stick))
    parts = [word for machine in machines for word in ("--from", str(stick / f"{machine}.part"))]
    _told("collect", trial, *parts, "--out", str(stick / f"{trial}.trial"))
    return stick / f"{trial}.trial"


def _told(*command: str) -> None:
    """Run a command of the desk, which must end well."""
    line = [sys.executable, "-m", "fieldkit", *command]
    ended = subprocess.run(line, capture_output=True, text=True, check=False, timeout=_DEADLINE_S)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def last_lines_collected(day: PlayedTrial, collected: Path) -> Iterator[bytes]:
    """Of each agent's newest trace; all that was packed must be in what was collected."""
    with zipfile.ZipFile(collected) as brought, zipfile.ZipFile(day.archive) as packed:
        assert brought.namelist() == packed.namelist()
        files = sorted(packed.namelist()[1:])
        assert all(brought.read(name).startswith(packed.read(name)) for name in files)
        newest = {name.split("/")[1]: name for name in files if name.endswith(".jsonl")}
        for name in newest.values():
            yield brought.read(name).splitlines()[-1]


def assert_same_day(brought: dict[str, Any], packed: dict[str, Any]) -> None:
    """By two reports; what the player says that it did is in neither."""
    assert brought["success"] == packed["success"]
    assert brought["causes"] == packed["causes"]
    assert _bases(brought) == _bases(packed)
    assert set(_bases(brought).values()) == {"reference", "messages"}
    noted = [i for i in packed["incidents"] if i["kind"] != "fault"]
    assert _told_of(brought["incidents"]) == _told_of(noted)


def _bases(report: dict[str, Any]) -> dict[str, str]:
    return {clock["boot"]: clock["basis"] for clock in report["clocks"]}


def _told_of(incidents: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Without its times, which what was noted later may have made a little better known."""
    return sorted((i["kind"], i["agent"], re.sub(r"[0-9.]+ s", "", i["text"])) for i in incidents)
