"""What became of the journeys of a demo, and the document that programs read. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fieldkit.legs import NAMES, Legs


@dataclass(frozen=True, slots=True)
class EvidenceStep:
    """One thing that ``evidence verify`` says the evidence shows.

    ``warning``: true, but not what one would wish for.
    """

    subject: str
    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class JourneyResult:
    """One journey as it ended.

    ``payment``: the payment resource of the server, None if there is none. ``checks``: what was
    found to hold, in words. ``failure``: what did not, empty if the journey ended as it must.
    ``statements``: compact, in the order in which the server accepted them.
    ``began_ns``, ``ended_ns``: CLOCK_MONOTONIC.
    """

    name: str
    title: str
    payment: Mapping[str, Any] | None
    legs: Legs
    checks: Sequence[str]
    failure: str
    statements: Sequence[str]
    evidence: Sequence[EvidenceStep]
    began_ns: int
    ended_ns: int

    @property
    def ok(self) -> bool:
        return not self.failure

    def to_json(self) -> dict[str, Any]:
        """As the issue of the demo's document defines it."""
        return {
            "name": self.name,
            "ok": self.ok,
            "payment": _payment(self.payment) if self.payment else None,
            "legs_ms": {leg: self.legs.legs_ms[leg] for leg in NAMES},
        }


@dataclass(frozen=True, slots=True)
class AuditCheck:
    """One invariant that the auditor checked on ``objects``; ``findings``: what breaks it."""

    title: str
    objects: int
    findings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class DemoResult:
    """All journeys, and what the auditor checked; no checks: the audit did not run."""

    journeys: Sequence[JourneyResult]
    audit: Sequence[AuditCheck]

    @property
    def findings(self) -> list[str]:
        """Whatever the auditor found, one sentence each."""
        return [f"{c.title}: {finding}" for c in self.audit for finding in c.findings]

    @property
    def clean(self) -> bool:
        """The auditor has checked, and found nothing."""
        return bool(self.audit) and not self.findings

    @property
    def ok(self) -> bool:
        """Every journey ended as it must, and the books are clean."""
        return self.clean and bool(self.journeys) and all(journey.ok for journey in self.journeys)

    def to_json(self) -> dict[str, Any]:
        """The document of ``fieldkit demo --json``."""
        return {"ok": self.ok, "journeys": [journey.to_json() for journey in self.journeys]}


def _payment(payment: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": payment["id"],
        "status": payment["status"],
        "currency": payment["amount"]["currency"],
        "authorized_minor": payment["authorized_minor"],
        "captured_minor": payment["captured_minor"],
    }
