"""What is the case now, for all pages: who asks, and whether server and jack are there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final, Protocol

from phone_agent.approvals import Approvals
from phone_agent.family import Family
from phone_agent.identity import PhoneIdentity
from phone_agent.instructions import Instructions
from phone_agent.jack_care import JackCare
from phone_agent.ledger import KeptPayment, Ledger
from phone_agent.owners_view import PaymentView, payment_shown
from phone_agent.pairing_errand import PairingErrand, PairingState
from phone_agent.registration import Registration
from phone_agent.waiting_line import WaitingLine, arrange
from phone_agent.wallet import Wallet
from server.client import ServerClient
from twochannel.trial_notes import TrialNotes

#: Shown under the question, or in its place.
_RECENT: Final = 5


class PagedAgent(Protocol):
    """What the pages need of the running agent."""

    identity: PhoneIdentity
    server: ServerClient
    wallet: Wallet
    ledger: Ledger
    jacks: JackCare
    approvals: Approvals
    registration: Registration
    instructions: Instructions
    pairing: PairingErrand
    notes: TrialNotes
    connected: bool

    @property
    def family(self) -> Family: ...

    def problem(self) -> str | None: ...

    async def refresh(self) -> None: ...

    async def couple(self, method: str, jack: str) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Situation:
    """``version``: a name that differs whenever anything on a page would, time and levels aside."""

    line: WaitingLine
    connected: bool
    jacks: tuple[dict[str, Any], ...]
    recent: tuple[PaymentView, ...]
    pairing: PairingState

    @property
    def version(self) -> str:
        line, front = self.line, self.line.front
        asked = (front.payment, front.reason, front.presence) if front else None
        jacks = [jack | {"signal_dbm": None} for jack in self.jacks]
        parts = (asked, line.behind, self.connected, jacks, self.recent, self.pairing)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    @property
    def event(self) -> str:
        """``asked`` if the owner is, else ``changed``."""
        return "asked" if self.line.front and self.line.front.reason else "changed"


def situation(agent: PagedAgent) -> Situation:
    return Situation(
        arrange(agent.approvals.waiting()),
        agent.connected,
        tuple(agent.jacks.report()),
        tuple(map(shown, agent.ledger.payments(_RECENT))),
        agent.pairing.state,
    )


def shown(kept: KeptPayment) -> PaymentView:
    """A payment of the ledger, for a page."""
    return payment_shown(
        kept.id, kept.shown, kept.answer, received_ms=kept.received_ms, closed=kept.closed
    )
