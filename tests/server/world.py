"""A server's database with one merchant, terminal, jack and phone, and what these sign.

Every statement is really signed, and enters through the transactions that the doors use.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, update

from server.allowances import Allowances
from server.confirmations import SignedConfirmation, accept_confirmation
from server.couplings import SignedCoupling, challenge_jack, couple
from server.instructions import Signed
from server.issuer import Issuer
from server.operations import SignedOrder, accept_order
from server.operator_orders import order_cancel, order_refund
from server.pairing import AcceptedPairing, read_acceptance, store_pairing
from server.payment_methods import add_payment_method, remove_method
from server.payments import end_operation, get_payment, settle
from server.refunds import SignedRefund, accept_refund
from server.registry import add_enrolment_code, add_merchant, enrol
from server.requests import Fresh, SignedRequest, accept_request
from server.schema.orders import outbox
from server.store import Store
from tests.server.devices import lane_nonce, new_id, new_signer
from tests.server.sql import execute
from twochannel.keystore.file import FileSigner
from twochannel.protocol.envelope import digest, sign, unverified_claims
from twochannel.protocol.instructions import (
    Coupling,
    CouplingAnswer,
    CouplingChallenge,
    MethodRemoval,
)
from twochannel.protocol.money import Amount
from twochannel.protocol.payment import CaptureMode, Event
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
    Method,
    Pairing,
    PairingAcceptance,
    PaymentRequest,
    Presence,
    Refund,
    Role,
    SightingReport,
)
from twochannel.protocol.wire import base64url

LANE = "Lane 1"
#: For worlds in which limits are not what is tested.
PLENTY = 10_000
#: A fixed present: 2023-11-14T22:13:20Z.
NOW_MS = 1_700_000_000_000


def identity(role: Role, signer: FileSigner) -> str:
    jwk = signer.key.jwk
    statement = Identity(
        iss=signer.key.kid,
        jti=new_id(),
        role=role,
        key=jwk,
        beacon_key=new_signer().key.jwk,
        tls_sha256="0" * 64,
        rotation_exponent=8 if role is Role.SERVER else None,
    )
    return sign(statement, signer)


@dataclass
class World:
    """See the module. ``now_ms`` is moved by the test."""

    store: Store
    presence: Presence = Presence.PREFER
    now_ms: int = NOW_MS
    server: FileSigner = field(default_factory=new_signer)
    terminal: FileSigner = field(default_factory=new_signer)
    jack: FileSigner = field(default_factory=new_signer)
    phone: FileSigner = field(default_factory=new_signer)
    epoch: int = 1
    counter: int = 0
    allowances: Allowances = field(default_factory=lambda: Allowances(PLENTY, PLENTY))

    def __post_init__(self) -> None:
        self.issuer = Issuer(self.server.key.kid, self.server, new_id)
        self.identity = identity(Role.SERVER, self.server)
        self.methods: dict[str, str] = {}
        self.compacts: dict[str, dict[str, str]] = {}
        self.store.write_now(
            lambda c: add_merchant(c, "coffee", "Blue Bottle", self.presence, self.now_ms)
        )
        self.enrol(Role.TERMINAL, self.terminal)
        self.enrol(Role.PHONE, self.phone)
        self.pair()

    def lasting(self) -> dict[str, Any]:
        return {"iat": self.now_ms // 1000, "exp": self.now_ms // 1000 + 60}

    def enrol(self, role: Role, signer: FileSigner) -> None:
        code = base64url(hashlib.md5(signer.key.point).digest())
        merchant = "coffee" if role is Role.TERMINAL else None
        statement = Enrolment(
            iss=signer.key.kid,
            aud=self.server.key.kid,
            jti=new_id(),
            role=role,
            key=signer.key.jwk,
            code=code,
            **self.lasting(),
        )
        compact = sign(statement, signer)

        def transaction(c: Connection) -> None:
            add_enrolment_code(c, code, role, LANE, merchant, self.now_ms)
            enrol(c, statement, compact, self.server.key.kid, self.now_ms)

        self.store.write_now(transaction)

    def pair(self) -> None:
        """The jack and the phone, in ``epoch``."""
        accepted = self.accepted_pairing()
        self.store.write_now(lambda c: store_pairing(c, accepted, self.now_ms))

    def accepted_pairing(self) -> AcceptedPairing:
        """What jack and phone say to be paired in ``epoch``."""
        pairing = Pairing(
            iss=self.jack.key.kid,
            aud=self.server.key.kid,
            jti=new_id(),
            sub=self.phone.key.kid,
            identity=identity(Role.JACK, self.jack),
            epoch=self.epoch,
        )
        acceptance = PairingAcceptance(
            iss=self.phone.key.kid,
            aud=self.server.key.kid,
            jti=new_id(),
            sub=self.jack.key.kid,
            pairing=sign(pairing, self.jack),
            **self.lasting(),
        )
        compact = sign(acceptance, self.phone)
        return read_acceptance(compact, self.phone.key, self.server.key.kid)

    def method(self, token: str = "tok_success") -> str:
        """The id of a payment method with this token."""
        if token not in self.methods:
            statement = Method(
                iss=self.phone.key.kid,
                aud=self.server.key.kid,
                jti=new_id(),
                token=token,
                label=token,
                **self.lasting(),
            )
            compact = sign(statement, self.phone)
            self.store.write_now(
                lambda c: add_payment_method(c, statement, compact, token, self.now_ms)
            )
            self.methods[token] = statement.jti
        return self.methods[token]

    def remove_method(self, token: str) -> None:
        removal = MethodRemoval(
            iss=self.phone.key.kid,
            aud=self.server.key.kid,
            jti=new_id(),
            sub=self.method(token),
            **self.lasting(),
        )
        signed = Signed(removal, sign(removal, self.phone))
        self.store.write_now(lambda c: remove_method(c, signed, self.now_ms))

    def couple(self, token: str) -> None:
        """The method to the jack, with the jack's word."""
        parties: dict[str, Any] = {"aud": self.server.key.kid, "sub": self.method(token)}
        phone = self.phone.key.kid
        compact = self.store.read_now(
            lambda c: challenge_jack(
                c,
                self.method(token),
                self.jack.key.kid,
                phone,
                nonce=base64url(secrets.token_bytes(16)),
                now_ms=self.now_ms,
                issuer=self.issuer,
            )
        )
        answer = CouplingAnswer(
            iss=self.jack.key.kid,
            jti=new_id(),
            prev=digest(compact),
            phone=phone,
            epoch=self.epoch,
            **parties,
        )
        coupling = Coupling(
            iss=phone,
            jti=new_id(),
            challenge=compact,
            answer=sign(answer, self.jack),
            **parties,
            **self.lasting(),
        )
        challenge = CouplingChallenge.from_claims(unverified_claims(compact))
        signed = Signed(coupling, sign(coupling, self.phone))
        self.store.write_now(
            lambda c: couple(c, SignedCoupling(signed, challenge, answer), self.now_ms)
        )

    def request(
        self, value: int = 450, capture: CaptureMode = CaptureMode.AUTOMATIC, currency: str = "EUR"
    ) -> str:
        """A pending payment; its id."""
        payment = new_id()
        statement = PaymentRequest(
            iss=self.terminal.key.kid,
            aud=self.server.key.kid,
            jti=payment,
            sub=payment,
            code="00" * 8,
            amount=Amount(value=value, currency=currency),
            capture=capture,
            lane=LANE,
            lane_digest=base64url(hashlib.sha256(lane_nonce(payment)).digest()),
            reference=f"order-{payment[:8]}",
            sighting=SightingReport(rssi_dbm=-50, heard_ms_ago=10, other_jacks=0),
            **self.lasting(),
        )
        compact = sign(statement, self.terminal)
        signed = SignedRequest(statement, compact, self.terminal.key.kid, self.jack.key.kid)
        fresh = Fresh(base64url(secrets.token_bytes(16)), "42", self.now_ms)
        self.store.write_now(
            lambda c: accept_request(c, signed, fresh, self.issuer, self.allowances)
        )
        return payment

    def statement(self, payment: str, typ: str) -> str:
        """The payment's newest statement of a type, compact."""

        def find(c: Connection) -> object:
            return execute(
                c,
                "SELECT compact FROM statements WHERE payment_id = ? AND typ = ?"
                " ORDER BY position DESC",
                payment,
                typ,
            ).scalar()

        return str(self.store.read_now(find))

    def auth_code(self, payment: str, *, heard: bool = True) -> AuthCode:
        self.counter += 1
        challenge = self.statement(payment, Challenge.TYP)
        return AuthCode(
            iss=self.jack.key.kid,
            aud=self.server.key.kid,
            jti=new_id(),
            sub=payment,
            prev=digest(challenge),
            counter=self.counter,
            epoch=self.epoch,
            lane_nonce=base64url(lane_nonce(payment)) if heard else None,
            phone=self.phone.key.kid,
        )

    def confirm(
        self,
        payment: str,
        decision: Decision = Decision.APPROVE,
        *,
        token: str = "tok_success",
        heard: bool = True,
        decided_by: DecidedBy = DecidedBy.OWNER,
    ) -> None:
        auth_code = self.auth_code(payment, heard=heard)
        auth_compact = sign(auth_code, self.jack)
        statement = Confirmation(
            iss=self.phone.key.kid,
            aud=self.server.key.kid,
            jti=new_id(),
            sub=payment,
            prev=auth_code.prev,
            decision=decision,
            decided_by=decided_by,
            auth_code=auth_compact,
            payment_method=self.method(token) if decision is Decision.APPROVE else None,
            **self.lasting(),
        )
        compact = sign(statement, self.phone)
        signed = SignedConfirmation(
            statement, compact, self.phone.key.kid, auth_code, self.jack.key.kid
        )
        self.store.write_now(
            lambda c: accept_confirmation(
                c, payment, signed, self.now_ms, self.issuer, self.allowances
            )
        )

    def capture(self, payment: str, value: int, currency: str = "EUR") -> None:
        amount = Amount(value=value, currency=currency)
        self._order(payment, Capture(**self._order_claims(payment), amount=amount))

    def cancel(self, payment: str) -> None:
        self._order(payment, Cancel(**self._order_claims(payment)))

    def operator_cancel(self, payment: str) -> None:
        self.store.write_now(lambda c: order_cancel(c, self.issuer, payment, "", self.now_ms))

    def refund(
        self, payment: str, value: int, reference: str = "", *, currency: str = "EUR"
    ) -> str:
        """A refund that the terminal has asked for; its id."""
        claims, amount = self._order_claims(payment), Amount(value=value, currency=currency)
        name = reference or f"refund-{claims['jti']}"
        return self.sign_refund(payment, Refund(**claims, amount=amount, reference=name))

    def sign_refund(self, payment: str, statement: Refund) -> str:
        signed = SignedRefund(statement, sign(statement, self.terminal), self.terminal.key.kid)
        self.store.write_now(lambda c: accept_refund(c, payment, signed, self.now_ms, self.issuer))
        return statement.jti

    def operator_refund(self, payment: str, value: int) -> str:
        amount = Amount(value=value, currency="EUR")
        refund = self.store.write_now(
            lambda c: order_refund(
                c, self.issuer, payment, amount, f"desk-{value}", "", self.now_ms
            )
        )
        return str(refund["id"])

    def _order_claims(self, payment: str) -> dict[str, Any]:
        return {
            "iss": self.terminal.key.kid,
            "aud": self.server.key.kid,
            "jti": new_id(),
            "sub": payment,
            "prev": digest(self.statement(payment, PaymentRequest.TYP)),
            **self.lasting(),
        }

    def _order(self, payment: str, statement: Capture | Cancel) -> None:
        signed = SignedOrder(statement, sign(statement, self.terminal), self.terminal.key.kid)
        self.store.write_now(lambda c: accept_order(c, payment, signed, self.now_ms, self.issuer))

    def settle(self, payment: str, event: Event, **outcome: Any) -> None:
        """What the outbox does once the processor has answered."""
        self.store.write_now(
            lambda c: settle(c, get_payment(c, payment), event, self.now_ms, self.issuer, **outcome)
        )

    def refuse(self, payment: str, reason: str) -> None:
        """The processor refused the capture or void that is under way."""

        def transaction(c: Connection) -> None:
            c.execute(
                update(outbox)
                .where(outbox.c.payment_id == payment, outbox.c.state == "queued")
                .values(state="done", outcome="refused", reason=reason)
            )
            end_operation(c, get_payment(c, payment), self.now_ms, reason)

        self.store.write_now(transaction)

    def payment(self, payment: str) -> dict[str, object]:
        """The payment's row."""
        return dict(self.rows("SELECT * FROM payments WHERE id = ?", payment)[0])

    def rows(self, sql: str, *parameters: object) -> list[dict[str, object]]:
        def read(c: Connection) -> list[dict[str, object]]:
            return [
                {str(k): v for k, v in row.items()}
                for row in execute(c, sql, *parameters).mappings()
            ]

        return self.store.read_now(read)
