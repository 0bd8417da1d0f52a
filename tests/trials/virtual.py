"""A trial that was played by the command that people use, and the truth about it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fieldkit.trace import TraceEvent, parse_line
from fieldkit.trials.alignment import Alignment, align
from fieldkit.trials.archive import Trial

OVERHEARD = Path(__file__).with_name("overheard.py")
#: For the longest day on a machine that has much else to do.
DEADLINE_S = 900


@dataclass(frozen=True)
class PlayedTrial:
    """``document``: of ``--json``; ``events``: by agent, as they are in the archive.

    ``states``: where the agents' state folders were kept, if they were; ``said``: what their
    commands said then.
    """

    archive: Path
    document: dict[str, Any]
    manifest: dict[str, Any]
    events: dict[str, list[TraceEvent]]
    states: Path | None = None
    said: str = ""

    @property
    def truth(self) -> dict[str, Any]:
        truth: dict[str, Any] = self.manifest["truth"]
        return truth

    def fault(self, name: str, machine: str) -> dict[str, Any]:
        """The only one of that name at that machine."""
        faults: list[dict[str, Any]] = self.truth["faults"]
        (found,) = (f for f in faults if (f["name"], f["machine"]) == (name, machine))
        return found

    def true_us(self, event: TraceEvent) -> int:
        """When it really happened. The machine of an agent has its name."""
        for mono_us, true_us, boot in self.truth["clock_offsets_us"][event.agent]:
            if boot == event.boot:
                return int(true_us + event.mono_ns // 1000 - mono_us)
        raise AssertionError(f"{event.agent} was never in boot {event.boot}")


def played(scenario: Path, folder: Path, *, kept: bool = False, on: str = "air") -> PlayedTrial:
    """Play ``scenario``; it must end well. ``kept``: the caller removes ``states``."""
    archive, document, said = folder / "day.trial", folder / "day.json", folder / "said"
    line = [sys.executable, *((str(OVERHEARD), str(said)) if kept else ("-m", "fieldkit"))]
    line += ["trial", "play", str(scenario), "--out", str(archive), "--json", str(document)]
    line += ["--on", on, *(["--keep"] if kept else [])]
    ended = subprocess.run(line, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    day = read(archive, document)
    if not kept:
        return day
    (states,) = re.findall(r"^States and logs are in (.+)$", ended.stderr, re.MULTILINE)
    return replace(day, states=Path(states), said=said.read_text())


def read(archive: Path, document: Path) -> PlayedTrial:
    """What has been played elsewhere."""
    with zipfile.ZipFile(archive) as opened:
        manifest = json.loads(opened.read("trial.json"))
        events: dict[str, list[TraceEvent]] = {}
        for name in sorted(n for n in manifest["files"] if n.endswith(".jsonl")):
            agent = name.split("/")[1]
            lines = opened.read(name).decode().splitlines()
            events.setdefault(agent, []).extend(parse_line(agent, line) for line in lines)
    return PlayedTrial(archive, json.loads(document.read_text()), manifest, events)


def times_outside(played: PlayedTrial) -> list[tuple[str, str, int, float]]:
    """Events whose true time is not within the uncertainty that the timeline states."""
    alignment = align(Trial.open(played.archive))
    assert alignment.statements == ()
    outside = []
    for agent, noted in played.events.items():
        for event in noted:
            found_us, within_us = alignment.at_us(agent, event.boot, event.mono_ns // 1000)
            error_us = abs(found_us - on_timeline_us(played, alignment, played.true_us(event)))
            # The truth and the answer are whole microseconds, of both clocks.
            if error_us > within_us + 3:
                outside.append((agent, event.event, error_us, within_us))
    return outside


def clocks_inside(report: dict[str, Any]) -> int:
    """How many clocks lie where a report states; all of which the truth is known must."""
    errors_ms = [clock["ms"] for clock in report["clock_truths"]]
    stated_ms = [clock["within_ns"][1] / 1e6 for clock in report["clocks"]]
    print(f"{len(errors_ms)} clocks: off by up to {max(errors_ms):.1f} ms", end="; ")
    print(f"stated: within up to {max(stated_ms):.1f} ms")
    assert all(clock["inside"] for clock in report["clock_truths"])
    return len(errors_ms)


def on_timeline_us(played: PlayedTrial, alignment: Alignment, true_us: int) -> int:
    """What the clock of the timeline showed at that true time."""
    readings = played.truth["clock_offsets_us"][alignment.reference.machine]
    ((mono_us, at_us),) = ((m, t) for m, t, boot in readings if boot == alignment.reference.boot)
    return int(mono_us + true_us - at_us)


def told_by(command: str, played: PlayedTrial, folder: Path, *more: str) -> dict[str, Any]:
    """What a command of the desk says of the archive to programs; it must end well."""
    document = folder / f"{command}.json"
    line = [sys.executable, "-m", "fieldkit", command, str(played.archive), *more]
    line += ["--json", str(document)]
    ended = subprocess.run(line, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found: dict[str, Any] = json.loads(document.read_text())
    return found


def replayed_exactly(
    played: PlayedTrial, folder: Path, lanes: Collection[str] = ("lane-1", "pump-3")
) -> int:
    """How many decisions of lanes come out as they were; all of them must."""
    found = told_by("replay", played, folder)
    every = [decision for lane in found["lanes"] for decision in lane["decisions"]]
    others = [decision for decision in every if decision["replayed"] != decision["recorded"]]
    assert (found["otherwise"], found["not_replayed"]) == (0, 0), others
    assert {lane["lane"] for lane in found["lanes"]} == set(lanes)
    return int(found["same"])
