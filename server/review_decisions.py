"""What a person decides of an order, having looked at the processor, takes effect here.

Whoever decides is named with the reason, in the row of the review, in the same transaction that
settles the payment. The auditor compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, update

from server.calls import contradicts, finish, get_job, give_to_reconciler
from server.issuer import Issuer
from server.kinds import ReviewDecision
from server.processors.port import Approved, Outcome, Refused
from server.reviews import ReviewError, ReviewRow, get_review, show_review, undecided
from server.schema.reviews import reviews

_DECIDE: Final = update(reviews).where(reviews.c.id == bindparam("review"))

#: ``reason`` of a payment or refund whose order a person found not to have been carried out.
NOT_CARRIED_OUT: Final = ReviewDecision.NOT_CARRIED_OUT.value


@dataclass(frozen=True, slots=True)
class Verdict:
    """``reference``: the processor's, of what was carried out. ``by``, ``why``: for the record."""

    decision: ReviewDecision
    by: str
    why: str
    reference: str | None = None


def decide(
    connection: Connection, review_id: int, verdict: Verdict, issuer: Issuer, now_ms: int
) -> dict[str, Any]:
    """Let a verdict take effect; the review as it is then. Raises ReviewError, CodedError.

    Only what nobody knows can be settled, looked at again or given up; what was settled otherwise
    in the meantime can only be noted.
    """
    review = get_review(connection, review_id)
    if review.decision is not None:
        raise ReviewError(f"review {review_id} was decided by {review.decided_by} already")
    _check(review, verdict)
    job = get_job(connection, review.outbox_id)
    match verdict.decision:
        case ReviewDecision.CARRIED_OUT:
            outcome: Outcome = Approved(str(verdict.reference), review.amount_minor)
            if contradicts(job.order, outcome):
                raise ReviewError(
                    f"a {review.operation} keeps the processor's reference {review.charge}"
                )
            finish(connection, job, outcome, issuer, now_ms)
        case ReviewDecision.NOT_CARRIED_OUT:
            finish(connection, job, Refused(NOT_CARRIED_OUT), issuer, now_ms)
        case ReviewDecision.LOOK_AGAIN:
            give_to_reconciler(connection, job, now_ms)
        case ReviewDecision.NOTED:
            pass
    connection.execute(_DECIDE, _columns(review_id, verdict, now_ms))
    return show_review(connection, review_id)


def _check(review: ReviewRow, verdict: Verdict) -> None:
    noted = verdict.decision is ReviewDecision.NOTED
    if undecided(review) and noted:
        raise ReviewError("nobody knows what became of this order; say it, or look again")
    if not undecided(review) and not noted:
        raise ReviewError(
            f"the order is {review.state} by now; see that the processor agrees,"
            " or put it right, then note it"
        )


def _columns(review_id: int, verdict: Verdict, now_ms: int) -> dict[str, object]:
    return {
        "review": review_id,
        "decision": verdict.decision.value,
        "processor_reference": verdict.reference,
        "decided_by": verdict.by,
        "why": verdict.why,
        "decided_ms": now_ms,
    }
