"""TLS with pins, over real sockets: only the pinned get through."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from twochannel.tls import (
    client_context,
    fingerprint,
    first_contact_context,
    make_certificate,
    no_connection_left_behind,
    server_context,
)


@dataclass(frozen=True)
class Party:
    private_key: ec.EllipticCurvePrivateKey
    certificate: bytes


def _party(name: str) -> Party:
    private_key = ec.generate_private_key(ec.SECP256R1())
    return Party(private_key, make_certificate(private_key, name, serial=1))


JACK, PHONE, STRANGER = _party("jack"), _party("phone"), _party("stranger")


@contextlib.asynccontextmanager
async def _echo(context: ssl.SSLContext) -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            writer.write(await reader.readline())
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _call(port: int, context: ssl.SSLContext) -> tuple[bytes, str | None, bytes | None]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(b"hello\n")
        connection = writer.get_extra_info("ssl_object")
        return await reader.readline(), connection.version(), connection.getpeercert(True)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


async def test_mutual_pins_let_the_pair_talk_over_tls_1_3() -> None:
    server = server_context(JACK.certificate, JACK.private_key, [PHONE.certificate])
    client = client_context(JACK.certificate, PHONE.certificate, PHONE.private_key)
    async with _echo(server) as port:
        line, version, peer = await _call(port, client)
    assert (line, version) == (b"hello\n", "TLSv1.3")
    assert peer is not None
    assert fingerprint(peer) == fingerprint(JACK.certificate)


async def test_a_client_refuses_another_server() -> None:
    async with _echo(server_context(STRANGER.certificate, STRANGER.private_key)) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await _call(port, client_context(JACK.certificate))


@pytest.mark.parametrize("client", [None, STRANGER])
async def test_a_server_refuses_clients_without_the_pinned_certificate(
    client: Party | None,
) -> None:
    context = (
        client_context(JACK.certificate, client.certificate, client.private_key)
        if client
        else client_context(JACK.certificate)
    )
    server = server_context(JACK.certificate, JACK.private_key, [PHONE.certificate])
    async with _echo(server) as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):  # noqa: PT012
            line, _, _ = await _call(port, context)
            # TLS 1.3 clients finish before the server has judged them: the refusal may come as
            # the end of the stream.
            if line == b"":
                raise ConnectionError


async def test_a_certificate_with_the_pinned_ones_name_is_not_it() -> None:
    """The forged certificate has the pinned one's subject and is signed by another key."""
    forged = _party("jack")
    async with _echo(server_context(forged.certificate, forged.private_key)) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await _call(port, client_context(JACK.certificate))


async def test_a_certificate_issued_by_the_pinned_key_is_not_the_pinned_one() -> None:
    """The holder of a pin cannot vouch for others."""
    key = ec.generate_private_key(ec.SECP256R1())
    pinned = x509.load_der_x509_certificate(JACK.certificate)
    issued = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issued")]))
        .issuer_name(pinned.subject)
        .public_key(key.public_key())
        .serial_number(2)
        .not_valid_before(pinned.not_valid_before_utc)
        .not_valid_after(pinned.not_valid_after_utc)
        .sign(JACK.private_key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
    async with _echo(server_context(issued, key)) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await _call(port, client_context(JACK.certificate))


async def test_older_tls_is_refused() -> None:
    client = client_context(JACK.certificate)
    client.minimum_version = ssl.TLSVersion.TLSv1_2
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    async with _echo(server_context(JACK.certificate, JACK.private_key)) as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await _call(port, client)


async def test_first_contact_shows_the_certificate_for_checking() -> None:
    async with _echo(server_context(JACK.certificate, JACK.private_key)) as port:
        _, _, peer = await _call(port, first_contact_context())
    assert peer == JACK.certificate


def test_certificates_do_not_depend_on_the_clock() -> None:
    certificate = x509.load_der_x509_certificate(JACK.certificate)
    assert certificate.not_valid_before_utc.year == 1970
    assert certificate.not_valid_after_utc.year == 9999


async def test_a_request_cut_in_the_handshake_leaves_no_connection_behind() -> None:
    ended = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            pass
        ended.set()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        async with httpx.AsyncClient(verify=first_contact_context(), timeout=None) as http:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0), no_connection_left_behind() as extensions:
                    await http.get(f"https://127.0.0.1:{port}", extensions=extensions)
            async with asyncio.timeout(10):
                await ended.wait()
