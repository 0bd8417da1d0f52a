"""Serving an ASGI application inside an agent's own event loop (uvicorn, one worker)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import uvicorn


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a TCP ``host`` and ``port`` (0: any free one), or a Unix ``socket``."""

    host: str = "127.0.0.1"
    port: int = 0
    socket: Path | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """A listening application. ``port`` is the real one, None for a Unix socket.

    ``ended``: done when the server has stopped, by itself or because the block was left.
    """

    port: int | None
    ended: asyncio.Task[None] = field(repr=False)


class _EmbeddedServer(uvicorn.Server):
    """The agent handles signals, not each of its servers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@contextlib.asynccontextmanager
async def serve(
    app: Any,
    address: Address,
    tls: ssl.SSLContext | None = None,
    *,
    connections: int = 256,
    grace_s: int = 2,
    lifespan: str = "off",
) -> AsyncIterator[Served]:
    """Serve ``app`` while the block runs; on leaving, open requests get ``grace_s`` seconds.

    Beyond ``connections`` at once, further ones are answered 503. Raises OSError if the address
    is taken.
    """
    listener = _listen(address)
    config = uvicorn.Config(
        app,
        ssl_context_factory=(lambda _config, _default: tls) if tls else None,
        log_config=None,
        access_log=False,
        lifespan="on" if lifespan == "on" else "off",
        http=_http(address),
        ws="none",
        server_header=False,
        proxy_headers=False,
        date_header=False,
        limit_concurrency=connections,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=grace_s,
    )
    server = _EmbeddedServer(config)
    task = asyncio.create_task(server.serve([listener]), name=f"serve {address}")
    try:
        await _started(server, task)
        yield Served(None if address.socket else listener.getsockname()[1], task)
    finally:
        server.should_exit = True
        await task
        if address.socket:
            address.socket.unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def serve_as_before(
    app: Any,
    address: Address,
    last_port: int,
    tls: ssl.SSLContext | None = None,
    *,
    connections: int = 64,
) -> AsyncIterator[Served]:
    """Serve at ``address``; if its port is 0, at ``last_port``, or at any if that is taken.

    Raises OSError if the address is none of this machine, or its port is taken.
    """
    before = replace(address, port=address.port or last_port)
    async with contextlib.AsyncExitStack() as stack:
        try:
            listening = serve(app, before, tls, connections=connections)
            served = await stack.enter_async_context(listening)
        except OSError:
            if before == address:
                raise
            anywhere = serve(app, address, tls, connections=connections)
            served = await stack.enter_async_context(anywhere)
        yield served


def _http(address: Address) -> Any:
    """Strangers meet the bounded protocol. It needs httptools, which only the server installs; on
    its private socket an agent does with uvicorn's other one, which is bounded by itself."""
    if address.socket is not None:
        return "h11"
    from twochannel.bounded_http import BoundedHttp

    return BoundedHttp


def _listen(address: Address) -> socket.socket:
    """Bind before uvicorn does, which would end the whole process if it could not."""
    if address.socket is None:
        # With its protocol named, or asyncio leaves Nagle on and each answer waits 40 ms.
        listener = socket.socket(_family(address.host), socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        target: Any = (address.host, address.port)
    else:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        target = str(address.socket)
    try:
        # A Unix socket is private from its first moment; for TCP the mask means nothing.
        mask = os.umask(0o177)
        try:
            listener.bind(target)
        finally:
            os.umask(mask)
    except OSError as error:
        listener.close()
        where = address.socket or f"{address.host}:{address.port}"
        advice = "stop what listens there, or choose another address"
        if error.errno == errno.EADDRNOTAVAIL:
            advice = "choose an address that this machine has (ip address)"
        raise OSError(f"cannot listen on {where} ({error.strerror or error}); {advice}") from None
    return listener


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


async def _started(server: uvicorn.Server, task: asyncio.Task[None]) -> None:
    while not server.started:
        if task.done():
            task.result()
            raise OSError("the server ended before it had started; its log says why")
        await asyncio.sleep(0.002)
