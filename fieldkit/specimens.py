"""One specimen of every statement, always the same bytes: for the documentation and for tests.

The keys are derived from their names. They are public by construction and protect nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from fieldkit.family_specimens import an_invitation
from twochannel.keystore.file import FileAgreement, FileSigner
from twochannel.protocol.envelope import Statement, digest, sign
from twochannel.protocol.instructions import (
    Coupling,
    CouplingAnswer,
    CouplingChallenge,
    MemberRemoval,
    MethodDefault,
    MethodRemoval,
    Release,
    Uncoupling,
)
from twochannel.protocol.journal import Checkpoint, Entry, link, origin
from twochannel.protocol.lane import lane_digest
from twochannel.protocol.money import Amount
from twochannel.protocol.payment import CaptureMode, Status
from twochannel.protocol.statements import (
    AuthCode,
    Cancel,
    Capture,
    Challenge,
    Confirmation,
    DecidedBy,
    Decision,
    Enrolment,
    Identity,
    Merchant,
    Method,
    Pairing,
    PairingAcceptance,
    PairingRequest,
    PaymentRequest,
    Presence,
    Proof,
    Receipt,
    Refund,
    Role,
    SightingReport,
    Time,
)
from twochannel.protocol.succession import Succession
from twochannel.protocol.wire import base64url

#: 2026-11-23 12:00:00 UTC.
NOW_S: Final = 1_795_435_200
_LANE_NONCE: Final = bytes(range(12))
_BYTES_16: Final = base64url(bytes(range(16)))


def _private(name: str) -> ec.EllipticCurvePrivateKey:
    seed = hashlib.sha256(f"cigarjack specimen {name}".encode()).digest()
    return ec.derive_private_key(int.from_bytes(seed), ec.SECP256R1())


def specimen_signer(name: str) -> FileSigner:
    """The specimen signing key of ``name`` (jack, phone, server, terminal, or any other)."""
    return FileSigner(_private(name))


def specimen_agreement(name: str) -> FileAgreement:
    """The specimen key-agreement key of ``name``."""
    return FileAgreement(_private(f"{name} beacon"))


def specimen_id(number: int) -> str:
    """A UUID of version 7 at ``NOW_S``, numbered."""
    stamp = f"{NOW_S * 1000:012x}"
    return f"{stamp[:8]}-{stamp[8:]}-7000-8000-{number:012x}"


@dataclass(frozen=True, slots=True)
class Specimen:
    """A statement, the party that signs it, and its compact text."""

    statement: Statement
    party: str
    compact: str


def _signed(statement: Statement, party: str) -> Specimen:
    return Specimen(statement, party, sign(statement, specimen_signer(party)))


class Specimens:
    """All statements of one imagined payment and of what came before it, by ``typ``."""

    def __init__(self) -> None:
        kids = {p: specimen_signer(p).key.kid for p in ("jack", "phone", "server", "terminal")}
        self.jack, self.phone = kids["jack"], kids["phone"]
        self.server, self.terminal = kids["server"], kids["terminal"]
        self.by_typ: dict[str, Specimen] = {}
        self._before_any_payment()
        self._of_the_servers_keys()
        self._payment()
        self._operations()
        self._checkpoint()
        self._instructions()

    def __getitem__(self, model: type[Statement]) -> Specimen:
        return self.by_typ[model.TYP]

    def _add(self, statement: Statement, party: str) -> str:
        specimen = _signed(statement, party)
        self.by_typ[statement.TYP] = specimen
        return specimen.compact

    def identity(self, party: str, role: Role, number: int) -> Identity:
        """The identity statement of jack or server."""
        return Identity(
            iss=specimen_signer(party).key.kid,
            jti=specimen_id(number),
            role=role,
            key=specimen_signer(party).key.jwk,
            beacon_key=specimen_agreement(party).key.jwk,
            tls_sha256=hashlib.sha256(party.encode()).hexdigest(),
            rotation_exponent=8 if role is Role.SERVER else None,
        )

    def _before_any_payment(self) -> None:
        server = sign(self.identity("server", Role.SERVER, 1), specimen_signer("server"))
        jack = self._add(self.identity("jack", Role.JACK, 2), "jack")
        phone_key = specimen_signer("phone").key.jwk
        times = {"iat": NOW_S, "exp": NOW_S + 60}
        self._add(
            Enrolment(
                iss=self.phone,
                aud=self.server,
                jti=specimen_id(3),
                role=Role.PHONE,
                key=phone_key,
                code=_BYTES_16,
                **times,
            ),
            "phone",
        )
        self._add(
            PairingRequest(
                iss=self.phone,
                aud=self.jack,
                jti=specimen_id(4),
                key=phone_key,
                claim_secret=_BYTES_16,
                server=server,
                tls_certificate=base64url(bytes(240)),
            ),
            "phone",
        )
        pairing = self._add(
            Pairing(
                iss=self.jack,
                aud=self.server,
                jti=specimen_id(5),
                sub=self.phone,
                identity=jack,
                epoch=1,
            ),
            "jack",
        )
        self._add(
            PairingAcceptance(
                iss=self.phone,
                aud=self.server,
                jti=specimen_id(6),
                sub=self.jack,
                pairing=pairing,
                **times,
            ),
            "phone",
        )
        self._add(
            Time(
                iss=self.server,
                aud=self.jack,
                jti=specimen_id(7),
                nonce=_BYTES_16,
                time_ms=NOW_S * 1000,
            ),
            "server",
        )

    def _of_the_servers_keys(self) -> None:
        self._add(
            Succession(
                iss=self.server,
                jti=specimen_id(8),
                iat=NOW_S,
                identity=self.next_identity(),
                begins=NOW_S + 86_400,
                ends=NOW_S + 8 * 86_400,
            ),
            "server",
        )

    def next_identity(self, party: str = "server-next") -> str:
        """The server's identity with another signing key, compact."""
        key = specimen_signer(party)
        update = {"jti": specimen_id(9), "key": key.key.jwk}
        return sign(self.identity("server", Role.SERVER, 1).model_copy(update=update), key)

    def _payment(self) -> None:
        payment, amount = specimen_id(100), Amount(value=450, currency="EUR")
        request = PaymentRequest(
            iss=self.terminal,
            aud=self.server,
            jti=payment,
            sub=payment,
            iat=NOW_S,
            exp=NOW_S + 60,
            code="0123456789abcdef",
            amount=amount,
            capture=CaptureMode.AUTOMATIC,
            lane="Lane 1",
            lane_digest=lane_digest(_LANE_NONCE),
            reference="order-17",
            description="Flat white",
            sighting=SightingReport(rssi_dbm=-58, heard_ms_ago=40, other_jacks=1),
        )
        self.request = self._add(request, "terminal")
        self.challenge = self._add(self.challenge_for(request), "server")
        self.auth_code = self._add(
            AuthCode(
                iss=self.jack,
                aud=self.server,
                jti=specimen_id(102),
                sub=payment,
                prev=digest(self.challenge),
                counter=17,
                epoch=1,
                lane_nonce=base64url(_LANE_NONCE),
                phone=self.phone,
            ),
            "jack",
        )
        confirmation = self._add(
            Confirmation(
                iss=self.phone,
                aud=self.server,
                jti=specimen_id(103),
                sub=payment,
                iat=NOW_S + 1,
                exp=NOW_S + 60,
                prev=digest(self.challenge),
                decision=Decision.APPROVE,
                decided_by=DecidedBy.POLICY,
                auth_code=self.auth_code,
                payment_method=specimen_id(8),
            ),
            "phone",
        )
        self._add(
            Receipt(
                iss=self.server,
                aud=self.terminal,
                jti=specimen_id(104),
                sub=payment,
                iat=NOW_S + 1,
                prev=digest(confirmation),
                status=Status.CAPTURED,
                currency="EUR",
                authorized_minor=450,
                captured_minor=450,
                refunded_minor=0,
                processor_reference="sim-1",
            ),
            "server",
        )

    def challenge_for(self, request: PaymentRequest) -> Challenge:
        """The challenge that the specimen server answers ``request`` with."""
        return Challenge(
            iss=self.server,
            aud=self.jack,
            jti=specimen_id(101),
            sub=request.sub,
            iat=NOW_S,
            exp=NOW_S + 60,
            prev=digest(self.request),
            amount=request.amount,
            capture=request.capture,
            merchant=Merchant(id="blue-bottle", name="Blue Bottle"),
            lane=request.lane,
            lane_digest=request.lane_digest,
            presence=Presence.PREFER,
            phone=self.phone,
            nonce=_BYTES_16,
            match_code="42",
        )

    def _operations(self) -> None:
        times: dict[str, Any] = {"iat": NOW_S, "exp": NOW_S + 60}
        by_terminal: dict[str, Any] = {
            "iss": self.terminal,
            "aud": self.server,
            "sub": specimen_id(100),
        }
        prev = digest(self.request)
        amount = Amount(value=400, currency="EUR")
        self._add(
            Capture(jti=specimen_id(105), prev=prev, amount=amount, **by_terminal, **times),
            "terminal",
        )
        self._add(
            Cancel(jti=specimen_id(106), prev=prev, reason="wrong car", **by_terminal, **times),
            "terminal",
        )
        given_back = Amount(value=150, currency="EUR")
        self._add(
            Refund(
                jti=specimen_id(108),
                prev=prev,
                amount=given_back,
                reference="order-17-milk",
                reason="sour milk",
                **by_terminal,
                **times,
            ),
            "terminal",
        )

    def _instructions(self) -> None:
        times: dict[str, Any] = {"iat": NOW_S, "exp": NOW_S + 60}
        by_phone: dict[str, Any] = {"iss": self.phone, "aud": self.server}
        self._add(
            Method(
                jti=specimen_id(8),
                token="tok_success",  # noqa: S106
                label="Test card",
                **by_phone,
                **times,
            ),
            "phone",
        )
        about_method: dict[str, Any] = {"sub": specimen_id(8), **by_phone, **times}
        self._add(MethodDefault(jti=specimen_id(9), **about_method), "phone")
        coupling = self._add(
            CouplingChallenge(
                iss=self.server,
                aud=self.jack,
                jti=specimen_id(12),
                sub=specimen_id(8),
                phone=self.phone,
                nonce=_BYTES_16,
                **times,
            ),
            "server",
        )
        answer = self._add(
            CouplingAnswer(
                iss=self.jack,
                aud=self.server,
                jti=specimen_id(13),
                sub=specimen_id(8),
                prev=digest(coupling),
                phone=self.phone,
                epoch=1,
            ),
            "jack",
        )
        self._add(
            Coupling(jti=specimen_id(14), challenge=coupling, answer=answer, **about_method),
            "phone",
        )
        self._add(Uncoupling(jti=specimen_id(15), jack=self.jack, **about_method), "phone")
        self._add(MethodRemoval(jti=specimen_id(10), **about_method), "phone")
        self._add(
            Release(jti=specimen_id(11), sub=self.jack, epoch=1, **by_phone, **times), "phone"
        )
        key = specimen_signer("phone").key.jwk
        self._add(an_invitation(specimen_id(16), self.phone, self.jack, key), "phone")
        removal = {"sub": self.jack, "key": key, "phone": self.terminal, **by_phone, **times}
        self._add(MemberRemoval(jti=specimen_id(17), epoch=1, **removal), "phone")
        self._add(
            Proof(jti=specimen_id(107), htm="GET", htu="/v1/events", **by_phone, **times), "phone"
        )

    def _checkpoint(self) -> None:
        """Of a journal whose only entry is the payment request."""
        request = Entry(1, specimen_id(100), digest(self.request), NOW_S * 1000)
        checkpoint = Checkpoint(
            iss=self.server,
            jti=specimen_id(109),
            iat=NOW_S,
            entries=1,
            link=link(origin(self.server), request),
        )
        self._add(checkpoint, "server")
