"""The control channel of a running air: its serving side, and the client that steers it.

The commands are described in ``fieldkit.air_commands``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

from fieldkit.air_commands import LINE_LIMIT_BYTES, Command, CommandError, Refusal, parse

ANSWER_TIMEOUT_S = 5.0

Perform = Callable[[Command], dict[str, Any]]


class ControlPort:
    """Serves the control channel on the loopback. ``perform`` may raise CommandError."""

    def __init__(self, perform: Perform) -> None:
        self._perform = perform
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()

    async def open(self, host: str, port: int) -> int:
        """Listen; the port, chosen by the system if 0 is asked for. OSError."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=LINE_LIMIT_BYTES)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Cut off all clients and stop listening."""
        if self._server is not None:
            self._server.close()
            for client in tuple(self._clients):
                client.transport.abort()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            with contextlib.suppress(ConnectionError):
                await self._answer_lines(reader, writer)
        finally:
            self._clients.discard(writer)
            writer.close()

    async def _answer_lines(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            try:
                line = await reader.readline()
            except ValueError:  # longer than the limit: where the next line starts is unknown
                writer.write(_refused(CommandError(Refusal.MALFORMED, "the line is too long")))
                await writer.drain()
                return
            if not line:
                return
            writer.write(self._answer(line))
            await writer.drain()

    def _answer(self, line: bytes) -> bytes:
        try:
            return _line({"ok": True, **self._perform(parse(line))})
        except CommandError as error:
            return _refused(error)


class AirControl:
    """Steers a running air from another process. ``async with`` it; one command at a time.

    Methods raise CommandError if the air refuses, and ConnectionError if it is gone or silent.
    After a ConnectionError or a cancelled command the channel is closed.
    """

    def __init__(self, address: str) -> None:
        """``address``: ``host:port``, as the air announces it."""
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> AirControl:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        return self

    async def __aexit__(self, *failure: object) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def move(self, name: str, x_m: float, y_m: float) -> None:
        """Put a controller somewhere else at once."""
        await self._ask({"move": name, "x": x_m, "y": y_m})

    async def drive(self, name: str, to_m: tuple[float, float], speed_mps: float) -> float:
        """Start a straight drive from where the controller is; the seconds it will take."""
        answer = await self._ask({"drive": name, "to": list(to_m), "speed_mps": speed_mps})
        return float(answer["arrives_in_s"])

    async def mute(self, name: str) -> None:
        """Let a controller neither hear nor be heard."""
        await self._ask({"mute": name})

    async def unmute(self, name: str) -> None:
        """Undo ``mute``."""
        await self._ask({"unmute": name})

    async def unplug(self, name: str) -> None:
        """Take a controller away from its host, as if somebody pulled it out."""
        await self._ask({"unplug": name})

    async def plug(self, name: str) -> None:
        """Undo ``unplug``."""
        await self._ask({"plug": name})

    async def deliver(
        self, name: str, address: str, data: bytes, rssi_dbm: int, *, random: bool
    ) -> bool:
        """Let a controller receive one advert at this level; whether its host scans."""
        told = {"address": address, "random": random, "data": data.hex(), "rssi_dbm": rssi_dbm}
        return bool((await self._ask({"deliver": name, **told}))["heard"])

    async def positions(self) -> dict[str, tuple[float, float]]:
        """Where each controller is now, x and y in metres."""
        answer = await self._ask({"positions": True})
        return {name: (x_m, y_m) for name, (x_m, y_m) in answer["positions"].items()}

    async def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        async with self._lock:
            try:
                answer = await self._exchange(_line(command))
            except BaseException:
                # The answer may still come and would be taken for that of the next command.
                self._writer.transport.abort()
                raise
        if not answer["ok"]:
            raise CommandError(Refusal(answer["code"]), answer["message"])
        return answer

    async def _exchange(self, line: bytes) -> dict[str, Any]:
        self._writer.write(line)
        await self._writer.drain()
        try:
            answer = await asyncio.wait_for(self._reader.readline(), ANSWER_TIMEOUT_S)
        except TimeoutError as error:
            raise ConnectionError("the air does not answer") from error
        if not answer:
            raise ConnectionError("the air has closed the control channel")
        fields: dict[str, Any] = json.loads(answer)
        return fields


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _refused(error: CommandError) -> bytes:
    return _line({"ok": False, "code": error.code, "message": str(error)})
