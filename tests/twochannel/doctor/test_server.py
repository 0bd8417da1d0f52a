"""Knocking at a server: real TCP and TLS on loopback."""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from twochannel import tls
from twochannel.doctor.findings import Refused, Unread
from twochannel.doctor.server import read_server
from twochannel.serving import Address, serve


class LostError(Exception):
    """No answer."""


@dataclass(frozen=True)
class Pinned:
    url: str
    certificate: bytes


@dataclass(frozen=True)
class Contact:
    """A client whose answer the test says."""

    pin: Pinned
    offset_ms: int | None = 250

    async def clock_offset_ms(self) -> int:
        if self.offset_ms is None:
            raise LostError("no answer from the server; check the network")
        return self.offset_ms


def certificate(key: ec.EllipticCurvePrivateKey) -> bytes:
    return tls.make_certificate(key, "server", secrets.randbits(128))


KEY = ec.generate_private_key(ec.SECP256R1())
CERTIFICATE = certificate(KEY)


async def _app(_scope: Any, _receive: Any, _send: Any) -> None:
    return


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with serve(_app, Address(), tls.server_context(CERTIFICATE, KEY)) as served:
        yield f"https://127.0.0.1:{served.port}"


async def test_a_server_that_answers(url: str) -> None:
    reading = await read_server(Contact(Pinned(url, CERTIFICATE)), LostError)
    assert isinstance(reading.connected_ms, float)
    assert (reading.pinned, reading.offset_ms) == ("the pinned one", 250)
    assert reading.address == url.removeprefix("https://")


async def test_another_certificate_is_told_and_the_time_not_asked_for(url: str) -> None:
    other = certificate(ec.generate_private_key(ec.SECP256R1()))
    reading = await read_server(Contact(Pinned(url, other)), LostError)
    assert isinstance(reading.connected_ms, float)
    assert isinstance(reading.pinned, Refused)
    assert "another certificate" in reading.pinned.what
    assert isinstance(reading.offset_ms, Unread)


async def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    reading = await read_server(
        Contact(Pinned(f"https://127.0.0.1:{port}", CERTIFICATE)), LostError
    )
    assert isinstance(reading.connected_ms, Refused)
    assert isinstance(reading.pinned, Unread)


async def test_no_tls_there() -> None:
    async with serve(_app, Address()) as served:
        pin = Pinned(f"https://127.0.0.1:{served.port}", CERTIFICATE)
        reading = await read_server(Contact(pin), LostError)
    assert isinstance(reading.pinned, Refused)
    assert "no TLS" in reading.pinned.what


async def test_a_server_without_the_time(url: str) -> None:
    reading = await read_server(Contact(Pinned(url, CERTIFICATE), None), LostError)
    assert isinstance(reading.offset_ms, Refused)
