"""TLS 1.3 with pinned self-signed certificates: trust comes from pins, never from names.

Certificates are P-256, valid from 1970 to 9999, for a jack meets its phone before it knows the
time. A context trusts exactly the certificates that it is given; host names are not checked,
for mDNS names and addresses are hints.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_NOT_BEFORE = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_AFTER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def make_certificate(
    private_key: ec.EllipticCurvePrivateKey, name: str, serial: int, address: str = ""
) -> bytes:
    """A self-signed certificate (DER) for ``private_key``. ``serial``: 64 random bits or more.

    ``address``: of a server that browsers visit, which look for it in the certificate.
    """
    # Made once in a device's life: a running agent does without the megabyte that this loads.
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private_key.public_key())
        .serial_number(serial)
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        # Not an authority: the holder of a pin vouches for nobody else.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if address:
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        use = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        builder = builder.add_extension(names, False).add_extension(use, False)
    certificate = builder.sign(private_key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.DER)


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of a DER certificate, lower-case hex (``tls_sha256`` of an identity statement)."""
    return hashlib.sha256(certificate).hexdigest()


def server_context(
    certificate: bytes, private_key: ec.EllipticCurvePrivateKey, clients: Iterable[bytes] = ()
) -> ssl.SSLContext:
    """For a server. With ``clients`` (DER) only their holders get through the handshake."""
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    _load_own(context, certificate, private_key)
    if pins := tuple(clients):
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, pins)
    return context


@dataclass(frozen=True, slots=True)
class Shown:
    """What a server shows to browsers. ``sha256``: of its certificate, lower-case hex."""

    context: ssl.SSLContext
    sha256: str


def shown_from_files(certificate: Path, private_key: Path) -> Shown:
    """A certificate, with the chain below it, and its key as PEM files of the owner's own.

    Raises OSError, whose text says what to do.
    """
    from cryptography.x509 import load_pem_x509_certificates

    context = _context(ssl.PROTOCOL_TLS_SERVER)
    try:
        first, *_ = load_pem_x509_certificates(certificate.read_bytes())
        # OpenSSL would ask the terminal for the password of a key that has one.
        context.load_cert_chain(certificate, private_key, password=lambda: b"")
    except (OSError, ValueError) as error:
        raise OSError(
            f"cannot use the certificate {certificate} with the key {private_key} ({error}); both"
            " have to be PEM, to belong together, and the key to have no password"
        ) from None
    return Shown(context, fingerprint(first.public_bytes(serialization.Encoding.DER)))


def client_context(
    server: bytes,
    certificate: bytes | None = None,
    private_key: ec.EllipticCurvePrivateKey | None = None,
) -> ssl.SSLContext:
    """For a client that talks to the holder of ``server`` (DER) and to nobody else."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    _trust(context, (server,))
    if certificate is not None and private_key is not None:
        _load_own(context, certificate, private_key)
    return context


def first_contact_context() -> ssl.SSLContext:
    """For reading an identity statement only: the peer is unknown until that is verified."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _trust(context: ssl.SSLContext, certificates: Iterable[bytes]) -> None:
    # The pin itself is looked for, not an issuer by its name: all phones' certificates have one.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    for certificate in certificates:
        context.load_verify_locations(cadata=certificate)


def _load_own(
    context: ssl.SSLContext, certificate: bytes, private_key: ec.EllipticCurvePrivateKey
) -> None:
    """OpenSSL takes a chain only from a file: one of ours, 0600, gone a moment later."""
    pem = ssl.DER_cert_to_PEM_cert(certificate).encode() + private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    descriptor, name = tempfile.mkstemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)  # noqa: S108
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
        context.load_cert_chain(name)
    finally:
        Path(name).unlink()


@asynccontextmanager
async def no_connection_left_behind() -> AsyncIterator[dict[str, Any]]:
    """``extensions`` of an httpx request that close its connection if the block fails.

    httpcore does so itself, but for one case: cancelled during the TLS handshake, as happens with
    a peer that accepts and then says nothing, it leaves the connection open (httpcore 1.0.9).
    """
    connections: list[Any] = []

    async def note(event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            connections.append(info["return_value"])

    try:
        yield {"trace": note}
    except BaseException:
        for connection in connections:
            await connection.aclose()
        raise
