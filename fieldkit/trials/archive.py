"""The archive of a trial: ``NAME.trial``, a zip of what agents recorded, or a folder laid out so.

::

    trial.json                                   who is in it, and of each file its size and digest
    <machine>/<agent>/trace.000001.jsonl …       pieces of the rings, as they are
    <machine>/<agent>/adverts.000001.btsnoop …

What an agent wrote last before a power cut may be cut short; lines that cannot be read are counted
and left out.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from fieldkit.trace import TraceError, TraceEvent, parse_line
from twochannel.radio.btsnoop import BtsnoopError, decode

FORMAT: Final = 1
MANIFEST: Final = "trial.json"
SUFFIX: Final = ".trial"
_PIECE: Final = re.compile(r"(?P<ring>trace|adverts)(?:\.(?P<number>\d{6,}))?\.(?:jsonl|btsnoop)")
#: The piece that is written now comes after all that have a number.
_NEWEST: Final = 10**9


class TrialError(Exception):
    """The archive cannot be read. The text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Advert:
    """One advert as it was received. ``mono_us``: CLOCK_MONOTONIC of its boot."""

    mono_us: int
    address: str
    service_uuid: int
    service_data: bytes = field(repr=False)
    rssi_dbm: int
    random_address: bool


@dataclass(frozen=True, slots=True)
class Run:
    """From one start of an agent to the next. ``number`` counts from 1; ``boot`` is the kernel's.

    ``events`` of the first run may lack its beginning, when the ring has turned.
    """

    number: int
    boot: str
    events: tuple[TraceEvent, ...] = field(repr=False)

    def find(self, event: str) -> TraceEvent | None:
        """The first event of that name."""
        return next((seen for seen in self.events if seen.event == event), None)


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """What one agent wrote: ``events`` in the order of its files. ``unreadable``: lost lines."""

    machine: str
    agent: str
    party: str
    events: tuple[TraceEvent, ...] = field(repr=False)
    runs: tuple[Run, ...] = field(repr=False)
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Trial:
    """``truth`` and ``scenario``: of a virtual trial, what really happened and what was played."""

    name: str
    machines: tuple[Mapping[str, Any], ...]
    agents: tuple[AgentRecord, ...]
    truth: Mapping[str, Any] | None = None
    scenario: str | None = None
    #: By machine and agent, the pieces of recorded adverts by their numbers.
    _adverts: Mapping[tuple[str, str], Mapping[int, bytes]] = field(
        default_factory=dict, repr=False
    )

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read a zip or a folder. Raises TrialError."""
        files = _folder(path) if path.is_dir() else _zip(path)
        manifest = _manifest(path, files)
        traces: dict[tuple[str, str], dict[int, bytes]] = {}
        adverts: dict[tuple[str, str], dict[int, bytes]] = {}
        for name, data in files.items():
            *_, machine, agent, file = ("", "", *name.split("/"))
            kind, number = piece_of(file)
            if kind:
                ring = traces if kind == "trace" else adverts
                ring.setdefault((machine, agent), {})[number] = data
        agents = (
            agent_record(
                machine["name"],
                agent["name"],
                agent["party"],
                traces.get((machine["name"], agent["name"]), {}),
            )
            for machine in manifest["machines"]
            for agent in machine["agents"]
        )
        return cls(
            str(manifest["trial"]),
            tuple(manifest["machines"]),
            tuple(agents),
            manifest.get("truth"),
            manifest.get("scenario"),
            {key: _numbered(pieces) for key, pieces in adverts.items()},
        )

    def adverts(self, record: AgentRecord, run: Run) -> Iterator[Advert]:
        """What was recorded of the adverts of a run, in order. Raises TrialError."""
        return (advert for _, advert in self.numbered_adverts(record, run))

    def numbered_adverts(self, record: AgentRecord, run: Run) -> Iterator[tuple[int, Advert]]:
        """The same with each advert's number in its run, from 1. Raises TrialError."""
        begun = run.find("recording_begun")
        if begun is None:
            return
        pieces = self._adverts.get((record.machine, record.agent), {})
        first, ends = int(begun.fields["piece"]), _next_piece(record, run)
        for number in sorted(pieces):
            if first <= number < ends:
                yield from _adverts(pieces[number], int(begun.fields["epoch_us"]), number)


def _adverts(piece: bytes, epoch_us: int, number: int) -> Iterator[tuple[int, Advert]]:
    try:
        for held, record in enumerate(decode(piece)):
            yield (
                record.dropped + held + 1,
                Advert(
                    record.unix_us - epoch_us,
                    record.address,
                    record.service_uuid,
                    record.service_data,
                    record.rssi_dbm,
                    record.random_address,
                ),
            )
    except BtsnoopError as error:
        raise TrialError(f"Piece {number} of recorded adverts cannot be read: {error}.") from None


def _next_piece(record: AgentRecord, run: Run) -> int:
    """The first piece of the next run that recorded."""
    for later in record.runs:
        begun = later.find("recording_begun") if later.number > run.number else None
        if begun is not None:
            return int(begun.fields["piece"])
    return _NEWEST + 1


def _zip(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as opened:
            return {name: opened.read(name) for name in opened.namelist()}
    except OSError as error:
        raise TrialError(f"{path} cannot be read: {error.strerror or error}.") from None
    except zipfile.BadZipFile:
        raise TrialError(f"{path} is no archive of a trial, or was not copied whole.") from None


def _folder(path: Path) -> dict[str, bytes]:
    files = (file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


def _manifest(path: Path, files: Mapping[str, bytes]) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(files[MANIFEST])
        if manifest["format"] != FORMAT:
            raise TrialError(
                f"{path} has format {manifest['format']}, which this fieldkit does not know."
            )
        for name, told in manifest.get("files", {}).items():
            digest = hashlib.sha256(files[name]).hexdigest() if name in files else ""
            if digest != told["sha256"]:
                raise TrialError(f"{path}: {name} is not as it was packed. Copy the archive again.")
        [agent["party"] for machine in manifest["machines"] for agent in machine["agents"]]
    except KeyError as error:
        raise TrialError(f"{path} is no archive of a trial: there is no {error}.") from None
    except (ValueError, TypeError):
        raise TrialError(f"{path} is no archive of a trial: {MANIFEST} is malformed.") from None
    return manifest


def _numbered(pieces: Mapping[int, bytes]) -> dict[int, bytes]:
    """The piece without a number has the next."""
    known = sorted(number for number in pieces if number != _NEWEST)
    newest = (known[-1] if known else 0) + 1
    return {newest if n == _NEWEST else n: data for n, data in sorted(pieces.items())}


def piece_of(file: str) -> tuple[str, int]:
    """By the name of a file its ring, ``trace`` or ``adverts``, and its number; else ``""``, 0."""
    found = _PIECE.fullmatch(file)
    return (found["ring"], int(found["number"] or _NEWEST)) if found else ("", 0)


def agent_record(machine: str, agent: str, party: str, pieces: Mapping[int, bytes]) -> AgentRecord:
    """What an agent wrote, from the pieces of its trace by their numbers."""
    events, unreadable = [], 0
    for _, piece in sorted(pieces.items()):
        for line in piece.decode("utf-8", "replace").splitlines():
            try:
                events.append(parse_line(agent, line))
            except TraceError:
                unreadable += bool(line.strip())
    runs = tuple(_runs(events))
    return AgentRecord(machine, agent, party, tuple(events), runs, unreadable)


def _runs(events: Sequence[TraceEvent]) -> Iterator[Run]:
    starts = [place for place, seen in enumerate(events) if seen.event == "agent_started"]
    bounds = sorted({0, *starts, len(events)})
    for number, (begins, ends) in enumerate(itertools.pairwise(bounds), start=1):
        yield Run(number, events[begins].boot, tuple(events[begins:ends]))
