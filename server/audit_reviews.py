"""The auditor's check of what persons decided, and of what waits for them. Pure."""

from __future__ import annotations

from server.audit_records import Check, Records, Row

#: What the order of a decided review must have come to.
_OUTCOMES = {"carried_out": "succeeded", "not_carried_out": "refused"}


def check_reviews(check: Check, records: Records) -> None:
    """What waits is in the queue; what a person settled has a name, a reason and an outcome."""
    orders = {order["id"]: order for rows in records.outbox.values() for order in rows}
    for row_id, order in orders.items():
        _check_order(check, order, records.reviews.get(row_id, []))
    for row_id in records.reviews.keys() - orders.keys():
        check.findings.append(f"a review is of order {row_id}, which is not there")


def _check_order(check: Check, order: Row, reviews: list[Row]) -> None:
    name = f"{order['operation']} of payment {order['payment_id']}"
    check.objects += len(reviews)
    waiting = [review for review in reviews if review["decision"] is None]
    needs = order["state"] == "unknown" and order["reason"] == "needs_review"
    check.demand(len(waiting) == 1 or not needs, f"{name} needs a person and is not in the queue")
    for review in waiting:
        check.notes.append(f"{name} is review {review['id']}: {review['cause']}")
    settled = [review for review in reviews if review["decision"] in _OUTCOMES]
    by_person = order["state"] == "done" and order["reason"] == "not_carried_out"
    check.demand(bool(settled) or not by_person, f"{name}: nobody said that it was not carried out")
    for review in reviews:
        if review["decision"] is not None:
            named = str(review["decided_by"] or "").strip() and str(review["why"] or "").strip()
            check.demand(bool(named), f"review {review['id']} says not who decided it or why")
    for review in settled:
        told = (_OUTCOMES[review["decision"]], review["processor_reference"])
        stored = (order["outcome"], order["processor_reference"])
        check.demand(told == stored, f"review {review['id']} says {told}, {name} is {stored}")
