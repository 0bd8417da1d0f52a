"""PURE. What the doctor finds: checks, rows, and a report for people and programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

#: Of a report without a failing row, and with one. Wrong usage is 2, as everywhere.
FINE: Final = 0
FAILED: Final = 1

T = TypeVar("T")
#: What was measured, in the unit of the check.
Value = bool | int | float | str | None


class State(StrEnum):
    """``warning``: works, but worse or less long than it should. ``failing``: does not work.

    ``unknown``: could not be read, the row says why. ``not_applicable``: means nothing here.
    """

    OK = "ok"
    WARNING = "warning"
    FAILING = "failing"
    NOT_APPLICABLE = "not_applicable"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Unread:
    """A reading that could not be had. ``reason``: a clause for the user."""

    reason: str


@dataclass(frozen=True, slots=True)
class Absent:
    """A reading that means nothing on this machine. ``reason``: a clause for the user."""

    reason: str


Missing = Unread | Absent


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that was tried and failed. ``what``: found; ``do``: what helps, or ""."""

    what: str
    do: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is looked at. ``name`` never changes once it is released.

    ``unit``: of the row's value, or "". ``means``: why it matters. ``do``: what helps, unless a
    row knows better.
    """

    name: str
    title: str
    looked_at: str
    expected: str
    means: str
    do: str
    unit: str = ""

    def ok(self, found: str, value: Value = None) -> Row:
        return Row(self, State.OK, found, value, "")

    def warning(self, found: str, value: Value = None, do: str = "") -> Row:
        return Row(self, State.WARNING, found, value, do or self.do)

    def failing(self, found: str, value: Value = None, do: str = "") -> Row:
        return Row(self, State.FAILING, found, value, do or self.do)

    def missing(self, why: Missing) -> Row:
        state = State.UNKNOWN if isinstance(why, Unread) else State.NOT_APPLICABLE
        return Row(self, state, why.reason, None, "")


@dataclass(frozen=True, slots=True)
class Row:
    """What was found of a check. ``do`` is empty unless something should be done."""

    check: Check
    state: State
    found: str
    value: Value
    do: str

    def members(self) -> dict[str, Any]:
        """As ``--json`` has it (docs/doctor.md)."""
        return {
            "check": self.check.name,
            "title": self.check.title,
            "state": self.state.value,
            "looked_at": self.check.looked_at,
            "found": self.found,
            "value": self.value,
            "unit": self.check.unit or None,
            "expected": self.check.expected,
            "do": self.do or None,
        }


def judged(check: Check, reading: T | Refused | Missing, rule: Callable[[T], Row]) -> Row:
    """The row of a reading by ``rule``; one that is missing or was refused says itself why."""
    if isinstance(reading, Refused):
        return check.failing(reading.what, do=reading.do)
    return check.missing(reading) if isinstance(reading, Unread | Absent) else rule(reading)


def exit_code(rows: Sequence[Row]) -> int:
    """1 if anything fails. A warning or something unknown is no failure."""
    return FAILED if any(row.state is State.FAILING for row in rows) else FINE


def members(agent: str, agent_running: bool, rows: Sequence[Row]) -> dict[str, Any]:
    """The report for programs (docs/doctor.md)."""
    return {
        "agent": agent,
        "agent_running": agent_running,
        "ok": exit_code(rows) == FINE,
        "rows": [row.members() for row in rows],
    }


_SHOWN: Final = {
    State.OK: "ok",
    State.WARNING: "warning",
    State.FAILING: "FAILING",
    State.UNKNOWN: "unknown",
}


def applicable(rows: Sequence[Row]) -> list[Row]:
    """Those that mean something on this machine."""
    return [row for row in rows if row.state is not State.NOT_APPLICABLE]


def cells(row: Row) -> tuple[str, str, str]:
    """An applicable row in a table for people."""
    return _SHOWN[row.state], row.check.title, row.found


def advice(row: Row) -> list[str]:
    """The lines that stand below the row."""
    if not row.do:
        return []
    return [f"expected: {row.check.expected}", f"do: {row.do}"]


def left_out(rows: Sequence[Row]) -> list[str]:
    """A line for each reason why checks mean nothing here."""
    titles: dict[str, list[str]] = {}
    for row in rows:
        if row.state is State.NOT_APPLICABLE:
            titles.setdefault(row.found, []).append(row.check.title)
    return [f"n/a: {', '.join(those)}: {reason}" for reason, those in titles.items()]


def summary(rows: Sequence[Row]) -> str:
    """The last line for people."""
    count = Counter(row.state for row in rows)
    failing = count[State.FAILING]
    return (
        f"{f'{failing} failing' if failing else 'Nothing fails'}; "
        f"{count[State.WARNING]} with a warning, {count[State.OK]} ok, "
        f"{count[State.UNKNOWN]} unknown, {count[State.NOT_APPLICABLE]} not applicable."
    )
