"""The jack's two HTTPS applications (docs/protocol.md, Phone and jack over Wi-Fi).

``paired_app`` is for the owner's phone and members: TLS lets nobody else in. ``pairing_app`` is
for anyone, while the pairing window is open.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from cigarjack import clock_rules
from cigarjack.chip import Chip
from cigarjack.clock import JackClock
from cigarjack.memory import Memory, StorageError
from cigarjack.pairing import PairingDesk
from twochannel.intake import (
    StrictDoor,
    answer_coded_error,
    answer_failure,
    answer_http_error,
    statement_body,
)
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.wire import base64url
from twochannel.trace import Trace

_NONCE_LENGTH = 16
_TOLD_ONCE = {"cache-control": "no-store"}


def application(routes: list[Route]) -> ASGIApp:
    """``routes`` behind the strict door, with every error as a problem document."""
    handlers = {
        CodedError: answer_coded_error,
        HTTPException: answer_http_error,
        # By name, for after an error without one of its own the connection ends too.
        StorageError: answer_failure,
        Exception: answer_failure,
    }
    return StrictDoor(Starlette(routes=routes, exception_handlers=handlers))


def statement_response(compact: str) -> Response:
    return Response(compact, media_type="application/jwt", headers=_TOLD_ONCE)


class PairedService:
    """What phones of the jack may ask. ``condition``: the changing part of the status.

    ``invite`` and ``remove`` take the owner's statement about a member.
    """

    def __init__(
        self,
        jack: str,
        memory: Memory,
        clock: JackClock,
        chip: Chip,
        trace: Trace,
        *,
        random_bytes: Callable[[int], bytes],
        condition: Callable[[], dict[str, object]],
        on_synchronised: Callable[[], None],
        invite: Callable[[str], Awaitable[None]],
        remove: Callable[[str], Awaitable[None]],
    ) -> None:
        self._invite = invite
        self._remove = remove
        self._jack = jack
        self._memory = memory
        self._clock = clock
        self._chip = chip
        self._trace = trace
        self._random_bytes = random_bytes
        self._condition = condition
        self._on_synchronised = on_synchronised

    def app(self) -> ASGIApp:
        return application(
            [
                Route("/v1/status", self.status, methods=["GET"]),
                Route("/v1/time", self.time, methods=["PUT"]),
                Route("/v1/server-keys", self.server_key, methods=["PUT"]),
                Route("/v1/auth-codes", self.auth_code, methods=["POST"]),
                Route("/v1/couplings", self.coupling, methods=["POST"]),
                Route("/v1/member-invitations", self.invite, methods=["POST"]),
                Route("/v1/member-removals", self.remove, methods=["POST"]),
            ]
        )

    async def status(self, _request: Request) -> Response:
        nonce = base64url(self._random_bytes(_NONCE_LENGTH))
        self._clock.hand_out(nonce)
        return JSONResponse(self._condition() | {"time_nonce": nonce}, headers=_TOLD_ONCE)

    async def time(self, request: Request) -> Response:
        compact = await statement_body(request)
        owner = self._memory.pairing_state().owner
        if owner is None:
            raise CodedError(ErrorCode.NOT_READY, "the jack is not paired")
        statement = clock_rules.read_time(compact, self._jack, owner, self._clock.now_s())
        uncertainty_ms = self._clock.accept(statement)
        self._trace.event("clock_synchronised", uncertainty_ms=uncertainty_ms)
        self._on_synchronised()
        return Response(status_code=204)

    async def server_key(self, request: Request) -> Response:
        """Take the server's word for its next key; what is known already changes nothing."""
        compact = await statement_body(request)
        with self._memory.transaction():
            state = self._memory.pairing_state()
            if state.owner is None:
                raise CodedError(ErrorCode.NOT_READY, "the jack is not paired")
            owner = state.owner.succeeded(compact)
            self._memory.store_pairing_state(replace(state, owner=owner))
        self._trace.event("server_key_learned")
        return Response(status_code=204)

    async def auth_code(self, request: Request) -> Response:
        return statement_response(await self._chip.auth_code(await statement_body(request)))

    async def coupling(self, request: Request) -> Response:
        return statement_response(self._chip.coupling_answer(await statement_body(request)))

    async def invite(self, request: Request) -> Response:
        await self._invite(await statement_body(request))
        return Response(status_code=204)

    async def remove(self, request: Request) -> Response:
        await self._remove(await statement_body(request))
        return Response(status_code=204)


class PairingService:
    """What anyone may ask while the pairing window is open."""

    def __init__(self, desk: PairingDesk) -> None:
        self._desk = desk

    def app(self) -> ASGIApp:
        return application(
            [
                Route("/v1/identity", self.identity, methods=["GET"]),
                Route("/v1/pairings", self.pair, methods=["POST"]),
            ]
        )

    async def identity(self, _request: Request) -> Response:
        return statement_response(self._desk.identity)

    async def pair(self, request: Request) -> Response:
        answer = await self._desk.pair(await statement_body(request))
        return JSONResponse(answer, headers=_TOLD_ONCE)
