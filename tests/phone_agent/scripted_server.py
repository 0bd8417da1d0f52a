"""A server that says what a test tells it to, over real TLS: for faults a real one never shows."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from server.client import ServerPin
from tests.cigarjack.parties import LANE_NONCE, Server, new_key
from twochannel import tls
from twochannel.intake import problem_response
from twochannel.protocol import envelope
from twochannel.protocol.errors import ErrorCode, LimitError
from twochannel.protocol.lane import lane_digest
from twochannel.protocol.statements import Challenge, Confirmation
from twochannel.serving import Address, serve
from twochannel.trace import wall_ms

_STATUS_AFTER = {"approve": "captured", "decline": "declined"}


@dataclass
class ScriptedServer:
    """``skew_ms``: how far its clock is from this machine's. ``refusals``: codes for the next
    statements, None for an answer that is lost on the way; when they are used up it accepts.
    ``retry_after_s``: what refusals say about when to come back."""

    party: Server = field(default_factory=Server)
    skew_ms: int = 0
    refusals: deque[ErrorCode | None] = field(default_factory=deque)
    time_refusals: deque[ErrorCode] = field(default_factory=deque)
    confirmations: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    accepted: dict[str, str] = field(default_factory=dict)
    last_event_ids: list[str | None] = field(default_factory=list)
    registered: list[str] = field(default_factory=list)
    shut_out: bool = False
    retry_after_s: int | None = None
    url: str = ""

    def __post_init__(self) -> None:
        key = new_key()
        self._tls_key = key
        self.certificate = tls.make_certificate(key, "server", secrets.randbits(128))
        self._events: list[tuple[int, str, dict[str, Any]]] = []
        self._changed = asyncio.Event()
        self._cuts = 0

    @property
    def pin(self) -> ServerPin:
        return ServerPin(
            url=self.url,
            server=self.party.id,
            certificate=self.certificate,
            lineage=self.party.identity(),
            rotation_exponent=8,
        )

    def now_ms(self) -> int:
        return wall_ms() + self.skew_ms

    def challenge(self, jack: str, phone: str, **changes: object) -> Challenge:
        """A challenge of 4.50 EUR, now; ``changes`` replace claims."""
        now_s = self.now_ms() // 1000
        times: dict[str, object] = {"iat": now_s, "exp": now_s + 60}
        return self.party.challenge(
            jack, phone, **(times | {"lane_digest": lane_digest(LANE_NONCE)} | changes)
        )

    def ask(self, challenge: Challenge, signer: Any = None) -> str:
        """Push a challenge event; the compact challenge."""
        compact = envelope.sign(challenge, signer or self.party.signer)
        self.push("challenge", {"payment": payment_of(challenge), "challenge": compact})
        return compact

    def push(self, kind: str, data: dict[str, Any]) -> None:
        self._events.append((len(self._events) + 1, kind, data))
        self._wake()

    def cut_stream(self) -> None:
        """End every open event stream in the middle."""
        self._cuts += 1
        self._wake()

    async def confirmation(self) -> Confirmation:
        """The next confirmation that arrives, taken or refused."""
        return Confirmation.from_claims(envelope.unverified_claims(await self.confirmed_compact()))

    async def confirmed_compact(self) -> str:
        async with asyncio.timeout(20):
            return await self.confirmations.get()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # --- HTTP

    @asynccontextmanager
    async def served(self, port: int = 0) -> AsyncIterator[int]:
        """Listening on loopback; gives the port."""
        context = tls.server_context(self.certificate, self._tls_key)
        async with serve(self._app(), Address(port=port), context) as served:
            self.url = f"https://127.0.0.1:{served.port}"
            try:
                yield served.port or 0
            finally:
                self.cut_stream()

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/cigarjack", self._known),
                Route("/v1/events", self._stream),
                Route("/v1/time", self._time, methods=["POST"]),
                Route("/v1/payments/{id}/confirmation", self._confirm, methods=["POST"]),
                *(
                    Route(f"/v1/{name}", self._register, methods=["POST"])
                    for name in (
                        "enrolments",
                        "pairings",
                        "payment-methods",
                        "payment-methods/{method}/{order}",
                        "releases",
                        "couplings",
                        "uncouplings",
                        "member-removals",
                    )
                ),
            ]
        )

    def _timed(self, response: Response) -> Response:
        response.headers["cigarjack-time"] = str(self.now_ms())
        return response

    async def _known(self, _request: Request) -> Response:
        return self._timed(JSONResponse({}))

    async def _register(self, request: Request) -> Response:
        self.registered.append((await request.body()).decode())
        if not self.refusals:
            return self._timed(JSONResponse({}, 201))
        if (code := self.refusals.popleft()) is None:
            return _lost()
        return self._refuse(code)

    def _refuse(self, code: ErrorCode) -> Response:
        if self.retry_after_s is None:
            return self._timed(problem_response(code))
        limit = LimitError(code, self.retry_after_s)
        after = {"retry-after": str(limit.retry_after_s)}
        return self._timed(problem_response(code, limit.detail, after))

    async def _time(self, request: Request) -> Response:
        if self.time_refusals:
            return self._timed(problem_response(self.time_refusals.popleft()))
        body = await request.json()
        compact = self.party.time(body["jack"], body["nonce"], self.now_ms())
        return self._timed(Response(compact, media_type="application/jwt"))

    async def _stream(self, request: Request) -> Response:
        if self.shut_out:
            return self._timed(problem_response(ErrorCode.DEVICE_REVOKED))
        last = request.headers.get("last-event-id")
        self.last_event_ids.append(last)
        body = self._lines(int(last or 0), self._cuts)
        return self._timed(StreamingResponse(body, media_type="text/event-stream"))

    async def _lines(self, last: int, cuts: int) -> AsyncIterator[str]:
        while cuts == self._cuts:
            changed = self._changed
            for number, kind, data in self._events[last:]:
                last = number
                yield f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
            await changed.wait()
        yield "event: challenge\ndata: {"

    async def _confirm(self, request: Request) -> Response:
        compact = (await request.body()).decode()
        claims = Confirmation.from_claims(envelope.unverified_claims(compact))
        refusal = self.refusals.popleft() if self.refusals else ErrorCode.NOT_FOUND
        if refusal is not ErrorCode.NOT_FOUND:
            self.confirmations.put_nowait(compact)
            if refusal is None:
                return _lost()
            return self._refuse(refusal)
        self.accepted[claims.sub] = compact
        self.confirmations.put_nowait(compact)
        status = _STATUS_AFTER[claims.decision.value]
        return self._timed(JSONResponse(self._payment(claims.sub) | {"status": status}))

    def _payment(self, payment: str) -> dict[str, Any]:
        for _, _, data in self._events:
            shown: dict[str, Any] = data.get("payment", {})
            if shown.get("id") == payment:
                return dict(shown)
        return {"id": payment}


def _lost() -> Response:
    """A gateway between says that it lost the answer: whether the server acted is not known."""
    return Response("bad gateway", 502, headers={"connection": "close"})


def payment_of(
    challenge: Challenge, status: str = "pending", *, refunded_minor: int = 0
) -> dict[str, Any]:
    """The payment of a challenge as the API shows it, as far as a phone cares."""
    return {
        "id": challenge.sub,
        "status": status,
        "amount": challenge.amount.model_dump(),
        "capture": challenge.capture.value,
        "refunded_minor": refunded_minor,
        "merchant": challenge.merchant.model_dump(),
        "lane": challenge.lane,
        "match_code": challenge.match_code,
        "expires_s": challenge.exp,
    }
