"""The payments of a trial: what was asked, what came of it, and how long it took. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fieldkit.legs import Legs, measure
from fieldkit.trials.timeline import Happening, Timeline

_NS_PER_MS: Final = 1_000_000
_PAID: Final = frozenset({"authorized", "captured", "voided"})


class Outcome(StrEnum):
    """``failed``: nobody wanted that. ``open``: no party knew an outcome when the record ends."""

    PAID = "paid"
    DECLINED = "declined by the owner"
    CANCELED = "canceled"
    FAILED = "failed"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One charge that a terminal was asked for.

    ``terminal``, ``jack``, ``phone``: agents, the last two empty if they cannot be told;
    ``terminal_machine``, ``jack_machine``: where they ran.
    ``status``: as far as any party knew it, or why nothing was asked of the server.
    ``thought_ms``: how long the owner took. ``within_ms``: the uncertainty of its times.
    """

    payment: str
    terminal: str
    jack: str
    phone: str
    terminal_machine: str
    jack_machine: str
    asked_ns: int
    ended_ns: int
    amount_minor: int
    currency: str
    outcome: Outcome
    status: str
    legs: Legs
    thought_ms: float
    within_ms: float
    own: tuple[Happening, ...]

    @property
    def worked_ms(self) -> float | None:
        """From question to outcome, without the time that the owner took."""
        total_ms = self.legs.total_ms
        return None if total_ms is None else round(total_ms - self.thought_ms, 1)

    @property
    def question(self) -> Happening:
        """The till's own event, by which it is an attempt."""
        return next(h for h in self.own if (h.party, h.name) == ("terminal", "charge_asked"))

    def first(self, party: str, name: str) -> Happening | None:
        """Its first event of that party and name."""
        return next((h for h in self.own if (h.party, h.name) == (party, name)), None)

    def last(self, party: str, name: str) -> Happening | None:
        """Its last event of that party and name."""
        return next((h for h in reversed(self.own) if (h.party, h.name) == (party, name)), None)


def attempts(timeline: Timeline) -> list[Attempt]:
    """All charges that terminals were asked for, oldest first."""
    found = []
    for payment, own in timeline.payments.items():
        asked = next((h for h in own if (h.party, h.name) == ("terminal", "charge_asked")), None)
        if asked is not None:
            jack = _agent(own, "jack") or _jack_by_code(own, timeline)
            heard = _lane_heard(own, jack, timeline)
            whole = sorted([*own, *heard], key=lambda happening: happening.at_ns)
            found.append(_attempt(payment, asked, jack, whole, timeline))
    return sorted(found, key=lambda attempt: attempt.asked_ns)


def _lane_heard(own: Sequence[Happening], jack: str, timeline: Timeline) -> list[Happening]:
    """When its jack first heard this payment's lane: it cannot know the payment yet.

    Jacks of other cars hear that lane as well. Any, where it is not known whose payment it is.
    """
    lanes = {h.field("lane") for h in own if h.name == "lane_broadcast"} - {None}
    heard = (h for h in timeline.named("lane_heard") if h.field("lane") in lanes)
    return [h for h in heard if not jack or h.agent == jack][:1]


def _attempt(
    payment: str, asked: Happening, jack: str, own: Sequence[Happening], timeline: Timeline
) -> Attempt:
    status = _status(own)
    settled = next((h for h in own if h.name == "payment_settled"), own[-1])
    return Attempt(
        payment=payment,
        terminal=asked.agent,
        jack=jack,
        phone=_agent(own, "phone"),
        terminal_machine=asked.clock.machine,
        jack_machine=timeline.machine(jack),
        asked_ns=asked.at_ns,
        ended_ns=settled.at_ns,
        amount_minor=int(asked.field("amount_minor") or 0),
        currency=str(asked.field("currency") or ""),
        outcome=_outcome(status, own),
        status=status,
        legs=_legs(own, payment),
        thought_ms=_thought_ms(own),
        within_ms=max(h.within_ns for h in own) / _NS_PER_MS,
        own=tuple(own),
    )


def _legs(own: Sequence[Happening], payment: str) -> Legs:
    """Between machines a short one may come out below nothing, by less than is known of it."""
    legs_ms = measure([h.event for h in own], payment).legs_ms
    return Legs({leg: None if ms is None else max(ms, 0.0) for leg, ms in legs_ms.items()})


def _status(own: Sequence[Happening]) -> str:
    """What the terminal learnt; else what the server had; else why nothing came of it."""
    for party, name, field in (
        ("terminal", "payment_settled", "status"),
        ("terminal", "jack_not_chosen", "reason"),
        ("server", "payment_status", "status"),
        ("terminal", "request_answered", "code"),
    ):
        for happening in reversed(own):
            if (happening.party, happening.name) == (party, name) and happening.field(field):
                return str(happening.field(field))
    return "unknown"


def _outcome(status: str, own: Sequence[Happening]) -> Outcome:
    if status in _PAID:
        return Outcome.PAID
    if status == "canceled":
        return Outcome.CANCELED
    decision = next((h for h in reversed(own) if h.name == "decision"), None)
    if status == "declined" and decision and decision.field("decided_by") == "owner":
        return Outcome.DECLINED
    ended = any(h.name in {"payment_settled", "jack_not_chosen"} for h in own)
    refused = any(h.name == "request_answered" and h.field("code") for h in own)
    return Outcome.FAILED if ended or refused else Outcome.OPEN


def _thought_ms(own: Sequence[Happening]) -> float:
    """Since the owner was last asked: a phone that restarts asks again, and that is no thinking."""
    decided = next((h for h in own if h.name == "decision"), None)
    if decided is None or decided.field("decided_by") != "owner":
        return 0.0
    prompts = [h for h in own if h.name == "prompt_shown" and h.at_ns <= decided.at_ns]
    asked = prompts[-1] if prompts else decided
    return round(max(decided.at_ns - asked.at_ns, 0) / _NS_PER_MS, 1)


def _agent(own: Sequence[Happening], party: str) -> str:
    return next((h.agent for h in own if h.party == party), "")


def _jack_by_code(own: Sequence[Happening], timeline: Timeline) -> str:
    """The jack that had the chosen code on the air; without a code, the only jack there is."""
    chosen = next((h for h in own if h.name == "jack_chosen"), None)
    if chosen is not None:
        rotated = [h for h in timeline.named("beacon_rotated") if h.at_ns <= chosen.at_ns]
        return next(
            (h.agent for h in reversed(rotated) if h.field("handle") == chosen.field("jack")), ""
        )
    jacks = [agent for agent, party in timeline.agents.items() if party == "jack"]
    return jacks[0] if len(jacks) == 1 else ""
