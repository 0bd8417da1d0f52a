"""PURE. Who may become the owner's phone of a jack (docs/protocol.md, Pairing).

Every pairing needs two things at once: the window open, which takes access to the jack, and the
claim secret of its label. A secret serves once; five wrong ones lock the jack until its operator
resets it. The window alone would let anyone in radio range of the car pair while its owner does.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field, replace
from typing import TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from twochannel.protocol import beacon, envelope
from twochannel.protocol.errors import CodedError, ErrorCode, StatementError
from twochannel.protocol.keys import VerifyingKey
from twochannel.protocol.limits import MAX_CLAIM_TRIES
from twochannel.protocol.statements import Identity, PairingRequest
from twochannel.protocol.succession import Lineage, read_lineage
from twochannel.protocol.wire import from_base64url

S = TypeVar("S", bound=envelope.Statement)


@dataclass(frozen=True, slots=True)
class ServerPin:
    """What a jack knows of its server: ``keys`` sign, ``beacon_key`` agrees on the identity key."""

    id: str
    keys: Lineage
    beacon_key: VerifyingKey
    rotation_exponent: int

    def verify(self, compact: str, model: type[S], jack: str, now_s: int | None) -> S:
        """What the server says to ``jack``. Raises StatementError.

        ``now_s``: trusted time, by which an old key is over. Without it the last two are believed.
        """
        keys = self.keys.recent() if now_s is None else self.keys
        statement = keys.verify(compact, model, audience=jack, at_s=now_s)
        if getattr(statement, "iss", None) != self.id:
            raise StatementError(ErrorCode.ISSUER_WRONG, "it comes from another server")
        return statement


@dataclass(frozen=True, slots=True)
class Member:
    """A further phone, which the owner's has invited. ``phone_certificate``: DER."""

    phone: str
    phone_certificate: bytes
    link_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Owner:
    """The pairing in force. ``phone_certificate``: DER.

    ``server_identity``: the server's identity at the pairing, and the successions since (lineage).
    ``members``: the further phones, until the next pairing.
    """

    phone: str
    phone_certificate: bytes
    server_identity: str
    link_key: bytes = field(repr=False)
    epoch: int
    members: tuple[Member, ...] = ()

    def answers(self, phone: str) -> bool:
        """Whether the jack gives auth codes to ``phone``: the owner's, or a member."""
        return phone == self.phone or any(phone == member.phone for member in self.members)

    def certificates(self) -> list[bytes]:
        """Of all phones, DER."""
        return [self.phone_certificate, *(member.phone_certificate for member in self.members)]

    def link_keys(self) -> list[bytes]:
        """Of all phones, the owner's first."""
        return [self.link_key, *(member.link_key for member in self.members)]

    def server(self) -> ServerPin:
        """The pinned server."""
        return _pin(read_lineage(self.server_identity))

    def succeeded(self, compact: str) -> Owner:
        """With the server's next key. Raises StatementError."""
        lineage = read_lineage(self.server_identity).succeed(compact)
        return replace(self, server_identity=lineage.text)


@dataclass(frozen=True, slots=True)
class PairingState:
    """What the jack remembers about pairing. ``claim_secret``: None once it was used."""

    owner: Owner | None
    claim_secret: str | None = field(repr=False)
    wrong_tries: int

    @property
    def epoch(self) -> int:
        """Of the pairing in force; 0 before the first."""
        return self.owner.epoch if self.owner else 0

    @property
    def locked(self) -> bool:
        return self.wrong_tries >= MAX_CLAIM_TRIES


@dataclass(frozen=True, slots=True)
class Verdict:
    """``state`` must be stored before anyone is answered. ``refusal``: None when admitted."""

    state: PairingState
    refusal: CodedError | None


def read_request(compact: str, jack: str) -> PairingRequest:
    """Verify a pairing request and all that it carries. Raises StatementError."""
    claimed = PairingRequest.from_claims(envelope.unverified_claims(compact))
    key = VerifyingKey.from_jwk(claimed.key)
    request = envelope.verify(compact, PairingRequest, key, audience=jack)
    if request.iss != key.kid:
        raise StatementError(ErrorCode.ISSUER_WRONG, "a phone pairs itself and no other")
    read_server(request.server)
    _check_certificate(from_base64url(request.tls_certificate))
    return request


def read_server(compact: str) -> ServerPin:
    """Verify a server's identity statement. Raises StatementError."""
    return _pin(read_lineage(compact))


def admit(state: PairingState, request: PairingRequest, link_key: bytes) -> Verdict:
    """Decide on a verified ``request`` in the open window. ``link_key``: 32 fresh bytes."""
    if refusal := _claim_refusal(state, request.claim_secret):
        tries = state.wrong_tries + (request.claim_secret is not None and not state.locked)
        return Verdict(replace(state, wrong_tries=tries), refusal)
    owner = Owner(
        phone=request.iss,
        phone_certificate=from_base64url(request.tls_certificate),
        server_identity=request.server,
        link_key=link_key,
        epoch=state.epoch + 1,
    )
    return Verdict(PairingState(owner, claim_secret=None, wrong_tries=0), None)


def claim_secret_for_window(state: PairingState, fresh: str) -> PairingState:
    """The state in which a window opens: a used claim secret is replaced by the ``fresh`` one.

    Raises CodedError (``claim_refused``) while the jack is locked.
    """
    if state.locked:
        raise CodedError(ErrorCode.CLAIM_REFUSED, "pairing is locked after too many wrong tries")
    return replace(state, claim_secret=state.claim_secret or fresh)


def claim_secret_after_window(state: PairingState) -> PairingState:
    """The state in which a window closes: a jack with an owner keeps no secret in waiting."""
    return replace(state, claim_secret=None) if state.owner else state


def unlocked(state: PairingState) -> PairingState:
    """The state after its operator has reset the wrong tries."""
    return replace(state, wrong_tries=0)


def server_changed(before: PairingState, after: PairingState) -> bool:
    """Whether another server's keys now sign the time and make the codes.

    Nothing that the server before said about the time holds for the new one.
    """
    return _server_of(before) != _server_of(after)


def _server_of(state: PairingState) -> tuple[str, VerifyingKey] | None:
    """What stays of a server when it signs with another key."""
    if state.owner is None:
        return None
    server = state.owner.server()
    return server.id, server.beacon_key


def _claim_refusal(state: PairingState, presented: str | None) -> CodedError | None:
    if state.locked:
        return CodedError(ErrorCode.CLAIM_REFUSED, "pairing is locked after too many wrong tries")
    if presented is None:
        return CodedError(ErrorCode.CLAIM_REFUSED, "the label's claim secret is missing")
    expected = state.claim_secret
    if expected is None or not hmac.compare_digest(presented.encode(), expected.encode()):
        return CodedError(ErrorCode.CLAIM_REFUSED)
    return None


def _pin(lineage: Lineage) -> ServerPin:
    # Verified with the lineage.
    identity = Identity.from_claims(envelope.unverified_claims(lineage.newest.identity))
    exponent = identity.rotation_exponent
    return ServerPin(
        id=lineage.server,
        keys=lineage,
        beacon_key=VerifyingKey.from_jwk(identity.beacon_key),
        rotation_exponent=beacon.DEFAULT_ROTATION_EXPONENT if exponent is None else exponent,
    )


def _check_certificate(certificate: bytes) -> None:
    """Exactly one certificate with a P-256 key, for TLS will trust whatever is in here."""
    # A jack is paired once and runs for weeks: it does without the megabyte that this loads.
    from cryptography import x509

    try:
        parsed = x509.load_der_x509_certificate(certificate)
        key = parsed.public_key()
        whole = parsed.public_bytes(Encoding.DER) == certificate
    except (ValueError, UnsupportedAlgorithm):
        raise StatementError(ErrorCode.CLAIM_INVALID, "the certificate cannot be read") from None
    if not (whole and isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"):
        raise StatementError(ErrorCode.CLAIM_INVALID, "the certificate must be one, on P-256")
