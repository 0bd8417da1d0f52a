"""What a Prometheus server may ask: counted here as it happens, read from the database when asked.

Served on a listener of its own (``metrics_host``, ``metrics_port``): the door for devices faces
strangers, and how much a merchant sells is none of their business. Loaded only if it is asked for.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy import Connection, func, select
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.journal import tail_of
from server.processors.port import Processor, ProcessorError
from server.schema.orders import OPEN_ORDER, outbox
from server.schema.payments import ACTIVE, payments, statements
from server.schema.webhooks import QUEUED, webhook_deliveries
from server.services import Services
from server.store import StoreError
from twochannel.metrics.figures import Figures

#: Seconds. Reads take one or two milliseconds, signed writes ten, a wait up to 55 s.
_REQUEST_BUCKETS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
#: Seconds. A card processor answers in a second or so; ten are its time-out here.
_PROCESSOR_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30)
_ASKED: Final = ("charge", "capture", "void", "refund", "lookup")


class Metrics:
    """The figures of one running server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        #: Of the process and its machine, from the trace.
        self.condition = Figures("server", registry=self.registry)
        made = functools.partial(self._made)
        self._requests = made(
            Counter, "requests", "Requests that were answered", ("method", "route", "status")
        )
        self._request_seconds = made(
            Histogram, "request_seconds", "Seconds until the answer had gone", ("route",)
        )
        self._changes = made(
            Counter, "payment_changes", "Changes of payments announced here", ("status",)
        )
        self._processor_seconds = made(
            Histogram, "processor_seconds", "Seconds of a call", ("operation", "outcome")
        )
        self._open_payments = made(
            Gauge, "open_payments", "Payments that are not over", ("status",)
        )
        self._outbox = made(Gauge, "outbox_orders", "Orders that are not done", ("state",))
        self._outbox_age = made(
            Gauge, "outbox_oldest_seconds", "Age of the oldest order that is not done"
        )
        self._webhooks = made(Gauge, "webhook_queue", "Webhooks that are to be sent")
        self._journal = made(Gauge, "journal_waiting", "Statements without an entry yet")
        self._streams = made(Gauge, "event_streams", "Streams of events that phones hold here")
        self._waits = made(Gauge, "waits", "Requests that wait for a payment's outcome here")
        self._writer = made(
            Gauge, "writer_queue", "Transactions that wait for this server's writer"
        )
        self._ready = made(Gauge, "database_up", "1 if the database answered just now")

    def _made(self, kind: Any, name: str, told: str, labels: tuple[str, ...] = ()) -> Any:
        options: dict[str, Any] = {"registry": self.registry, "namespace": "cigarjack"}
        if kind is Histogram:
            buckets = _PROCESSOR_BUCKETS if "processor" in name else _REQUEST_BUCKETS
            options["buckets"] = buckets
        return kind(name, told, labels, **options)

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """See ``server.traffic.Observer``."""
        self._requests.labels(method, route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def count_change(self, status: str) -> None:
        self._changes.labels(status).inc()

    def measured(self, processor: Processor) -> Processor:
        """The same processor, whose calls are timed."""
        return cast(Processor, _Measured(processor, self._observe_call))

    def _observe_call(self, operation: str, outcome: str, seconds: float) -> None:
        self._processor_seconds.labels(operation, outcome).observe(seconds)

    async def text(self, services: Services) -> bytes:
        """All figures as Prometheus reads them."""
        self._streams.set(services.notifications.listening("phone:"))
        self._waits.set(services.notifications.listening("payment:"))
        self._writer.set(services.store.queued)
        try:
            server, now_ms = services.issuer.server_id, services.now_ms()
            await services.store.read(lambda c: self._read(c, server, now_ms))
            self._ready.set(1)
        except StoreError:
            self._ready.set(0)
        return generate_latest(self.registry)

    def _read(self, connection: Connection, server_id: str, now_ms: int) -> None:
        self._open_payments.clear()
        counted = select(payments.c.status, func.count()).where(ACTIVE)
        for status, count in connection.execute(counted.group_by(payments.c.status)):
            self._open_payments.labels(status).set(count)
        self._outbox.clear()
        open_orders = select(outbox.c.state, func.count()).where(OPEN_ORDER)
        for state, count in connection.execute(open_orders.group_by(outbox.c.state)):
            self._outbox.labels(state).set(count)
        oldest_ms = connection.scalar(select(func.min(outbox.c.created_ms)).where(OPEN_ORDER))
        self._outbox_age.set(0 if oldest_ms is None else (now_ms - oldest_ms) / 1000)
        queued = select(func.count()).select_from(webhook_deliveries).where(QUEUED)
        self._webhooks.set(connection.scalar(queued) or 0)
        last = tail_of(connection, server_id).statement_seq
        waiting = select(func.count()).where(statements.c.seq > last)
        self._journal.set(connection.scalar(waiting) or 0)


class _Measured:
    """Whatever a processor has, with its calls timed."""

    def __init__(self, inner: Processor, observe: Callable[[str, str, float], None]) -> None:
        self._inner = inner
        self._observe = observe

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return functools.partial(self._timed, name, found) if name in _ASKED else found

    async def _timed(self, name: str, call: Callable[[Any], Awaitable[Any]], order: Any) -> Any:
        started, outcome = time.perf_counter(), "broken_off"
        try:
            answer = await call(order)
            outcome = type(answer).__name__.lower() if answer is not None else "not_found"
            return answer
        except ProcessorError as error:
            outcome = type(error).__name__.removesuffix("Error").lower()
            raise
        finally:
            self._observe(name, outcome, time.perf_counter() - started)


def metrics_page(metrics: Metrics, services: Services) -> Starlette:
    """``GET /metrics``."""

    async def show(_: Request) -> Response:
        text = await metrics.text(services)
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})

    return Starlette(routes=[Route("/metrics", show)])
