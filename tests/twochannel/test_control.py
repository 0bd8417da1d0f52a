"""Talking to an agent over its Unix socket."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from twochannel.control import SOCKET_NAME, ControlError, ask
from twochannel.intake import problem_response
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.serving import Address, serve


async def _echo(request: Request) -> Response:
    return JSONResponse({"method": request.method, "body": (await request.body()).decode()})


async def _busy(_request: Request) -> Response:
    return problem_response(ErrorCode.TERMINAL_BUSY, "lane 1 is busy")


async def _odd(_request: Request) -> Response:
    return JSONResponse({"code": "from_the_future"}, status_code=500)


async def _garbled(_request: Request) -> Response:
    return PlainTextResponse("not json")


APP = Starlette(
    routes=[
        Route("/echo", _echo, methods=["GET", "POST"]),
        Route("/busy", _busy),
        Route("/odd", _odd),
        Route("/garbled", _garbled),
    ]
)


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[Path]:
    async with serve(APP, Address(socket=tmp_path / SOCKET_NAME)):
        yield tmp_path


async def _ask(state: Path, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    return await asyncio.to_thread(ask, state, method, path, body, agent="payment-device")


async def test_requests_and_answers_are_json(state: Path) -> None:
    assert await _ask(state, "GET", "/echo") == {"method": "GET", "body": ""}
    answer = await _ask(state, "POST", "/echo", {"a": 1})
    assert answer == {"method": "POST", "body": '{"a": 1}'}


async def test_a_problem_keeps_its_code(state: Path) -> None:
    with pytest.raises(CodedError, match="lane 1 is busy") as refusal:
        await _ask(state, "GET", "/busy")
    assert refusal.value.code is ErrorCode.TERMINAL_BUSY


@pytest.mark.parametrize(
    ("path", "words"), [("/odd", "does not know"), ("/garbled", "look at its log")]
)
async def test_answers_that_make_no_sense(state: Path, path: str, words: str) -> None:
    with pytest.raises(ControlError, match=words):
        await _ask(state, "GET", path)


def test_no_agent_says_how_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="start it with: payment-device run"):
        ask(tmp_path, "GET", "/echo", agent="payment-device")


def test_the_command_side_loads_no_heavy_library() -> None:
    heavy = "{'pydantic', 'httpx', 'starlette', 'uvicorn', 'cryptography', 'asyncio'}"
    program = f"import sys, twochannel.control; print({heavy} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert run.stdout.strip() == b"set()"


@contextmanager
def _as_nobody() -> Iterator[None]:
    """Without root's rights, which would open any folder."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_another_users_agent_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0)
    with _as_nobody(), pytest.raises(ControlError, match="another user's"):
        ask(tmp_path, "GET", "/status", agent="payment-device")
    tmp_path.chmod(0o700)
