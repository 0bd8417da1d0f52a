"""Webhooks of the card processor."""

from __future__ import annotations

import logging

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from server.answers import EventAnswer
from server.openapi import BODY_CODES, Door, door
from server.outbox import UNKNOWN
from server.processor_events import note_event
from server.services import services_of
from twochannel.protocol.errors import CodedError, ErrorCode

router = APIRouter(route_class=Door)

_log = logging.getLogger(__name__)

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
        codes=(*BODY_CODES, ErrorCode.SIGNATURE_INVALID, ErrorCode.NOT_FOUND),
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
    unknown = await services.store.write(lambda c: note_event(c, event, services.now_ms()))
    _log.info("processor_event", extra={"event": event.id, "kind": event.kind, "unknown": unknown})
    if unknown:
        services.notifications.wake(UNKNOWN)
    return JSONResponse({"received": event.id})
