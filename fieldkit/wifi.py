"""The Wi-Fi between phone and jack on a bench: it can be cut without a word.

A phone finds its jack by mDNS, which says at which address and port. The jack of a stage listens at
one address of this machine and announces another; there, on the same port, this relay listens. Cut,
it goes on accepting connections and bytes, and nothing comes of them: so does a phone at the edge
of a network that still shows all its bars.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

_CHUNK_BYTES: Final = 65536


class Wifi:
    """``near``: the address that is announced. ``far``: where the jack really listens."""

    def __init__(self, near: str, far: str) -> None:
        self._near = near
        self._far = far
        self._open = asyncio.Event()
        self._open.set()
        self._carrying: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._begin, self._near, 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    @property
    def jack_settings(self) -> Mapping[str, str]:
        """Where the jack must really listen."""
        return {"CIGARJACK_HOST": self._far, "CIGARJACK_PORT": str(self.port)}

    async def cut(self) -> None:
        """Let nothing through any more, and tell nobody."""
        self._open.clear()

    async def mend(self) -> None:
        """Undo ``cut``; what was sent meanwhile arrives, unless its sender has given up."""
        self._open.set()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._carry(reader, writer))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, both ways, until either side ends it."""
        with contextlib.suppress(OSError):
            try:
                await self._open.wait()
                above, below = await asyncio.open_connection(self._far, self.port)
                try:
                    await self._pump_both(reader, below, above, writer)
                finally:
                    below.transport.abort()
            finally:
                writer.transport.abort()

    async def _pump_both(
        self,
        reader: asyncio.StreamReader,
        below: asyncio.StreamWriter,
        above: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        pumps = [
            asyncio.ensure_future(self._pump(reader, below)),
            asyncio.ensure_future(self._pump(above, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(_CHUNK_BYTES):
            if not self._open.is_set():
                data = await self._held_back(source, data)
            sink.write(data)
            await sink.drain()

    async def _held_back(self, source: asyncio.StreamReader, data: bytes) -> bytes:
        """What is sent until the Wi-Fi is back; nothing if its sender has given up by then."""
        back = asyncio.ensure_future(self._open.wait())
        more: asyncio.Future[bytes] | None = None
        try:
            while not back.done():
                more = asyncio.ensure_future(source.read(_CHUNK_BYTES))
                await asyncio.wait({back, more}, return_when=asyncio.FIRST_COMPLETED)
                if more.done():
                    if not (piece := more.result()):
                        return b""
                    data += piece
            return data
        finally:
            pending = [waiting for waiting in (back, more) if waiting is not None]
            for waiting in pending:
                waiting.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
