"""Between a device and its server: somebody else answers while it enrols."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from server.client import EnrolmentCode, ServerUnreachableError, meet
from tests.cigarjack.parties import new_key
from tests.server.bench import Bench
from twochannel import tls
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.serving import Address, serve

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Spoof:
    """Answers every path in the same way, and remembers what it was sent."""

    def __init__(self, answer: Response) -> None:
        self.answer = answer
        self.seen: list[bytes] = []

    async def take(self, request: Request) -> Response:
        self.seen.append(await request.body() + str(request.headers).encode())
        return self.answer

    @asynccontextmanager
    async def at(self) -> AsyncIterator[str]:
        key = new_key()
        context = tls.server_context(tls.make_certificate(key, "spoof", secrets.randbits(64)), key)
        methods = ["GET", "POST"]
        app = Starlette(routes=[Route("/{path:path}", self.take, methods=methods)])
        async with serve(app, Address(), context) as served:
            yield f"https://127.0.0.1:{served.port}"


def code_of(server: Bench) -> EnrolmentCode:
    return EnrolmentCode(server.devices.server_id, "A" * 22)


async def test_the_true_identity_over_another_connection_is_not_believed(server: Bench) -> None:
    """The man in the middle passes on what the server says; the certificate gives him away."""
    document = (await server.http.get("/.well-known/cigarjack")).json()
    spoof = Spoof(JSONResponse(document))
    async with spoof.at() as url:
        with pytest.raises(CodedError) as refused:
            await meet(url, code_of(server))
    assert refused.value.code is ErrorCode.KEY_UNKNOWN
    assert b"A" * 22 not in b"".join(spoof.seen)


async def test_another_server_is_not_the_one_of_the_code(server: Bench) -> None:
    async with asyncio.timeout(20):
        with pytest.raises(CodedError) as refused:
            await meet(server.url, EnrolmentCode("B" * 43, "A" * 22))
    assert refused.value.code is ErrorCode.KEY_UNKNOWN


async def test_an_answer_without_end_is_given_up(server: Bench) -> None:
    async def for_ever() -> AsyncIterator[bytes]:
        while True:
            yield bytes(65536)
            await asyncio.sleep(0)  # or the end of the connection is never noticed

    async with Spoof(StreamingResponse(for_ever())).at() as url, asyncio.timeout(20):
        with pytest.raises(ServerUnreachableError, match="never ends"):
            await meet(url, code_of(server))
