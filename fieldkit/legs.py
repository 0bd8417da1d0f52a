"""The legs of a payment: how long each part of the way took. Pure.

All agents of a demo share one machine, hence one CLOCK_MONOTONIC. A leg runs from the end of the
one before it to the first event that ends it::

    charge_asked -> heard -> requested -> challenged -> auth_code -> confirmed -> settled
     (terminal)   (terminal)  (server)     (phone)       (phone)     (server)    (terminal)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fieldkit.trace import TraceEvent, of_payment

START: Final = ("terminal", "charge_asked")

#: Leg -> the events of a party that end it. A payment that the owner declined, or that nobody
#: answered, is not confirmed, but it is decided there.
ENDS: Final[dict[str, frozenset[tuple[str, str]]]] = {
    "heard": frozenset({("terminal", "jack_chosen")}),
    "requested": frozenset({("server", "request_received")}),
    "challenged": frozenset({("phone", "challenge_received")}),
    "auth_code": frozenset({("phone", "auth_code_received")}),
    "confirmed": frozenset(
        {("server", "payment_confirmed"), ("server", "declined"), ("server", "expired")}
    ),
    "settled": frozenset({("terminal", "payment_settled")}),
}
NAMES: Final = (*ENDS, "total")

_UNCONFIRMED: Final = frozenset({"declined", "expired", "canceled"})
_NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Legs:
    """Milliseconds of each leg by name, None for one that never ended, and of all together."""

    legs_ms: dict[str, float | None]

    @property
    def total_ms(self) -> float | None:
        return self.legs_ms["total"]


def measure(events: Iterable[TraceEvent], payment: str) -> Legs:
    """The legs of ``payment`` from the traces of all its parties."""
    own = of_payment(events, payment)
    started_ns = next((e.mono_ns for e in own if (e.party, e.event) == START), None)
    legs_ms: dict[str, float | None] = dict.fromkeys(NAMES)
    if started_ns is None:
        return Legs(legs_ms)
    reached_ns = started_ns
    for leg, ends in ENDS.items():
        ended_ns = next((e.mono_ns for e in own if _key(e) in ends), None)
        if ended_ns is not None:
            legs_ms[leg] = _ms(ended_ns - reached_ns)
            reached_ns = ended_ns
    if legs_ms["settled"] is not None:
        legs_ms["total"] = _ms(reached_ns - started_ns)
    return Legs(legs_ms)


def _key(event: TraceEvent) -> tuple[str, str]:
    """The party and event; a state change that ends a payment unconfirmed goes by its status."""
    status = event.fields.get("status")
    if event.event == "payment_status" and status in _UNCONFIRMED:
        return event.party, str(status)
    return event.party, event.event


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / _NS_PER_MS, 1)
