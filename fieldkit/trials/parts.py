"""What one machine has recorded, carried by hand: made there, joined here (docs/recording.md)."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fieldkit.trials.archive import Trial, TrialError
from fieldkit.trials.packing import RINGS, Record
from twochannel.ring import pieces

#: A part is an archive of one machine.
SUFFIX: Final = ".part"
_MODULES: Final = {
    "server": "server",
    "jack": "cigarjack",
    "phone": "phone_agent",
    "terminal": "payment_device",
}
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*"
#: Of a file in a part: nothing else is taken out of it, and nothing outside its folder is written.
_FILE: Final = re.compile(rf"{_NAME}/{_NAME}/(trace|adverts)(\.\d+)?\.(jsonl|btsnoop)", re.ASCII)
_UNNAMED: Final = re.compile(r"[^A-Za-z0-9._-]+", re.ASCII)


def recorded(machine: str, states: Sequence[Path]) -> list[Record]:
    """The agents that have recorded in ``states``. Raises TrialError if there is none."""
    found = [
        Record(machine, _plain(state.name), _MODULES[party], state)
        for state in states
        if (party := _party(state))
    ]
    if not found:
        raise TrialError(f"Nothing is recorded in {', '.join(map(str, states))}.")
    return found


def join(part: Path, folder: Path) -> list[Record]:
    """Take ``part`` apart into ``folder``; its agents. Raises TrialError."""
    trial = Trial.open(part)
    with zipfile.ZipFile(part) as opened:
        for name in filter(_FILE.fullmatch, opened.namelist()):
            file = folder / name
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.write_bytes(opened.read(name))
    return [
        Record(record.machine, record.agent, _module(record.party, part), folder / name)
        for record in trial.agents
        for name in (f"{record.machine}/{record.agent}",)
        if _FILE.fullmatch(f"{name}/trace.jsonl")
    ]


def _module(party: str, part: Path) -> str:
    try:
        return _MODULES[party]
    except KeyError:
        raise TrialError(f"{part} holds an agent of a party that is not known: {party}.") from None


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
        if party in _MODULES:
            return party
    return ""


def _plain(name: str) -> str:
    """A folder's name as it may stand in an archive."""
    return _UNNAMED.sub("-", name).strip("-.") or "agent"
