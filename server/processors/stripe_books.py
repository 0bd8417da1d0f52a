"""What Stripe has booked of our payments, for the auditor: nothing of the adapter is used here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import stripe

Row = dict[str, Any]

_PAGE: Final = 100
#: States of an intent that stand for a charge of ours.
_STATES: Final = {"requires_capture": "held", "succeeded": "captured", "canceled": "voided"}


def read_stripe_books(key: str, url: str) -> dict[str, list[Row]]:
    """Charges and refunds with our mark, as the auditor has them, the oldest first.

    Reads the whole account, 100 objects at a time. Raises stripe.StripeError, LookupError,
    TypeError: what Stripe says cannot be read.
    """
    client = stripe.StripeClient(key, base_addresses={"api": url}, max_network_retries=2).v1
    intents = client.payment_intents.list({"limit": _PAGE})
    refunds = client.refunds.list({"limit": _PAGE})
    return {
        "charges": [_charge(intent) for intent in _marked(intents) if _is_charge(intent)],
        "booked_refunds": [_refund(r) for r in _marked(refunds) if r["status"] == "succeeded"],
    }


def _marked(page: stripe.ListObject[Any]) -> list[Row]:
    def every() -> Iterator[Row]:
        for item in page.auto_paging_iter():
            document = item.to_dict()
            if "key" in (document["metadata"] or {}):
                yield document

    return list(every())[::-1]


def _is_charge(intent: Row) -> bool:
    """An intent that was withdrawn before the card was asked holds nothing."""
    return intent["status"] in _STATES and bool(intent["latest_charge"])


def _charge(intent: Row) -> Row:
    return {
        "reference": intent["id"],
        "payment": intent["metadata"]["payment"],
        "token": f"{intent['customer']}/{intent['payment_method']}",
        "currency": intent["currency"].upper(),
        "authorized_minor": intent["amount"],
        "captured_minor": intent["amount_received"],
        "state": _STATES[intent["status"]],
    }


def _refund(refund: Row) -> Row:
    return {
        "reference": refund["id"],
        "charge": refund["payment_intent"],
        "payment": refund["metadata"]["payment"],
        "payment_id": refund["metadata"]["payment"],
        "currency": refund["currency"].upper(),
        "amount_minor": refund["amount"],
    }
