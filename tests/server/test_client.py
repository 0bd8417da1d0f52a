"""The published client before a server that answers nonsense: no answer is what that is worth."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fieldkit.specimens import NOW_S, Specimens, specimen_id, specimen_signer
from server.client import ServerClient, ServerPin, ServerUnreachableError
from twochannel import tls
from twochannel.protocol.errors import CodedError, ErrorCode, LimitError, problem_document
from twochannel.serving import Address, serve

_KEY = ec.generate_private_key(ec.SECP256R1())
_CERTIFICATE = tls.make_certificate(_KEY, "server", serial=1)
_NONSENSE = [b"", b"not json", b"[1]", b"null", b'"text"', b"\xff"]


async def _repeat(request: Request) -> Response:
    """Answer with the body that the path names."""
    return Response(_NONSENSE[int(request.path_params["number"])])


async def _events(request: Request) -> Response:
    if request.app.state.limits:
        after = request.app.state.limits.pop()
        document = problem_document(ErrorCode.TOO_MANY_REQUESTS)
        return JSONResponse(document, status_code=429, headers={"retry-after": after})
    return Response("id: 1\nevent: payment\ndata: [1]\n\n", media_type="text/event-stream")


async def _well_known(request: Request) -> Response:
    """The time is told only to those who have asked before."""
    asked = request.app.state.asked
    request.app.state.asked = True
    ahead_ms = str((NOW_S + 90) * 1000)
    return Response(b"{}", headers={"cigarjack-time": ahead_ms} if asked else {})


async def _events_around_pings(_request: Request) -> Response:
    pings, pinged = itertools.count(), asyncio.Event()

    def ping() -> ServerSentEvent:
        if next(pings) > 0:  # the one before has been sent
            pinged.set()
        return ServerSentEvent(comment="ping", sep="\n")

    async def events() -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent("{}", event="payment", id="1", sep="\n")
        await pinged.wait()
        yield ServerSentEvent("{}", event="payment", id="2", sep="\n")

    return EventSourceResponse(events(), ping=0.01, ping_message_factory=ping)


async def _limited(request: Request) -> Response:
    """A limit whose end is told as the path says."""
    document = problem_document(ErrorCode.TOO_MANY_REQUESTS, "not now")
    headers = {"retry-after": request.path_params["after"]}
    return JSONResponse(document, status_code=429, headers=headers)


@pytest.fixture
def limits() -> list[str]:
    """What the next readers of the event stream are told to wait, in seconds."""
    return []


@pytest.fixture
async def client(limits: list[str]) -> AsyncIterator[ServerClient]:
    routes = [
        Route("/.well-known/cigarjack", _well_known),
        Route("/v1/events", _events),
        Route("/limited/{after}", _limited, methods=["GET", "POST"]),
        Route("/{number:int}", _repeat, methods=["GET", "POST"]),
    ]
    app = Starlette(routes=routes)
    app.state.asked = False
    app.state.limits = limits
    async with _client_of(app) as client:
        yield client


@dataclass
class Clocks:
    """Of a device."""

    wall_ms: int = NOW_S * 1000
    steady_ms: int = 5000


@asynccontextmanager
async def _client_of(app: Starlette, clocks: Clocks | None = None) -> AsyncIterator[ServerClient]:
    clocks = clocks or Clocks()
    async with serve(app, Address(), tls.server_context(_CERTIFICATE, _KEY)) as served:
        pin = ServerPin(
            url=f"https://127.0.0.1:{served.port}",
            server=Specimens().server,
            certificate=_CERTIFICATE,
            lineage="",
            rotation_exponent=8,
        )
        signer = specimen_signer("phone")
        async with ServerClient(
            pin,
            signer,
            new_id=lambda: specimen_id(1),
            wall_ms=lambda: clocks.wall_ms,
            steady_ms=lambda: clocks.steady_ms,
        ) as client:
            yield client


@pytest.mark.parametrize("number", range(len(_NONSENSE)))
async def test_an_answer_that_is_no_object_is_no_answer(client: ServerClient, number: int) -> None:
    with pytest.raises(ServerUnreachableError):
        await client.send(f"/{number}", "a.b.c")
    with pytest.raises(ServerUnreachableError):
        await client.get(f"/{number}")


async def test_an_event_that_is_no_object_ends_the_stream_not_the_phone(
    client: ServerClient,
) -> None:
    kinds = []
    async for event in client.events():
        kinds.append(event.kind)
        if len(kinds) == 4:
            break
    assert kinds == ["connected", "lost", "connected", "lost"]


async def test_the_offset_of_the_clocks_is_told_or_missed(client: ServerClient) -> None:
    with pytest.raises(ServerUnreachableError, match="tells no time"):
        await client.clock_offset_ms()
    assert await client.clock_offset_ms() == 90_000


async def test_the_servers_time_goes_on_when_the_devices_clock_is_set() -> None:
    """As by a time server, minutes after the start."""
    clocks, app = Clocks(), Starlette(routes=[Route("/.well-known/cigarjack", _told_time)])
    async with _client_of(app, clocks) as client:
        assert (client.synchronised, client.now_ms()) == (False, NOW_S * 1000)
        assert await client.clock_offset_ms() == 90_000
        clocks.wall_ms += 310_000
        clocks.steady_ms += 2000
        assert client.now_ms() == NOW_S * 1000 + 92_000
        clocks.wall_ms -= 400_000
        assert client.now_s() == NOW_S + 92


async def _told_time(_request: Request) -> Response:
    return JSONResponse({}, headers={"cigarjack-time": str(NOW_S * 1000 + 90_000)})


async def test_pings_do_not_end_the_stream() -> None:
    app = Starlette(routes=[Route("/v1/events", _events_around_pings)])
    async with _client_of(app) as client:
        kinds = []
        async for event in client.events():
            kinds.append(event.kind)
            if len(kinds) == 3:
                break
    assert kinds == ["connected", "payment", "payment"]


async def test_a_limit_says_when_to_come_back(client: ServerClient) -> None:
    for ask in (client.send("/limited/300", "a.b.c"), client.get("/limited/300")):
        with pytest.raises(LimitError) as limit:
            await ask
        assert (limit.value.retry_after_s, limit.value.detail) == (300, "not now")


@pytest.mark.parametrize("after", ["soon", "-1", "1.5", "9999999"])
async def test_a_limit_whose_end_cannot_be_read_is_a_refusal(
    client: ServerClient, after: str
) -> None:
    with pytest.raises(CodedError) as refused:
        await client.get(f"/limited/{after}")
    assert type(refused.value) is CodedError
    assert refused.value.code is ErrorCode.TOO_MANY_REQUESTS


async def test_the_event_stream_is_opened_again_when_the_server_wants_it(
    client: ServerClient, limits: list[str]
) -> None:
    limits.append("1")
    kinds, started_s = [], time.monotonic()
    async for event in client.events():
        kinds.append(event.kind)
        if event.kind == "connected":
            break
    assert kinds == ["lost", "connected"]
    assert time.monotonic() - started_s >= 1
