"""Simulated machines whose clocks differ and drift, and payments between them, with the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fieldkit.trace import TraceEvent
from fieldkit.trials.bounds import ClockId

NS: Final = 1_000_000_000
#: How long a clock keeps its drift.
SEGMENT_NS: Final = 60 * NS
#: 2026-11-26 in Unix milliseconds.
WALL_MS: Final = 1_795_651_200_000

#: Each step of a payment: the agent, what it notes, and whether a message was on its way before.
STEPS: Final[tuple[tuple[str, str, bool, dict[str, Any]], ...]] = (
    ("terminal", "charge_asked", False, {"amount_minor": 450, "currency": "EUR"}),
    ("terminal", "jack_chosen", False, {"jack": "3f2a", "rssi_dbm": -58, "others": 0}),
    ("terminal", "request_sent", False, {}),
    ("server", "request_received", True, {}),
    ("server", "challenge_issued", False, {}),
    ("phone", "challenge_received", True, {}),
    ("phone", "auth_code_asked", False, {}),
    ("jack", "challenge_received", True, {}),
    ("jack", "auth_code_signed", False, {"counter": 1, "presence": True}),
    ("phone", "auth_code_received", True, {"presence": True, "path": "wifi"}),
    ("phone", "decision", False, {"decision": "approve", "decided_by": "policy"}),
    ("phone", "confirmation_sent", False, {}),
    ("server", "confirmation_received", True, {"decision": "approve"}),
    ("server", "payment_confirmed", False, {}),
    ("server", "processor_called", False, {"operation": "charge", "attempt": 1}),
    ("server", "processor_answered", False, {"outcome": "approved"}),
    ("server", "payment_status", False, {"status": "captured", "operation": None}),
    ("phone", "confirmation_answered", True, {"status_code": 200}),
    ("terminal", "request_answered", True, {"status_code": 200}),
    ("terminal", "payment_settled", False, {"status": "captured"}),
)


@dataclass(frozen=True)
class Machine:
    """``rates_ppm``: by how much true time runs faster than this clock, minute by minute."""

    name: str
    offset_ns: int = 0
    rates_ppm: Sequence[float] = ()
    boot: str = "boot-1"

    @property
    def clock(self) -> ClockId:
        return ClockId(self.name, self.boot)

    def reads_ns(self, true_ns: int) -> int:
        """What its clock shows. The truth advances by 1 + rate where the clock advances by 1."""
        read_ns, left_ns = 0.0, float(true_ns)
        for rate in self.rates_ppm:
            length_ns = SEGMENT_NS * (1 + rate * 1e-6)
            if left_ns <= length_ns:
                return round(read_ns + left_ns / (1 + rate * 1e-6)) + self.offset_ns
            read_ns, left_ns = read_ns + SEGMENT_NS, left_ns - length_ns
        return round(read_ns + left_ns) + self.offset_ns


@dataclass
class Written:
    """The record of one agent. ``truths_ns``: when each event really happened."""

    machine: str
    agent: str
    party: str
    events: list[TraceEvent] = field(default_factory=list)
    truths_ns: list[int] = field(default_factory=list)


class Trip:
    """Writes what agents would, at true times. ``machines``: by party."""

    def __init__(self, machines: Mapping[str, Machine]) -> None:
        self.machines = dict(machines)
        self._written: dict[tuple[str, str], Written] = {}

    @property
    def agents(self) -> list[Written]:
        return list(self._written.values())

    def note(
        self,
        party: str,
        event: str,
        true_ns: int,
        payment: str | None = None,
        wall_ahead_ms: int = 0,
        **fields: Any,
    ) -> TraceEvent:
        machine = self.machines[party]
        record = self._written.setdefault(
            (machine.name, party), Written(machine.name, f"{party}-1", party)
        )
        noted = TraceEvent(
            agent=record.agent,
            party=party,
            event=event,
            payment=payment,
            mono_ns=machine.reads_ns(true_ns),
            wall_ms=WALL_MS + true_ns // 1_000_000 + wall_ahead_ms,
            boot=machine.boot,
            clock="system",
            fields=fields,
        )
        record.events.append(noted)
        record.truths_ns.append(true_ns)
        return noted

    def pay(
        self, payment: str, at_ns: int, delays_ns: Sequence[int], without: Sequence[str] = ()
    ) -> int:
        """A whole payment; ``delays_ns`` of its messages in turn. When it was over."""
        delays = iter(delays_ns)
        for party, event, message, fields in STEPS:
            at_ns += next(delays) if message else 1_000_000
            if party not in without:
                self.note(party, event, at_ns, payment, **fields)
        return at_ns
