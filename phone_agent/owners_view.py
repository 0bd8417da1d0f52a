"""What the pages and ``phone-agent watch`` show of payments, in the words of a person. Pure.

The texts are English and the keys of the catalogues in ``twochannel/pages/locale``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from phone_agent.consent import SENTENCES, Answer
from twochannel.pages.tones import Tone
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.payment import CaptureMode, Status
from twochannel.protocol.statements import DecidedBy, Decision

OUTCOMES: Final[dict[Status, tuple[Tone, str]]] = {
    Status.PENDING: (Tone.WAITING, "Waiting for an answer"),
    Status.CONFIRMED: (Tone.WAITING, "Approved, being paid"),
    Status.UNKNOWN: (Tone.WAITING, "Approved, the bank has not said yet"),
    Status.AUTHORIZED: (Tone.GOOD, "Approved, the amount is held"),
    Status.CAPTURED: (Tone.GOOD, "Paid"),
    Status.DECLINED: (Tone.CALM, "Declined"),
    Status.EXPIRED: (Tone.CALM, "Too late, nothing was paid"),
    Status.CANCELED: (Tone.CALM, "The merchant has cancelled"),
    Status.REFUSED: (Tone.BAD, "The bank has refused"),
    Status.VOIDED: (Tone.CALM, "Released, nothing was paid"),
}
SENDING: Final = "Sending your answer"
NOBODY_ANSWERED: Final = "Declined, because nobody answered in time"
OTHER_PHONE: Final = "Another phone of your jack has decided"
NOT_TAKEN: Final = "The server did not take your answer"

#: Who gave the answer.
BY: Final[dict[DecidedBy, str]] = {
    DecidedBy.OWNER: "You",
    DecidedBy.POLICY: "Your phone, by your limits",
    DecidedBy.TIMEOUT: "The clock",
}


#: How well a jack is heard, by the least level in dBm: -67 is what Wi-Fi is planned with for calls
#: (Cisco, "Site Survey Guidelines for WLAN Deployment"), and below -80 neither radio holds a link.
SIGNALS: Final = ((-67, "good"), (-80, "weak"), (-1000, "very weak"))


def signal_text(level_dbm: int) -> str:
    """The level as a person would say it."""
    return next(text for least_dbm, text in SIGNALS if level_dbm >= least_dbm)


#: Where a payment is only after an approval.
_APPROVED: Final = (
    Status.CONFIRMED,
    Status.AUTHORIZED,
    Status.CAPTURED,
    Status.UNKNOWN,
    Status.REFUSED,
    Status.VOIDED,
)


@dataclass(frozen=True, slots=True)
class PaymentView:
    """A payment as a page shows it. Texts are for the catalogue; ``Any`` is None where not known.

    ``value_minor``: what was paid in the end, else what was asked for.
    """

    id: str
    tone: Tone
    outcome: str
    merchant: str
    lane: str
    value_minor: int
    currency: str
    asked_minor: int
    is_maximum: bool
    authorized_minor: int
    captured_minor: int
    refunded_minor: int
    match_code: str
    reference: str
    description: str
    received_ms: int
    by: str | None
    why: str | None


def payment_shown(
    ident: str,
    shown: Mapping[str, Any],
    answer: Answer | None,
    *,
    received_ms: int,
    closed: str | None,
) -> PaymentView:
    """``shown``: the payment as the server shows it; ``closed``: see ledger.KeptPayment."""
    status = Status(shown["status"])
    tone, outcome = _outcome(status, answer, closed)
    amount = shown["amount"]
    captured_minor = int(shown.get("captured_minor") or 0)
    return PaymentView(
        id=ident,
        tone=tone,
        outcome=outcome,
        merchant=str((shown.get("merchant") or {}).get("name", "")),
        lane=str(shown.get("lane") or ""),
        value_minor=captured_minor or int(amount["value"]),
        currency=str(amount["currency"]),
        asked_minor=int(amount["value"]),
        is_maximum=shown.get("capture") == CaptureMode.MANUAL,
        authorized_minor=int(shown.get("authorized_minor") or 0),
        captured_minor=captured_minor,
        refunded_minor=int(shown.get("refunded_minor") or 0),
        match_code=str(shown.get("match_code") or ""),
        reference=str(shown.get("reference") or ""),
        description=str(shown.get("description") or ""),
        received_ms=received_ms,
        by=BY[answer.decided_by] if answer else None,
        why=SENTENCES[answer.reason] if answer else None,
    )


def _outcome(status: Status, answer: Answer | None, closed: str | None) -> tuple[Tone, str]:
    if _by_another(status, answer, closed):
        return Tone.CALM, OTHER_PHONE
    if closed is not None and closed.startswith("refused"):
        return Tone.BAD, NOT_TAKEN
    timed_out = answer is not None and answer.decided_by is DecidedBy.TIMEOUT
    if timed_out and status in (Status.PENDING, Status.DECLINED):
        return Tone.CALM, NOBODY_ANSWERED
    if answer is not None and status is Status.PENDING:
        if closed is not None and answer.decision is Decision.DECLINE:
            return OUTCOMES[Status.DECLINED]
        return Tone.WAITING, SENDING
    return OUTCOMES[status]


def _by_another(status: Status, answer: Answer | None, closed: str | None) -> bool:
    """Another phone of the jack has decided: this one was not answered, too late, or declined."""
    if closed is not None and closed.endswith(ErrorCode.SETTLED_BY_OTHER_PHONE):
        return True
    if answer is None:
        return status in _APPROVED or status is Status.DECLINED
    return answer.decision is Decision.DECLINE and status in _APPROVED
