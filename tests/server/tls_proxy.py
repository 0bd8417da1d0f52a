"""A proxy that speaks TLS with the server's certificate, and HTTP to it (docs/operations.md).

It counts what goes through, and is there where nginx is not (tests/nginx.py): an address of its
own, OpenSSL with the two files that the documentation names, connections of its own to the server,
and each request with ``X-Forwarded-For``. HTTP/1.1 with ``Content-Length`` is all that it
understands.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass
class TlsProxy:
    """``seen``: how many requests went through, by the address that they came from."""

    host: str
    port: int
    url: str = ""
    seen: dict[str, int] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a device, over one to the server."""
        address = str(writer.get_extra_info("peername")[0])
        from_server, to_server = await asyncio.open_connection(self.host, self.port)
        answers = asyncio.create_task(_hand_on(from_server, writer))
        try:
            await self._requests(reader, to_server, address)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            answers.cancel()
            to_server.close()
            writer.close()

    async def _requests(
        self, reader: asyncio.StreamReader, to_server: asyncio.StreamWriter, address: str
    ) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body = await reader.readexactly(int(length[1])) if length else b""
            forwarded = f"x-forwarded-for: {address}\r\n\r\n".encode()
            to_server.write(head[:-2] + forwarded + body)
            await to_server.drain()
            self.seen[address] = self.seen.get(address, 0) + 1


async def _hand_on(from_server: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await from_server.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def tls_proxy(state: Path, server_url: str) -> AsyncIterator[TlsProxy]:
    """While the block runs, before a server with ``tls = false`` and the state folder ``state``."""
    host, _, port = server_url.removeprefix("http://").rpartition(":")
    certificate = state.with_name("proxy.pem")
    der = (state / "certificate.der").read_bytes()
    certificate.write_text(ssl.DER_cert_to_PEM_cert(der))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, state / "keys" / "tls.pem")
    proxy = TlsProxy(host, int(port))
    listening = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=context)
    async with listening:
        proxy.url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield proxy
