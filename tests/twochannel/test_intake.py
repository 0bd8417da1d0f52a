"""The door of every service, over real HTTP: bounded bodies and problem documents."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from twochannel.intake import (
    StrictDoor,
    answer_coded_error,
    answer_failure,
    answer_http_error,
    statement_body,
)
from twochannel.protocol.errors import CodedError, ErrorCode, StatementError
from twochannel.serving import Address, serve

_MAX_BYTES = 1000


async def _echo(request: Request) -> Response:
    return PlainTextResponse(await statement_body(request))


async def _refuse(_request: Request) -> Response:
    raise StatementError(ErrorCode.CLOCK_SKEW, "an hour off")


async def _crash(_request: Request) -> Response:
    raise RuntimeError("secret detail")


def _app(timeout_s: float) -> StrictDoor:
    app = Starlette(
        routes=[
            Route("/echo", _echo, methods=["POST"]),
            Route("/refuse", _refuse),
            Route("/crash", _crash),
        ],
        exception_handlers={
            CodedError: answer_coded_error,
            HTTPException: answer_http_error,
            Exception: answer_failure,
        },
    )
    return StrictDoor(app, max_bytes=_MAX_BYTES, timeout_s=timeout_s)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with serve(_app(timeout_s=5.0), Address()) as served:
        assert served.port
        yield served.port


@pytest.fixture
async def http(port: int) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        yield client


async def _post(http: httpx.AsyncClient, body: bytes, kind: str) -> httpx.Response:
    return await http.post("/echo", content=body, headers={"content-type": kind})


async def test_a_statement_gets_through_whole(http: httpx.AsyncClient) -> None:
    body = b"a" * _MAX_BYTES
    answer = await _post(http, body, "application/JWT; charset=utf-8")
    assert answer.content == body


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"a" * (_MAX_BYTES + 1), "application/jwt", ErrorCode.MESSAGE_TOO_LARGE),
        (b"a" * 15_000, "application/jwt", ErrorCode.MESSAGE_TOO_LARGE),
        (b"a", "application/json", ErrorCode.MEDIA_TYPE_UNSUPPORTED),
        (b"\xc3\xa4", "application/jwt", ErrorCode.MESSAGE_MALFORMED),
    ],
)
async def test_bodies_that_are_refused(
    http: httpx.AsyncClient, body: bytes, kind: str, code: ErrorCode
) -> None:
    answer = await _post(http, body, kind)
    assert answer.json()["code"] == code
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await _post(http, b"still alive", "application/jwt")).text == "still alive"


async def test_a_body_without_length_is_cut_off_at_the_limit(http: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"a" * 100

    answer = await http.post(
        "/echo", content=endless(), headers={"content-type": "application/jwt"}
    )
    assert answer.json()["code"] == ErrorCode.MESSAGE_TOO_LARGE


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/refuse", 401, "clock_skew"),
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/echo", 405, "method_not_allowed"),
        ("GET", "/crash", 500, "internal_error"),
    ],
)
async def test_every_failure_is_a_problem_document(
    http: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await http.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "secret" not in answer.text


async def test_one_byte_a_second_is_cut_off() -> None:
    async with serve(_app(timeout_s=0.05), Address()) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(
            b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/jwt\r\n"
            b"content-length: 10\r\n\r\na"
        )
        answer = await reader.read()  # the server answers and closes, though the body is not whole
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert json.loads(body)["code"] == "message_malformed"


async def test_a_peer_that_goes_away_mid_body_harms_nobody(
    port: int, http: httpx.AsyncClient
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\na")
    await writer.drain()
    writer.transport.abort()
    assert (await _post(http, b"alive", "application/jwt")).text == "alive"
