"""The owner's policy: when the phone may answer for its owner, and when it must ask. Pure.

Automatic approval needs all of it: the owner has it on, the jack heard the lane, the merchant is on
the owner's list, the amount is within that merchant's limit in that very currency, and within the
owner's own limits for one payment and for 24 hours, as far as these are set. For manual capture the
amount counts as what it is: the maximum that may be taken (docs/protocol.md, Who checks what).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.payment import CaptureMode
from twochannel.protocol.statements import Challenge, DecidedBy, Decision, Presence

#: A decline by time-out leaves this long before the challenge expires: a slow mobile network
#: needs about two seconds for a fresh connection and the request.
ANSWER_MARGIN_S: Final = 3.0
#: Any 24 hours: a calendar's day would let twice the limit pass around midnight.
DAY_MS: Final = 24 * 3600 * 1000


class Action(StrEnum):
    APPROVE = "approve"
    ASK = "ask"
    DECLINE = "decline"


class Reason(StrEnum):
    """Why the policy, the owner or the clock decided, or why the owner is asked."""

    WITHIN_LIMIT = "within_limit"
    ABOVE_LIMIT = "above_limit"
    ABOVE_PAYMENT_LIMIT = "above_payment_limit"
    ABOVE_DAY_LIMIT = "above_day_limit"
    AUTOMATIC_OFF = "automatic_off"
    CURRENCY_WITHOUT_LIMIT = "currency_without_limit"
    MERCHANT_UNKNOWN = "merchant_unknown"
    METHOD_MISSING = "method_missing"
    PRESENCE_MISSING = "presence_missing"
    PRESENCE_REQUIRED = "presence_required"
    JACK_REFUSED = "jack_refused"
    JACK_UNREACHABLE = "jack_unreachable"
    OWNER_ANSWERED = "owner_answered"
    OWNER_SILENT = "owner_silent"


#: What the owner reads about a reason.
SENTENCES: Final[dict[Reason, str]] = {
    Reason.WITHIN_LIMIT: "The amount is within your limit for this merchant.",
    Reason.ABOVE_LIMIT: "The amount is above your limit for this merchant.",
    Reason.ABOVE_PAYMENT_LIMIT: "The amount is above your limit for one payment.",
    Reason.ABOVE_DAY_LIMIT: "With this payment your limit for 24 hours would be passed.",
    Reason.AUTOMATIC_OFF: "You have switched automatic approval off.",
    Reason.CURRENCY_WITHOUT_LIMIT: "You have set no limit in this currency for this merchant.",
    Reason.MERCHANT_UNKNOWN: "This merchant is not on your list.",
    Reason.METHOD_MISSING: "You have no payment method yet; add one before you approve.",
    Reason.PRESENCE_MISSING: "Your jack does not hear this lane.",
    Reason.PRESENCE_REQUIRED: "The merchant wants your jack to hear the lane, and it does not.",
    Reason.JACK_REFUSED: "Your jack refused the challenge.",
    Reason.JACK_UNREACHABLE: "Your jack could not be reached in time.",
    Reason.OWNER_ANSWERED: "You answered.",
    Reason.OWNER_SILENT: "Nobody answered in time.",
}

#: Answers of the jack that another try cannot change. Everything else may pass.
_FINAL_REFUSALS: Final = frozenset(
    {
        ErrorCode.AUDIENCE_WRONG,
        ErrorCode.CHALLENGE_REFUSED,
        ErrorCode.CHAIN_BROKEN,
        ErrorCode.EPOCH_OUTDATED,
        ErrorCode.ISSUER_WRONG,
        ErrorCode.KEY_UNKNOWN,
        ErrorCode.SIGNATURE_INVALID,
    }
)


@dataclass(frozen=True, slots=True)
class Rules:
    """The owner's rules for all merchants together, in minor units by currency.

    ``automatic``: whether anything is approved without the owner. ``payment_minor``,
    ``day_minor``: the most for one payment, and for what was approved without the owner within
    24 hours; a currency that is not there has no such limit.
    """

    automatic: bool = True
    payment_minor: Mapping[str, int] = field(default_factory=dict)
    day_minor: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policy says to a challenge, and why."""

    action: Action
    reason: Reason


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision ready to be signed: what, by whom, why."""

    decision: Decision
    decided_by: DecidedBy
    reason: Reason


def judge(
    challenge: Challenge,
    *,
    presence: bool,
    limits_minor: Mapping[str, int],
    has_method: bool,
    rules: Rules = Rules(),
    spent_minor: int = 0,
) -> Verdict:
    """The policy's verdict once the auth code is there.

    ``presence``: the auth code proves that the jack heard this lane. ``limits_minor``: the
    owner's limit for one payment at this merchant, in minor units by currency; empty for a
    merchant that the owner has not allowed. ``has_method``: there is a method to pay with.
    ``spent_minor``: approved without the owner within 24 hours, in the challenge's currency.
    """
    if not presence:
        required = challenge.presence is Presence.REQUIRE
        return (
            Verdict(Action.DECLINE, Reason.PRESENCE_REQUIRED)
            if required
            else Verdict(Action.ASK, Reason.PRESENCE_MISSING)
        )
    if not has_method:
        return Verdict(Action.ASK, Reason.METHOD_MISSING)
    reason = _over(challenge, limits_minor, rules, spent_minor)
    if reason is not None:
        return Verdict(Action.ASK, reason)
    return Verdict(Action.APPROVE, Reason.WITHIN_LIMIT)


def _over(
    challenge: Challenge, limits_minor: Mapping[str, int], rules: Rules, spent_minor: int
) -> Reason | None:
    """The first limit that the amount is not within."""
    if not rules.automatic:
        return Reason.AUTOMATIC_OFF
    if not limits_minor:
        return Reason.MERCHANT_UNKNOWN
    value, currency = challenge.amount.value, challenge.amount.currency
    bounds = (
        (value, limits_minor.get(currency), Reason.ABOVE_LIMIT),
        (value, rules.payment_minor.get(currency), Reason.ABOVE_PAYMENT_LIMIT),
        (spent_minor + value, rules.day_minor.get(currency), Reason.ABOVE_DAY_LIMIT),
    )
    if currency not in limits_minor:
        return Reason.CURRENCY_WITHOUT_LIMIT
    return next((why for sum_, most, why in bounds if most is not None and sum_ > most), None)


def policy_answer(verdict: Verdict) -> Answer | None:
    """The answer that needs no owner, or None if the owner must be asked."""
    if verdict.action is Action.ASK:
        return None
    return Answer(Decision(verdict.action.value), DecidedBy.POLICY, verdict.reason)


def refusal_answer(code: ErrorCode) -> Answer | None:
    """The answer when the jack refused with ``code``, or None if another try may succeed.

    Without an auth code nothing can be approved, so a final refusal is a decline at once.
    """
    if code not in _FINAL_REFUSALS:
        return None
    return Answer(Decision.DECLINE, DecidedBy.POLICY, Reason.JACK_REFUSED)


def owner_answer(decision: Decision) -> Answer:
    """The owner's own word."""
    return Answer(decision, DecidedBy.OWNER, Reason.OWNER_ANSWERED)


def late_answer(*, has_auth_code: bool) -> Answer:
    """The answer when the time is up: always a decline."""
    reason = Reason.OWNER_SILENT if has_auth_code else Reason.JACK_UNREACHABLE
    return Answer(Decision.DECLINE, DecidedBy.TIMEOUT, reason)


def answer_time_s(challenge: Challenge, now_s: float, prompt_s: float) -> float:
    """How long an answer may take from ``now_s`` on (Unix seconds of the server), 0 or more.

    ``prompt_s``: the owner's own bound on the life of a question.
    """
    return max(0.0, min(challenge.exp - ANSWER_MARGIN_S - now_s, prompt_s))


def question(challenge: Challenge, *, presence: bool, reason: Reason) -> str:
    """What the owner is shown, one fact a line. Names in it come from the server's registry."""
    amount = (
        f"up to {challenge.amount}"
        if challenge.capture is CaptureMode.MANUAL
        else str(challenge.amount)
    )
    lines = [
        f"{challenge.merchant.name} asks for {amount} at {challenge.lane}.",
        f"Match code: {challenge.match_code}",
        "Your jack hears this lane." if presence else "Your jack does NOT hear this lane.",
    ]
    if challenge.capture is CaptureMode.MANUAL:
        lines.append("The amount is a maximum: it is held now, and what is taken is never more.")
    if reason not in (Reason.PRESENCE_MISSING, Reason.PRESENCE_REQUIRED):
        lines.append(SENTENCES[reason])
    return "\n".join(lines)
