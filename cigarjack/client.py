"""The published client of a jack: what a phone calls (docs/protocol.md, Phone and jack over Wi-Fi).

Errors, by what the phone does about them::

    JackClientError   this address is not the jack, or does not answer: try another candidate
    CodedError        the jack refused: show it, or act on its ``code``
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import httpx
from cryptography.hazmat.primitives.asymmetric import ec

from cigarjack.hint import LINK_KEY_LENGTH, hint
from cigarjack.label import Label, LabelError, parse_label
from twochannel import tls
from twochannel.protocol import envelope
from twochannel.protocol.chain import check_auth_code
from twochannel.protocol.errors import CodedError, ErrorCode, StatementError
from twochannel.protocol.keys import Jwk, Signer, VerifyingKey
from twochannel.protocol.limits import MAX_BODY_BYTES
from twochannel.protocol.statements import (
    AuthCode,
    Challenge,
    Identity,
    Pairing,
    PairingRequest,
    Role,
)
from twochannel.protocol.wire import base64url, from_base64url, parse_object

__all__ = [
    "JackClient",
    "JackClientError",
    "JackPin",
    "Label",
    "LabelError",
    "PairedJack",
    "hint",
    "pair",
    "parse_label",
]

#: Two handshakes and one write to the jack's disk, over a weak Wi-Fi link.
PAIRING_TIMEOUT_S: Final = 10.0
#: The jack closes idle connections after 75 s; ours must go first, or a request meets a closed one.
_KEEP_ALIVE_S: Final = 60.0
_STATEMENT = {"content-type": "application/jwt"}


class JackClientError(Exception):
    """The address cannot be reached, or whoever answers there is not the jack."""


@dataclass(frozen=True, slots=True)
class JackPin:
    """What a phone keeps of the jack that it is paired with.

    ``jack``: its id. ``key``: its signing key. ``certificate``: its TLS certificate, DER.
    ``link_key``: 32 secret bytes, for hints. ``epoch``: of this pairing.
    """

    jack: str
    key: Jwk
    certificate: bytes
    link_key: bytes = field(repr=False)
    epoch: int


@dataclass(frozen=True, slots=True)
class PairedJack:
    """A pairing as the phone has it: the pin to keep, the statement for the server.

    ``pairing``: compact, checked; counter-sign it and send it to the server.
    ``port``: where the jack serves its paired phone now; a hint, new at each start of the jack.
    """

    pin: JackPin
    pairing: str
    port: int


async def pair(
    host: str,
    port: int,
    label: str,
    *,
    phone: Signer,
    phone_certificate: bytes,
    server_identity: str,
    new_id: Callable[[], str],
) -> PairedJack:
    """Pair with the jack whose ``label`` the owner scanned, at its pairing listener.

    The claim secret is sent only over a connection to the certificate that the jack's own key
    vouches for. ``phone_certificate``: DER, of the client certificate for later.
    ``server_identity``: the server's identity statement as pinned at enrolment.
    Raises LabelError, JackClientError, CodedError.
    """
    wanted = parse_label(label)
    identity, certificate = await _first_contact(host, port, wanted)
    request = PairingRequest(
        iss=phone.key.kid,
        aud=identity.iss,
        jti=new_id(),
        key=phone.key.jwk,
        claim_secret=wanted.claim_secret,
        server=server_identity,
        tls_certificate=base64url(phone_certificate),
    )
    compact = envelope.sign(request, phone)
    async with _http_client(host, port, tls.client_context(certificate)) as http:
        answer = await _exchange(http, "POST", "/v1/pairings", compact, timeout_s=PAIRING_TIMEOUT_S)
    return _paired(answer, identity, certificate, phone.key.kid)


async def _first_contact(host: str, port: int, wanted: Label) -> tuple[Identity, bytes]:
    """Who is there, proven by the label: its identity and the certificate it vouches for.

    The identity alone is read over this connection. Whoever merely passes it on shows another
    certificate here, and cannot take the next connection, which is pinned to the jack's.
    """
    async with _http_client(host, port, tls.first_contact_context()) as http:
        certificates: list[bytes] = []
        compact = await _exchange(
            http, "GET", "/v1/identity", timeout_s=PAIRING_TIMEOUT_S, certificates=certificates
        )
    try:
        return _check_identity(_text(compact), certificates[0], wanted), certificates[0]
    except StatementError as error:
        raise JackClientError(f"this is not the jack on the label: {error.detail}") from None


def _check_identity(compact: str, certificate: bytes, wanted: Label) -> Identity:
    claimed = Identity.from_claims(envelope.unverified_claims(compact))
    key = VerifyingKey.from_jwk(claimed.key)
    if key.kid != wanted.thumbprint:
        raise StatementError(ErrorCode.KEY_UNKNOWN, "its key is another one")
    identity = envelope.verify(compact, Identity, key)
    if identity.role is not Role.JACK or identity.iss != key.kid:
        raise StatementError(ErrorCode.ISSUER_WRONG, "its identity is not that of a jack")
    if identity.tls_sha256 != tls.fingerprint(certificate):
        raise StatementError(ErrorCode.KEY_UNKNOWN, "someone stands between phone and jack")
    return identity


def _paired(answer: bytes, identity: Identity, certificate: bytes, phone: str) -> PairedJack:
    members = parse_object(answer)
    compact, link_key, port = (members.get(name) for name in ("pairing", "link_key", "port"))
    if not (isinstance(compact, str) and isinstance(link_key, str) and type(port) is int):
        raise StatementError(ErrorCode.MESSAGE_MALFORMED, "the jack's answer is not a pairing")
    secret = from_base64url(link_key)
    if len(secret) != LINK_KEY_LENGTH:
        raise StatementError(ErrorCode.MESSAGE_MALFORMED, "the jack's link key is malformed")
    pairing = envelope.verify(compact, Pairing, VerifyingKey.from_jwk(identity.key))
    if pairing.iss != identity.iss or pairing.sub != phone:
        raise StatementError(ErrorCode.CHAIN_BROKEN, "the pairing is for another phone")
    pin = JackPin(identity.iss, identity.key, certificate, secret, pairing.epoch)
    return PairedJack(pin, compact, port)


class JackClient:
    """A kept-alive connection to the paired jack at one address. ``async with`` it.

    ``certificate`` (DER) and ``private_key`` are the phone's own. ``timeout_s`` bounds each
    request whole; it must leave room for the 2 s for which a jack waits for a lane nonce.
    """

    def __init__(
        self,
        host: str,
        port: int,
        pin: JackPin,
        certificate: bytes,
        private_key: ec.EllipticCurvePrivateKey,
        *,
        timeout_s: float = 4.0,
    ) -> None:
        self._pin = pin
        self._key = VerifyingKey.from_jwk(pin.key)
        self._timeout_s = timeout_s
        context = tls.client_context(pin.certificate, certificate, private_key)
        self._http = _http_client(host, port, context)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(kind, error, traceback)

    async def status(self) -> dict[str, object]:
        """The jack's status, with a fresh ``time_nonce``. Raises JackClientError, CodedError."""
        status = parse_object(await self._request("GET", "/v1/status"))
        if status.get("jack") != self._pin.jack:
            raise JackClientError("another jack answers at this address")
        return status

    async def put_time(self, compact: str) -> None:
        """Give the jack the server's time statement. Raises JackClientError, CodedError."""
        await self._request("PUT", "/v1/time", compact)

    async def auth_code(self, challenge_compact: str) -> str:
        """The auth code for a challenge that the caller has verified: compact, checked.

        The same challenge again gives the same auth code. Raises JackClientError, CodedError.
        """
        challenge = Challenge.from_claims(envelope.unverified_claims(challenge_compact))
        compact = _text(await self._request("POST", "/v1/auth-codes", challenge_compact))
        auth_code = envelope.verify(compact, AuthCode, self._key, audience=challenge.iss)
        check_auth_code(challenge, challenge_compact, auth_code)
        if auth_code.epoch != self._pin.epoch:
            raise StatementError(ErrorCode.EPOCH_OUTDATED)
        return compact

    async def _request(self, method: str, path: str, compact: str | None = None) -> bytes:
        return await _exchange(self._http, method, path, compact, timeout_s=self._timeout_s)


def _http_client(host: str, port: int, context: ssl.SSLContext) -> httpx.AsyncClient:
    authority = f"[{host}]" if ":" in host else host
    return httpx.AsyncClient(
        base_url=f"https://{authority}:{port}",
        verify=context,
        timeout=None,  # noqa: S113  # each exchange is bounded as a whole
        trust_env=False,  # a proxy of the environment never lies between phone and jack
        limits=httpx.Limits(keepalive_expiry=_KEEP_ALIVE_S),
    )


async def _exchange(
    http: httpx.AsyncClient,
    method: str,
    path: str,
    compact: str | None = None,
    *,
    timeout_s: float,
    certificates: list[bytes] | None = None,
) -> bytes:
    """One request; the body of its answer, bounded in size and time.

    ``certificates`` receives the peer's. Raises JackClientError, and CodedError for a problem.
    """
    headers = _STATEMENT if compact is not None else {}
    try:
        async with (
            asyncio.timeout(timeout_s),
            tls.no_connection_left_behind() as extensions,
            http.stream(
                method, path, content=compact, headers=headers, extensions=extensions
            ) as response,
        ):
            if certificates is not None:
                certificates.append(_peer_certificate(response))
            body = await _bounded_body(response)
    except TimeoutError:
        raise JackClientError("the jack does not answer in time") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        raise JackClientError(f"the jack cannot be reached: {reason}") from error
    if response.is_success:
        return body
    raise _problem(body)


def _peer_certificate(response: httpx.Response) -> bytes:
    connection = response.extensions["network_stream"].get_extra_info("ssl_object")
    certificate: bytes = connection.getpeercert(binary_form=True)
    return certificate


async def _bounded_body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise JackClientError("the answer is too large for a jack's")
    return bytes(body)


def _text(body: bytes) -> str:
    try:
        return body.decode("ascii")
    except UnicodeDecodeError:
        raise StatementError(ErrorCode.MESSAGE_MALFORMED, "a statement is ASCII text") from None


def _problem(body: bytes) -> Exception:
    try:
        members = parse_object(body)
        return CodedError(ErrorCode(str(members.get("code"))), str(members.get("detail", ""))[:200])
    except (StatementError, ValueError):
        return JackClientError("the answer is not one of a jack")
