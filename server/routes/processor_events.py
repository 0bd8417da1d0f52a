"""Webhooks of the card processor."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from fastapi import APIRouter
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import JSONResponse

from server.answers import EventAnswer
from server.calls import Job
from server.disagreements import Found, note_found
from server.openapi import BODY_CODES, Door, door
from server.outbox import UNKNOWN
from server.processor_events import jobs_about, note_event, wake_orders
from server.processors.port import (
    ContradictionError,
    KeyConflictError,
    Processor,
    ProcessorError,
)
from server.services import services_of
from twochannel.protocol.errors import CodedError, ErrorCode

router = APIRouter(route_class=Door)

_log = logging.getLogger(__name__)

#: For all look-ups together; Stripe tells again what was not taken.
_PATIENCE_S: Final = 8.0

_BODY = {
    "required": True,
    "description": "An event as Stripe sends it.",
    "content": {"application/json": {"schema": {"type": "object"}}},
}
_SIGNATURE = {
    "name": "Stripe-Signature",
    "in": "header",
    "required": False,
    "description": "Time and signature of the body; without it the event is refused.",
    "schema": {"type": "string"},
}


@router.post(
    "/v1/processor/stripe/events",
    **door(
        "hearStripe",
        "Take a webhook of Stripe",
        body=_BODY,
        parameters=[_SIGNATURE],
        answers={200: EventAnswer},
        codes=(
            *BODY_CODES,
            ErrorCode.SIGNATURE_INVALID,
            ErrorCode.NOT_FOUND,
            ErrorCode.PROCESSOR_UNREACHABLE,
        ),
    ),
)
async def hear_stripe(request: Request) -> JSONResponse:
    services = services_of(request)
    if services.stripe_events is None:
        raise CodedError(ErrorCode.NOT_FOUND, "this server takes no webhooks of Stripe")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise CodedError(ErrorCode.MEDIA_TYPE_UNSUPPORTED, "send application/json")
    signature = request.headers.get("stripe-signature", "")
    event = services.stripe_events.read(await request.body(), signature)
    jobs = await services.store.read(lambda c: jobs_about(c, event))
    try:
        async with asyncio.timeout(_PATIENCE_S):
            found = [await _look_up(services.processor, job) for job in jobs]
    except (ProcessorError, TimeoutError) as error:
        # It is told again; what is under way need not wait for that.
        if await services.store.write(lambda c: wake_orders(c, event, services.now_ms())):
            services.notifications.wake(UNKNOWN)
        raise CodedError(ErrorCode.PROCESSOR_UNREACHABLE, str(error)) from None

    def note(connection: Connection) -> tuple[bool, list[str]]:
        now_ms = services.now_ms()
        return note_event(connection, event, now_ms), note_found(connection, found, now_ms)

    unknown, causes = await services.store.write(note)
    _log.info("processor_event", extra={"event": event.id, "kind": event.kind, "unknown": unknown})
    for cause in causes:
        _log.error("payment_needs_review", extra={"payment": event.payment_id, "why": cause})
    if unknown:
        services.notifications.wake(UNKNOWN)
    return JSONResponse({"received": event.id})


async def _look_up(processor: Processor, job: Job) -> Found:
    """Raises ProcessorError if nothing is known."""
    try:
        return Found(job, await processor.lookup(job.order))
    except (ContradictionError, KeyConflictError) as error:
        return Found(job, error)
