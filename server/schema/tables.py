"""All tables together: the metadata once every module of this package has told it its own."""

from __future__ import annotations

from server.schema import admins, journal, notices, orders, parties, payments, reviews, webhooks
from server.schema.columns import metadata

__all__ = [
    "admins",
    "journal",
    "metadata",
    "notices",
    "orders",
    "parties",
    "payments",
    "reviews",
    "webhooks",
]
