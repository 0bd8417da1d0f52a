"""Ports of this machine for what tests start, and waiting until it listens."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

HOST: Final = "127.0.0.1"
_DEADLINE_S: Final = 30.0
_LOOK_EVERY_S: Final = 0.05


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that nobody had a moment ago."""
    with socket.socket(type=kind) as free:
        free.bind((HOST, 0))
        port: int = free.getsockname()[1]
        return port


async def until_listening(port: int) -> None:
    """Wait until somebody takes connections. TimeoutError if nobody does."""
    async with asyncio.timeout(_DEADLINE_S):
        while not await _listens(port):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_EVERY_S)


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True
