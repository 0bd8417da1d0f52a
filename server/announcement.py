"""Telling the world what was committed: the trace, the log, and whoever waits for it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from server.notifications import (
    OUTBOX,
    PAYMENTS,
    WEBHOOKS,
    Notifications,
    payment_topic,
    phone_topic,
)
from server.payments import Change, asked_phones
from twochannel.trace import Trace

_log = logging.getLogger(__name__)

Announce = Callable[[Change], None]


class Announcer:
    """Call it with each ``Change`` after its commit, from the event loop."""

    def __init__(
        self,
        trace: Trace,
        notifications: Notifications,
        relay: Callable[[str], None] | None = None,
        count: Callable[[str], None] | None = None,
    ) -> None:
        """``relay``: tells other servers a topic that was woken here (``server.relay``).

        ``count``: is told each new status (``server.metrics``).
        """
        self._trace = trace
        self._notifications = notifications
        self._relay = relay
        self._count = count

    def __call__(self, change: Change) -> None:
        row = change.row
        fields = {"status": row.status, "operation": row.operation}
        self._trace.event("payment_status", row.id, **fields)
        if self._count is not None:
            self._count(row.status)
        _log.info("payment_status", extra={"payment": row.id, **fields})
        phones = map(phone_topic, asked_phones(row))
        for topic in (payment_topic(row.id), *phones, PAYMENTS):
            self._notifications.wake(topic)
            if self._relay is not None:
                self._relay(topic)
        if change.queued:
            self._notifications.wake(OUTBOX)
        if change.told:
            self._notifications.wake(WEBHOOKS)
