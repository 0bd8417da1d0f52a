"""Reading the traces that agents write (docs/trace.md), finished or still growing, all pieces.

A growing trace is read as far as its last whole line; the rest is read when it is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from twochannel.ring import older, pieces
from twochannel.trace import SCHEMA_VERSION

FILE_NAME: Final = "trace.jsonl"
#: How often a growing file is looked at: a tenth of the shortest wait that a person notices.
_LOOK_EVERY_S: Final = 0.01
_MEMBERS: Final = {"v", "party", "event", "payment", "mono_ns", "wall_ms", "boot", "clock"}


class TraceError(Exception):
    """A line is not of this schema, or an event did not come in time. The text says which."""


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """One line. ``agent``: who wrote it, by name; ``fields``: what this event adds.

    ``mono_ns`` can be compared between agents of one machine, and only there.
    """

    agent: str
    party: str
    event: str
    payment: str | None
    mono_ns: int
    wall_ms: int
    boot: str
    clock: str
    fields: Mapping[str, Any] = field(default_factory=dict)


def parse_line(agent: str, line: str, shift_ns: int = 0) -> TraceEvent:
    """The event on one line, ``shift_ns`` later. Raises TraceError."""
    try:
        members = json.loads(line)
        if not isinstance(members, dict) or not set(members) >= _MEMBERS:
            raise TraceError(f"{agent}: a trace line lacks members: {line[:80]}")
        if members["v"] != SCHEMA_VERSION:
            raise TraceError(f"{agent}: trace schema {members['v']} is not known")
    except json.JSONDecodeError:
        raise TraceError(f"{agent}: not a trace line: {line[:80]}") from None
    return TraceEvent(
        agent=agent,
        party=members["party"],
        event=members["event"],
        payment=members["payment"],
        mono_ns=members["mono_ns"] + shift_ns,
        wall_ms=members["wall_ms"],
        boot=members["boot"],
        clock=members["clock"],
        fields={name: value for name, value in members.items() if name not in _MEMBERS},
    )


class TraceFile:
    """One agent's trace, followed while it grows. ``shift_ns``: from its clock to this one's."""

    def __init__(self, agent: str, path: Path, *, shift_ns: int = 0) -> None:
        self.agent = agent
        self._path = path
        self._shift_ns = shift_ns
        #: How far each piece, by its number, has been read.
        self._read: dict[int, int] = {}
        self._events: list[TraceEvent] = []

    def events(self) -> list[TraceEvent]:
        """All events so far, oldest first. Raises TraceError."""
        for number, path in pieces(self._path):
            with contextlib.suppress(FileNotFoundError):
                self._events += map(self._event, self._rest(number, path))
        return self._events

    def forget(self, before_ns: int) -> None:
        """Let go of what happened earlier, where nobody will ask for it."""
        self._events = [event for event in self._events if event.mono_ns >= before_ns]

    def _event(self, line: str) -> TraceEvent:
        return parse_line(self.agent, line, self._shift_ns)

    def _rest(self, number: int, path: Path) -> list[str]:
        """The whole lines of a piece that were not there before."""
        offset = self._read.get(number, 0)
        with path.open("rb") as file:
            if path == self._path and older(path, number).exists():
                return []  # it was turned since it was numbered, and is another piece now
            file.seek(offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read[number] = offset + len(whole)
        return whole.decode("utf-8").splitlines()

    def find(
        self,
        event: str,
        *,
        payment: str | None = None,
        after_ns: int = 0,
        where: Callable[[Mapping[str, Any]], bool] = lambda _fields: True,
    ) -> TraceEvent | None:
        """The first such event at or after ``after_ns``, or None."""
        for seen in self.events():
            if (
                seen.event == event
                and seen.mono_ns >= after_ns
                and payment in (None, seen.payment)
                and where(seen.fields)
            ):
                return seen
        return None

    async def wait(
        self,
        event: str,
        *,
        payment: str | None = None,
        after_ns: int = 0,
        where: Callable[[Mapping[str, Any]], bool] = lambda _fields: True,
        deadline_s: float = 20.0,
    ) -> TraceEvent:
        """``find``, waiting for it to be written. Raises TraceError after ``deadline_s``."""
        ends_at_s = time.monotonic() + deadline_s
        while True:
            found = self.find(event, payment=payment, after_ns=after_ns, where=where)
            if found is not None:
                return found
            if time.monotonic() >= ends_at_s:
                raise TraceError(f"{self.agent} did not report {event} within {deadline_s:g} s")
            await asyncio.sleep(_LOOK_EVERY_S)


def of_payment(events: Iterable[TraceEvent], payment: str) -> list[TraceEvent]:
    """The events of one payment, in the order in which they happened."""
    return sorted((e for e in events if e.payment == payment), key=lambda e: e.mono_ns)
