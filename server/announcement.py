"""Telling the world what was committed: the trace, the log, and whoever waits for it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from server.notifications import OUTBOX, Notifications, payment_topic, phone_topic
from server.payments import Change
from twochannel.trace import Trace

_log = logging.getLogger(__name__)

Announce = Callable[[Change], None]


class Announcer:
    """Call it with each ``Change`` after its commit, from the event loop."""

    def __init__(self, trace: Trace, notifications: Notifications) -> None:
        self._trace = trace
        self._notifications = notifications

    def __call__(self, change: Change) -> None:
        row = change.row
        fields = {"status": row.status, "operation": row.operation}
        self._trace.event("payment_status", row.id, **fields)
        _log.info("payment_status", extra={"payment": row.id, **fields})
        self._notifications.wake(payment_topic(row.id))
        self._notifications.wake(phone_topic(row.phone_id))
        if change.queued:
            self._notifications.wake(OUTBOX)
