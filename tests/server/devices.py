"""A terminal, a jack and a phone as the server sees them: real keys, really signed statements.

Builders return claims, which a test may spoil, and ``seal`` signs whatever it is given.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import Any

import uuid6
from cryptography.hazmat.primitives.asymmetric import ec

from twochannel.keystore.file import FileAgreement, FileSigner
from twochannel.protocol.beacon import code_at, identity_key
from twochannel.protocol.envelope import digest, sign, unverified_claims
from twochannel.protocol.instructions import (
    Coupling,
    CouplingAnswer,
    MemberRemoval,
    MethodDefault,
    MethodRemoval,
    Release,
    Uncoupling,
)
from twochannel.protocol.keys import VerifyingKey
from twochannel.protocol.statements import (
    AuthCode,
    Cancel,
    Capture,
    Confirmation,
    Enrolment,
    Identity,
    Method,
    Pairing,
    PairingAcceptance,
    PaymentRequest,
    Proof,
    Refund,
    Role,
)
from twochannel.protocol.wire import base64url

Claims = dict[str, Any]


def new_id() -> str:
    return str(uuid6.uuid7())


def now_s() -> int:
    return int(time.time())


def lane_nonce(payment: str) -> bytes:
    """Each payment's own, as terminals make it."""
    return hashlib.sha256(payment.encode()).digest()[:12]


def new_signer() -> FileSigner:
    return FileSigner(ec.generate_private_key(ec.SECP256R1()))


def seal(claims: Claims | bytes, signer: FileSigner, typ: str, **header: str) -> str:
    """A compact JWS over any claims, valid or not, with any header."""
    members = {"alg": "ES256", "kid": signer.key.kid, "typ": typ} | header
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    text = f"{base64url(json.dumps(members).encode())}.{base64url(payload)}"
    return f"{text}.{base64url(signer.sign(text.encode()))}"


@dataclass
class Devices:
    """One of each, bound to the server whose ``identity`` they know."""

    identity: Identity
    terminal: FileSigner = field(default_factory=new_signer)
    jack: FileSigner = field(default_factory=new_signer)
    phone: FileSigner = field(default_factory=new_signer)
    epoch: int = 1
    counter: int = 0
    method_id: str = ""

    def __post_init__(self) -> None:
        self.jack_beacon = FileAgreement(ec.generate_private_key(ec.SECP256R1()))
        self.server_id = self.identity.iss

    def code(self, at_s: int | None = None) -> str:
        """The jack's code of this moment, or of another."""
        server = VerifyingKey.from_jwk(self.identity.beacon_key)
        secret = self.jack_beacon.exchange(server)
        key = identity_key(secret, server.point, self.jack_beacon.key.point)
        return code_at(key, at_s or now_s(), self.identity.rotation_exponent or 0).hex()

    def _claims(self, signer: FileSigner, **more: Any) -> Claims:
        base = {"iss": signer.key.kid, "aud": self.server_id, "jti": new_id()}
        return base | {"iat": now_s(), "exp": now_s() + 60} | more

    def enrolment(self, signer: FileSigner, role: Role, code: str) -> str:
        jwk = signer.key.jwk.model_dump()
        claims = self._claims(signer, role=role.value, key=jwk, code=code)
        return seal(claims, signer, Enrolment.TYP)

    def acceptance_claims(self, **changes: Any) -> Claims:
        identity = Identity(
            iss=self.jack.key.kid,
            jti=new_id(),
            role=Role.JACK,
            key=self.jack.key.jwk,
            beacon_key=self.jack_beacon.key.jwk,
            tls_sha256="0" * 64,
        )
        pairing = {
            "iss": self.jack.key.kid,
            "aud": self.server_id,
            "jti": new_id(),
            "sub": self.phone.key.kid,
            "identity": sign(identity, self.jack),
            "epoch": self.epoch,
        } | changes.pop("pairing", {})
        sealed = seal(pairing, self.jack, Pairing.TYP)
        return self._claims(self.phone, sub=self.jack.key.kid, pairing=sealed) | changes

    def acceptance(self, **changes: Any) -> str:
        return seal(self.acceptance_claims(**changes), self.phone, PairingAcceptance.TYP)

    def method_claims(self, token: str = "tok_success", **changes: Any) -> Claims:
        return self._claims(self.phone, token=token, label="Test card") | changes

    def method(self, token: str = "tok_success") -> str:
        return seal(self.method_claims(token), self.phone, Method.TYP)

    def method_default(self, method: str, **changes: Any) -> str:
        return seal(self._claims(self.phone, sub=method) | changes, self.phone, MethodDefault.TYP)

    def method_removal(self, method: str, **changes: Any) -> str:
        return seal(self._claims(self.phone, sub=method) | changes, self.phone, MethodRemoval.TYP)

    def coupling_answer(self, challenge: str, *, answer: Claims | None = None) -> str:
        """What the jack says; ``answer`` changes its claims."""
        claims = {
            "iss": self.jack.key.kid,
            "aud": self.server_id,
            "jti": new_id(),
            "sub": unverified_claims(challenge)["sub"],
            "prev": digest(challenge),
            "phone": self.phone.key.kid,
            "epoch": self.epoch,
        } | (answer or {})
        return seal(claims, self.jack, CouplingAnswer.TYP)

    def coupling(self, challenge: str, *, answer: Claims | None = None, **changes: Any) -> str:
        inside = {
            "challenge": challenge,
            "answer": self.coupling_answer(challenge, answer=answer),
            "sub": unverified_claims(challenge)["sub"],
        }
        return seal(self._claims(self.phone, **inside) | changes, self.phone, Coupling.TYP)

    def uncoupling(self, method: str, **changes: Any) -> str:
        claims = self._claims(self.phone, sub=method, jack=self.jack.key.kid) | changes
        return seal(claims, self.phone, Uncoupling.TYP)

    def release(self, **changes: Any) -> str:
        claims = self._claims(self.phone, sub=self.jack.key.kid, epoch=self.epoch) | changes
        return seal(claims, self.phone, Release.TYP)

    def member_removal(self, member: str, **changes: Any) -> str:
        """The owner removes ``member``, a phone of the jack."""
        claims = self._claims(
            self.phone,
            sub=self.jack.key.kid,
            key=self.phone.key.jwk.model_dump(),
            phone=member,
            epoch=self.epoch,
        )
        return seal(claims | changes, self.phone, MemberRemoval.TYP)

    def request_claims(self, **changes: Any) -> Claims:
        payment = new_id()
        return self._claims(
            self.terminal,
            jti=payment,
            sub=payment,
            code=self.code(),
            amount={"value": 450, "currency": "EUR"},
            capture="automatic",
            lane="Lane 1",
            lane_digest=base64url(hashlib.sha256(lane_nonce(payment)).digest()),
            reference="order-17",
            description="one coffee",
            sighting={"rssi_dbm": -50, "heard_ms_ago": 10, "other_jacks": 0},
        ) | (changes)

    def request(self, **changes: Any) -> str:
        return seal(self.request_claims(**changes), self.terminal, PaymentRequest.TYP)

    def auth_code_claims(self, challenge: Claims, compact: str, **changes: Any) -> Claims:
        self.counter += 1
        return {
            "iss": self.jack.key.kid,
            "aud": self.server_id,
            "jti": new_id(),
            "sub": challenge["sub"],
            "prev": digest(compact),
            "counter": self.counter,
            "epoch": self.epoch,
            "lane_nonce": base64url(lane_nonce(challenge["sub"])),
            "phone": self.phone.key.kid,
        } | changes

    def confirmation_claims(
        self, payment: str, challenge: str, *, auth: Claims | None = None, **changes: Any
    ) -> Claims:
        """An approval; ``auth`` changes claims of the auth code in it."""
        auth_code = self.auth_code_claims({"sub": payment}, challenge, **(auth or {}))
        return (
            self._claims(
                self.phone,
                sub=payment,
                prev=digest(challenge),
                decision="approve",
                decided_by="owner",
                auth_code=seal(auth_code, self.jack, AuthCode.TYP),
                payment_method=self.method_id,
            )
            | changes
        )

    def confirmation(
        self, payment: str, challenge: str, *, auth: Claims | None = None, **changes: Any
    ) -> str:
        claims = self.confirmation_claims(payment, challenge, auth=auth, **changes)
        return seal(claims, self.phone, Confirmation.TYP)

    def decline(self, payment: str, challenge: str, **changes: Any) -> str:
        without = {"decision": "decline", "auth_code": None, "payment_method": None}
        return self.confirmation(payment, challenge, **(without | changes))

    def capture_claims(self, request: str, value: int, **changes: Any) -> Claims:
        amount = {"value": value, "currency": "EUR"}
        return self._order_claims(request) | {"amount": amount} | changes

    def capture(self, request: str, value: int, **changes: Any) -> str:
        return seal(self.capture_claims(request, value, **changes), self.terminal, Capture.TYP)

    def cancel(self, request: str, **changes: Any) -> str:
        claims = self._order_claims(request) | {"reason": "changed mind"} | changes
        return seal(claims, self.terminal, Cancel.TYP)

    def refund_claims(self, request: str, value: int, **changes: Any) -> Claims:
        amount = {"value": value, "currency": "EUR"}
        claims = self._order_claims(request)
        return claims | {"amount": amount, "reference": f"refund-{claims['jti']}"} | changes

    def refund(self, request: str, value: int, **changes: Any) -> str:
        return seal(self.refund_claims(request, value, **changes), self.terminal, Refund.TYP)

    def _order_claims(self, request: str) -> Claims:
        return self._claims(self.terminal, sub=payment_id_of(request), prev=digest(request))

    def proof(self, signer: FileSigner, method: str, target: str, **changes: Any) -> str:
        claims = self._claims(signer, htm=method, htu=target) | changes
        return seal(claims, signer, Proof.TYP)


def payment_id_of(request: str) -> str:
    return str(unverified_claims(request)["jti"])
