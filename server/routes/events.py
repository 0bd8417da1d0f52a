"""Server-sent events: what a phone is told, from the database, in order, resumable."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial

from fastapi import APIRouter
from sqlalchemy import Connection
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request

from server.notifications import phone_topic
from server.openapi import Door, door
from server.phone_events import MAX_EVENTS, PhoneEvent, events_after, open_challenges
from server.services import RECHECK_S, Device, Services, services_of
from twochannel.protocol.errors import CodedError, ErrorCode, StatementError
from twochannel.protocol.statements import Role

#: Proxies and phones drop a silent connection; a ping costs nothing.
PING_INTERVAL_S = 15
#: Of one phone: a connection that broke may be noticed after the next one is there, or the one
#: after that. More are of no use to it, and a thousand would be of harm to others.
MAX_STREAMS = 4
_LAST_EVENT_ID = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The id of the last event that arrived; without it: the open challenges.",
    "schema": {"type": "integer", "minimum": 0, "maximum": 10**15 - 1},
}

router = APIRouter(route_class=Door)


class EventStream(EventSourceResponse):
    """Server-sent events, with pings."""

    media_type = "text/event-stream"
    DEFAULT_PING_INTERVAL = PING_INTERVAL_S


def read_last_event_id(header: str | None) -> int | None:
    """Raises StatementError (``message_malformed``) for anything but an event's id."""
    if header is None:
        return None
    if not re.fullmatch(r"[0-9]{1,15}", header, re.ASCII):
        raise StatementError(ErrorCode.MESSAGE_MALFORMED, "Last-Event-ID is not an id of ours")
    return int(header)


@router.get(
    "/v1/events",
    response_class=EventStream,
    **door(
        "streamEvents",
        "What happens to the phone's payments, as it happens",
        parameters=(_LAST_EVENT_ID,),
        proven=True,
    ),
)
async def stream_events(request: Request) -> EventStream:
    services = services_of(request)
    device = await services.prove(request, Role.PHONE)
    last_id = read_last_event_id(request.headers.get("last-event-id"))
    await services.store.read(device.check)
    return EventStream(_stream(services, device, last_id))


async def _stream(
    services: Services, device: Device, last_id: int | None
) -> AsyncIterator[ServerSentEvent]:
    """Events until the phone goes, is revoked, or the server stops."""
    store = services.store
    topic = phone_topic(device.id)
    with services.notifications.listen(topic, MAX_STREAMS) as listener, suppress(CodedError):
        if last_id is None:
            events, seq = await store.read(partial(open_challenges, phone_id=device.id))
        else:
            events, seq = [], last_id
            listener.wake()
        told = services.reign.successions
        while not services.notifications.closed and not listener.replaced:
            if told != services.reign.successions:
                told = services.reign.successions
                yield _successions(told)
            for event in events:
                yield _on_the_wire(event)
                seq = max(seq, event.seq)
            if len(events) < MAX_EVENTS:
                await listener.wait(RECHECK_S)
            events = await store.read(partial(_look, device=device, seq=seq))


def _look(connection: Connection, device: Device, seq: int) -> list[PhoneEvent]:
    """What is new. With nothing new the device may have been revoked: raises CodedError."""
    events = events_after(connection, device.id, seq)
    if not events:
        device.check(connection)
    return events


def _successions(number: int) -> ServerSentEvent:
    """As the header of an answer tells it, for a phone that has no other for days. Without id."""
    return ServerSentEvent(f'{{"successions":{number}}}', event="successions", sep="\n")


def _on_the_wire(event: PhoneEvent) -> ServerSentEvent:
    data = json.dumps(event.data, separators=(",", ":"))
    return ServerSentEvent(data, event=event.kind.value, id=str(event.seq), sep="\n")
