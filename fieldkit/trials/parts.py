"""What one machine has recorded, carried by hand: made there, joined here (docs/recording.md)."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fieldkit.trials.archive import AgentRecord, Trial, TrialError
from fieldkit.trials.packing import COLLECTED, RINGS, Record, clocks, recordings
from twochannel.ring import pieces

#: A part is an archive of one machine.
SUFFIX: Final = ".part"
_PARTIES: Final = ("server", "jack", "phone", "terminal")
#: Of a file in a part: nothing else is taken out of it.
_FILE: Final = re.compile(r"(trace|adverts)(\.\d+)?\.(jsonl|btsnoop)", re.ASCII)
_UNNAMED: Final = re.compile(r"[^A-Za-z0-9._-]+", re.ASCII)


def recorded(machine: str, states: Sequence[Path]) -> list[Record]:
    """The agents that have recorded in ``states``. Raises TrialError if there is none."""
    collected = clocks()
    found = [
        Record(machine, _plain(state.name), party, recordings(state), collected)
        for state in states
        if (party := _party(state))
    ]
    if not found:
        raise TrialError(f"Nothing is recorded in {', '.join(map(str, states))}.")
    return found


def read(part: Path) -> list[Record]:
    """The agents of a part, with their recordings. Raises TrialError."""
    trial = Trial.open(part)
    with zipfile.ZipFile(part) as opened:
        return [
            Record(
                record.machine,
                record.agent,
                record.party,
                _files(opened, record),
                _collected(trial, record.machine),
            )
            for record in trial.agents
        ]


def _collected(trial: Trial, machine: str) -> Mapping[str, Any] | None:
    """The clocks that the machine noted when it made its part."""
    told = next(known for known in trial.machines if known["name"] == machine)
    return {name: told[name] for name in COLLECTED if name in told} or None


def _files(opened: zipfile.ZipFile, record: AgentRecord) -> dict[str, bytes]:
    folder = f"{record.machine}/{record.agent}/"
    inside = (name for name in opened.namelist() if name.startswith(folder))
    return {
        name.removeprefix(folder): opened.read(name)
        for name in inside
        if _FILE.fullmatch(name.removeprefix(folder))
    }


def _party(state: Path) -> str:
    """Whose trace lies in ``state``; empty if none does."""
    for _, file in pieces(state / RINGS[0]):
        with file.open("rb") as opened:
            line = opened.readline()
        try:
            members: Mapping[str, Any] = json.loads(line)
            party = str(members["party"])
        except (ValueError, KeyError, TypeError):
            continue
        if party in _PARTIES:
            return party
    return ""


def _plain(name: str) -> str:
    """A folder's name as it may stand in an archive."""
    return _UNNAMED.sub("-", name).strip("-.") or "agent"
