"""Wake-ups of this process: who waits for a payment, a phone's events, the outbox.

A wake-up says "look again", never what is there: the database alone says that. Whoever waits
also looks again after a time-out, for another process may have written. Where servers share a
database ``server.relay`` brings the wake-ups of the others.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

OUTBOX: Final = "outbox"
#: Of those who wait for something to tell a merchant.
WEBHOOKS: Final = "webhooks"
#: Of those who watch all payments.
PAYMENTS: Final = "payments"


def payment_topic(payment_id: str) -> str:
    return f"payment:{payment_id}"


def phone_topic(phone_id: str) -> str:
    return f"phone:{phone_id}"


class Listener:
    """One waiting party. Nothing that happens after it began to listen is missed."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        #: Somebody newer listens in its place: whoever waits looks again and goes.
        self.replaced = False

    async def wait(self, timeout_s: float) -> None:
        """Return at the next wake-up since the last call, or after ``timeout_s``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        self._event.clear()

    def wake(self) -> None:
        self._event.set()


class Notifications:
    """Topics and who listens to them. For the event loop's thread alone."""

    def __init__(self) -> None:
        self._listeners: defaultdict[str, dict[Listener, None]] = defaultdict(dict)
        self.closed = False

    @contextmanager
    def listen(self, topic: str, at_most: int | None = None) -> Iterator[Listener]:
        """``at_most``: how many may listen to the topic; beyond that the oldest is replaced."""
        listener = Listener()
        self._listeners[topic][listener] = None
        if at_most is not None and len(self._listeners[topic]) > at_most:
            self._replace(next(iter(self._listeners[topic])), topic)
        try:
            yield listener
        finally:
            self._listeners[topic].pop(listener, None)
            if not self._listeners[topic]:
                del self._listeners[topic]

    def _replace(self, oldest: Listener, topic: str) -> None:
        del self._listeners[topic][oldest]
        oldest.replaced = True
        oldest.wake()

    def wake(self, topic: str) -> None:
        for listener in self._listeners.get(topic, ()):
            listener.wake()

    def listening(self, prefix: str) -> int:
        """How many listen to topics that begin so."""
        return sum(len(held) for topic, held in self._listeners.items() if topic.startswith(prefix))

    def listened(self, topic: str) -> bool:
        """Whether anybody listens to it here."""
        return topic in self._listeners

    def close(self) -> None:
        """The server stops: whoever waits looks again, finds it ``closed``, and goes."""
        self.closed = True
        for topic in tuple(self._listeners):
            self.wake(topic)
