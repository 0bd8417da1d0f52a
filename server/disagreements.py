"""What the processor says by now of orders that are done, against what is recorded of them.

It may take back what it said: a refund fails at the owner's bank, a hold is released there. Money
and receipts stay as they are; a person decides. Every function is a part of a transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select

from server.calls import Job, contradicts, get_job
from server.kinds import OutboxState
from server.kinds import Outcome as Result
from server.processors.port import Approved, Outcome, ProcessorError, Refused
from server.reviews import open_review
from server.schema.orders import outbox
from server.schema.reviews import reviews

_ORDERS: Final = (
    select(outbox).where(outbox.c.payment_id == bindparam("payment")).order_by(outbox.c.id)
)
_TOLD: Final = select(reviews.c.id).where(
    reviews.c.outbox_id == bindparam("row"), reviews.c.cause == bindparam("cause")
)


@dataclass(frozen=True, slots=True)
class Found:
    """What a look-up of an order that is done came to; None: the processor does not know it.

    ``said``: an error only if it is for a person.
    """

    job: Job
    said: Outcome | ProcessorError | None


def done_jobs(connection: Connection, payment_id: str) -> list[Job]:
    """The orders that say how a payment stands: what was last done to its charge, and refunds.

    Nothing of the charge while something is under way with it: that is going to be answered.
    """
    return [get_job(connection, row.id) for row in _standing(connection, payment_id)]


def note_found(connection: Connection, found: Sequence[Found], now_ms: int) -> list[str]:
    """Put what disagrees into the queue, each cause once; the causes that are new.

    Not what has been gone on with since it was looked up.
    """
    causes = []
    for each in found:
        standing = {row.id: row for row in _standing(connection, each.job.payment_id)}
        row = standing.get(each.job.row_id)
        if row is None or _agrees(each, row):
            continue
        cause = _cause(each.said)
        if connection.execute(_TOLD, {"row": row.id, "cause": cause}).first() is None:
            open_review(connection, row.id, cause, now_ms)
            causes.append(cause)
    return causes


def _standing(connection: Connection, payment_id: str) -> list[Any]:
    rows = connection.execute(_ORDERS, {"payment": payment_id}).all()
    refunds = [row for row in rows if row.refund_id is not None and _done(row)]
    of_charge = [row for row in rows if row.refund_id is None]
    if not all(map(_done, of_charge)):
        return refunds
    carried_out = [row for row in of_charge if row.outcome == Result.SUCCEEDED.value]
    return (carried_out or of_charge)[-1:] + refunds


def _done(row: Any) -> bool:
    return bool(row.state == OutboxState.DONE.value)


def _agrees(found: Found, row: Any) -> bool:
    """Of what was refused it does not matter why, or whether anything of it was kept."""
    match found.said:
        case Approved(reference):
            same = (row.outcome, row.processor_reference) == (Result.SUCCEEDED.value, reference)
            return same and not contradicts(found.job.order, found.said)
        case Refused() | None:
            return bool(row.outcome == Result.REFUSED.value)
        case _:
            return False


def _cause(said: Outcome | ProcessorError | None) -> str:
    match said:
        case Approved(reference):
            return f"the processor says by now that it was carried out as {reference}"
        case Refused(reason):
            return f"the processor says by now that it was not carried out or released: {reason}"
        case None:
            return "the processor says by now that it has not carried it out"
        case _:
            return str(said)
