"""The published client of a jack: what a phone calls, over Wi-Fi or over GATT (docs/protocol.md).

Errors, by what the phone does about them::

    JackClientError   this is not the jack, or it does not answer: try another way
    CodedError        the jack refused: show it, or act on its ``code``
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric import ec

from cigarjack.channel import Channel, JackClientError, text
from cigarjack.hint import LINK_KEY_LENGTH, hint
from cigarjack.label import Label, LabelError, parse_label
from cigarjack.link_channel import paired_channel, pairing_channel
from cigarjack.wifi_channel import WifiChannel
from twochannel import tls
from twochannel.protocol import envelope
from twochannel.protocol.chain import check_auth_code, check_coupling
from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.instructions import CouplingAnswer, CouplingChallenge
from twochannel.protocol.keys import Jwk, Signer, VerifyingKey
from twochannel.protocol.statements import (
    AuthCode,
    Challenge,
    Identity,
    Pairing,
    PairingRequest,
    Role,
)
from twochannel.protocol.wire import base64url, from_base64url, parse_object
from twochannel.radio.port import Link

__all__ = [
    "Channel",
    "JackClient",
    "JackClientError",
    "JackPin",
    "Label",
    "LabelError",
    "PairedJack",
    "gatt_channel",
    "hint",
    "pair",
    "pair_over_gatt",
    "parse_label",
    "wifi_channel",
]

#: Two handshakes and one write to the jack's disk, over a weak Wi-Fi link.
PAIRING_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class JackPin:
    """What a phone keeps of the jack that it is paired with.

    ``jack``: its id. ``key``: its signing key. ``certificate``: its TLS certificate, DER.
    ``link_key``: 32 secret bytes, for hints and GATT. ``epoch``: of this pairing.
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
    request = _pairing_request(identity, wanted, phone, phone_certificate, server_identity, new_id)
    async with WifiChannel(host, port, tls.client_context(certificate)) as channel:
        return await _ask_to_pair(channel, request, phone, identity)


async def pair_over_gatt(
    link: Link,
    label: str,
    *,
    phone: Signer,
    phone_certificate: bytes,
    server_identity: str,
    new_id: Callable[[], str],
) -> PairedJack:
    """``pair`` over a link to whoever invited to pair.

    The claim secret is sealed with the beacon key that the jack's own key vouches for.
    """
    wanted = parse_label(label)
    met: list[Identity] = []

    def beacon_key(compact: str) -> VerifyingKey:
        met.append(_check_identity(compact, wanted))
        return VerifyingKey.from_jwk(met[0].beacon_key)

    async with pairing_channel(link, beacon_key) as channel:
        request = _pairing_request(
            met[0], wanted, phone, phone_certificate, server_identity, new_id
        )
        return await _ask_to_pair(channel, request, phone, met[0])


def _pairing_request(
    identity: Identity,
    wanted: Label,
    phone: Signer,
    phone_certificate: bytes,
    server_identity: str,
    new_id: Callable[[], str],
) -> PairingRequest:
    return PairingRequest(
        iss=phone.key.kid,
        aud=identity.iss,
        jti=new_id(),
        key=phone.key.jwk,
        claim_secret=wanted.claim_secret,
        server=server_identity,
        tls_certificate=base64url(phone_certificate),
    )


async def _ask_to_pair(
    channel: Channel, request: PairingRequest, phone: Signer, identity: Identity
) -> PairedJack:
    compact = envelope.sign(request, phone)
    answer = await channel.exchange("POST", "/v1/pairings", compact, timeout_s=PAIRING_TIMEOUT_S)
    return _paired(answer, identity, phone.key.kid)


async def _first_contact(host: str, port: int, wanted: Label) -> tuple[Identity, bytes]:
    """Who is there, proven by the label: its identity and the certificate it vouches for.

    The identity alone is read over this connection. Whoever merely passes it on shows another
    certificate here, and cannot take the next connection, which is pinned to the jack's.
    """
    async with WifiChannel(host, port, tls.first_contact_context()) as channel:
        compact = await channel.exchange("GET", "/v1/identity", timeout_s=PAIRING_TIMEOUT_S)
    certificate = channel.certificate or b""
    try:
        identity = _check_identity(text(compact), wanted)
        _check_certificate(certificate, identity)
    except StatementError as error:
        raise JackClientError(f"this is not the jack on the label: {error.detail}") from None
    return identity, certificate


def _check_identity(compact: str, wanted: Label) -> Identity:
    claimed = Identity.from_claims(envelope.unverified_claims(compact))
    key = VerifyingKey.from_jwk(claimed.key)
    if key.kid != wanted.thumbprint:
        raise StatementError(ErrorCode.KEY_UNKNOWN, "its key is another one")
    identity = envelope.verify(compact, Identity, key)
    if identity.role is not Role.JACK or identity.iss != key.kid:
        raise StatementError(ErrorCode.ISSUER_WRONG, "its identity is not that of a jack")
    return identity


def _check_certificate(certificate: bytes, identity: Identity) -> None:
    if identity.tls_sha256 != tls.fingerprint(certificate):
        raise StatementError(ErrorCode.KEY_UNKNOWN, "someone stands between phone and jack")


def _paired(answer: bytes, identity: Identity, phone: str) -> PairedJack:
    members = parse_object(answer)
    names = ("pairing", "link_key", "certificate")
    compact, link_key, certificate = (str(members.get(name, "")) for name in names)
    port = members.get("port")
    secret, pinned = from_base64url(link_key), from_base64url(certificate)
    if type(port) is not int or len(secret) != LINK_KEY_LENGTH:
        raise StatementError(ErrorCode.MESSAGE_MALFORMED, "the jack's answer is not a pairing")
    _check_certificate(pinned, identity)
    pairing = envelope.verify(compact, Pairing, VerifyingKey.from_jwk(identity.key))
    if pairing.iss != identity.iss or pairing.sub != phone:
        raise StatementError(ErrorCode.CHAIN_BROKEN, "the pairing is for another phone")
    pin = JackPin(identity.iss, identity.key, pinned, secret, pairing.epoch)
    return PairedJack(pin, compact, port)


def wifi_channel(
    host: str,
    port: int,
    pin: JackPin,
    certificate: bytes,
    private_key: ec.EllipticCurvePrivateKey,
) -> Channel:
    """To the paired jack at one address. ``certificate`` (DER), ``private_key``: the phone's."""
    return WifiChannel(host, port, tls.client_context(pin.certificate, certificate, private_key))


def gatt_channel(link: Link, pin: JackPin) -> Channel:
    """To the paired jack, over a link to whoever invited as it would."""
    return paired_channel(link, pin.link_key)


class JackClient:
    """A conversation with the paired jack over one ``channel``. ``async with`` it.

    ``timeout_s`` bounds each request whole; it must leave room for the 2 s for which a jack waits
    for a lane nonce.
    """

    def __init__(self, channel: Channel, pin: JackPin, *, timeout_s: float = 4.0) -> None:
        self._channel = channel
        self._pin = pin
        self._key = VerifyingKey.from_jwk(pin.key)
        self._timeout_s = timeout_s

    async def __aenter__(self) -> Self:
        await self._channel.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._channel.__aexit__(kind, error, traceback)

    async def status(self) -> dict[str, object]:
        """The jack's status, with a fresh ``time_nonce``. Raises JackClientError, CodedError."""
        status = parse_object(await self._request("GET", "/v1/status"))
        if status.get("jack") != self._pin.jack:
            raise JackClientError("another jack answers at this address")
        return status

    async def put_time(self, compact: str) -> None:
        """Give the jack the server's time statement. Raises JackClientError, CodedError."""
        await self._request("PUT", "/v1/time", compact)

    async def put_server_key(self, compact: str) -> None:
        """Give the jack the server's word for its next key. Raises JackClientError, CodedError."""
        await self._request("PUT", "/v1/server-keys", compact)

    async def auth_code(self, challenge_compact: str) -> str:
        """The auth code for a challenge that the caller has verified: compact, checked.

        The same challenge again gives the same auth code. Raises JackClientError, CodedError.
        """
        challenge = Challenge.from_claims(envelope.unverified_claims(challenge_compact))
        compact = text(await self._request("POST", "/v1/auth-codes", challenge_compact))
        auth_code = envelope.verify(compact, AuthCode, self._key, audience=challenge.iss)
        check_auth_code(challenge, challenge_compact, auth_code)
        if auth_code.epoch != self._pin.epoch:
            raise StatementError(ErrorCode.EPOCH_OUTDATED)
        return compact

    async def coupling_answer(self, challenge_compact: str) -> str:
        """The jack's word that it is at hand, for a coupling challenge: compact, checked.

        Raises JackClientError, CodedError.
        """
        challenge = CouplingChallenge.from_claims(envelope.unverified_claims(challenge_compact))
        compact = text(await self._request("POST", "/v1/couplings", challenge_compact))
        answer = envelope.verify(compact, CouplingAnswer, self._key, audience=challenge.iss)
        check_coupling(challenge, challenge_compact, answer)
        if answer.epoch != self._pin.epoch:
            raise StatementError(ErrorCode.EPOCH_OUTDATED)
        return compact

    async def invite(self, compact: str) -> None:
        """Have the owner's invitation stand, and the window open. Raises as ``status``."""
        await self._request("POST", "/v1/member-invitations", compact)

    async def remove_member(self, compact: str) -> None:
        """Have the jack answer a member no more. Raises as ``status``."""
        await self._request("POST", "/v1/member-removals", compact)

    async def _request(self, method: str, path: str, compact: str | None = None) -> bytes:
        return await self._channel.exchange(method, path, compact, timeout_s=self._timeout_s)
