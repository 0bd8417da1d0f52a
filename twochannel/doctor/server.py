"""Knocks at the server, one step after the other: TCP, TLS with the pin, the time."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from typing import Final, Protocol
from urllib.parse import urlsplit

from twochannel import tls
from twochannel.doctor.findings import Missing, Refused, Unread
from twochannel.doctor.readings import ServerReading
from twochannel.protocol.errors import CodedError

_TIMEOUT_S: Final = 5.0
_PORT: Final = 443


class Pin(Protocol):
    """Where the server is, and the certificate that was pinned (DER)."""

    @property
    def url(self) -> str: ...

    @property
    def certificate(self) -> bytes: ...


class ServerContact(Protocol):
    """The published client of the server, as far as it is needed here."""

    @property
    def pin(self) -> Pin: ...

    async def clock_offset_ms(self) -> int: ...


async def read_server(server: ServerContact, unreachable: type[Exception]) -> ServerReading:
    """``unreachable``: what the client raises, besides CodedError, when no answer comes."""
    address = urlsplit(server.pin.url)
    host, port = address.hostname or "", address.port or _PORT
    connected_ms = await _connect(host, port)
    pinned: str | Refused | Missing = Unread("there is no connection")
    if not isinstance(connected_ms, Refused):
        pinned = await _shake_hands(host, port, server.pin.certificate)
    offset: int | Refused | Missing = Unread("there is no trusted connection")
    if isinstance(pinned, str):
        try:
            offset = await server.clock_offset_ms()
        except (unreachable, CodedError) as error:
            offset = Refused(str(error))
    return ServerReading(address.netloc, connected_ms, pinned, offset)


async def _connect(host: str, port: int) -> float | Refused:
    began_s = time.monotonic()
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Refused(f"{host}:{port} does not answer in {_TIMEOUT_S:.0f} s")
    except OSError as error:
        return Refused(f"{host}:{port}: {error.strerror or type(error).__name__}")
    took_ms = (time.monotonic() - began_s) * 1000
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return took_ms


async def _shake_hands(host: str, port: int, certificate: bytes) -> str | Refused:
    context = tls.client_context(certificate)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLCertVerificationError:
        return Refused("it shows another certificate than the pinned one")
    except (ssl.SSLError, OSError, TimeoutError) as error:
        return Refused(f"no TLS 1.3 there ({type(error).__name__})")
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return "the pinned one"
