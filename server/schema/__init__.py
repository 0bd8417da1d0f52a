"""The server's tables (SQLAlchemy Core). Constraints state the invariants that a database can.

Times end in ``_ms`` (Unix milliseconds) or ``_s`` (Unix seconds); amounts are integer minor units
of the payment's currency. Ids of devices are key thumbprints, ids of payments and statements
UUIDs. Rows of ``statements``, ``payment_events``, ``pairings`` and ``phone_events`` are written
once and never change. Private keys are in the key store, never here.
"""

from server.schema.columns import metadata
from server.schema.notices import failures, phone_events
from server.schema.orders import OPEN_ORDER, outbox, refunds
from server.schema.parties import (
    enrolment_codes,
    jacks,
    merchants,
    pairings,
    payment_methods,
    phones,
    terminals,
)
from server.schema.payments import ACTIVE, UNAPPROVED, payment_events, payments, statements

__all__ = [
    "ACTIVE",
    "OPEN_ORDER",
    "UNAPPROVED",
    "enrolment_codes",
    "failures",
    "jacks",
    "merchants",
    "metadata",
    "outbox",
    "pairings",
    "payment_events",
    "payment_methods",
    "payments",
    "phone_events",
    "phones",
    "refunds",
    "statements",
    "terminals",
]
