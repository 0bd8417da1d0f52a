"""Making this phone, its jacks and its payment methods known to the server.

Each statement is in the wallet before it is sent. What got no answer is sent again, the same
bytes, when the agent starts.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from cigarjack.client import JackPin, PairedJack
from phone_agent.delivery import TRANSIENT, deliver
from phone_agent.identity import PhoneIdentity
from phone_agent.wallet import KeptJack, KeptMethod, Wallet
from server.client import EnrolmentCode, ServerClient
from twochannel.protocol.envelope import sign, unverified_claims
from twochannel.protocol.errors import CodedError
from twochannel.protocol.statements import Enrolment, Method, PairingAcceptance, Role
from twochannel.trace import Trace

_log = logging.getLogger(__name__)


class Registration:
    """``new_id`` gives UUIDs for statements."""

    def __init__(
        self,
        wallet: Wallet,
        identity: PhoneIdentity,
        server: ServerClient,
        new_id: Callable[[], str],
    ) -> None:
        self._wallet = wallet
        self._identity = identity
        self._server = server
        self._new_id = new_id

    async def enrol(self, code: EnrolmentCode) -> None:
        """Register this phone and pin the server. Raises ServerUnreachableError, CodedError."""
        compact = self._kept_enrolment(code) or self._signed_enrolment(code)
        keep, signer = self._wallet.keep_enrolment, self._identity.signer
        keep(compact)
        await deliver(self._server, "/v1/enrolments", compact, Enrolment, signer, keep)
        self._wallet.pin_server(self._server.pin)

    def _kept_enrolment(self, code: EnrolmentCode) -> str | None:
        """The statement of an earlier try with this code, whose answer was lost."""
        compact = self._wallet.enrolment()
        used = unverified_claims(compact).get("code") if compact is not None else None
        return compact if used == code.code else None

    def _signed_enrolment(self, code: EnrolmentCode) -> str:
        signer = self._identity.signer
        claims = {"role": Role.PHONE, "key": signer.key.jwk, "code": code.code}
        return sign(self._server.draft(Enrolment, **claims), signer)

    def keep_pairing(self, paired: PairedJack, host: str) -> KeptJack:
        """Counter-sign a pairing and store it. It is in force when the server has it."""
        kept = KeptJack(paired.pin, host, paired.port, self._acceptance(paired.pin, paired.pairing))
        self._wallet.keep_jack(kept)
        return kept

    def _acceptance(self, pin: JackPin, pairing: str) -> str:
        acceptance = self._server.draft(PairingAcceptance, sub=pin.jack, pairing=pairing)
        return sign(acceptance, self._identity.signer)

    async def register_jack(self, kept: KeptJack) -> None:
        """Tell the server of a stored pairing. Raises ServerUnreachableError, CodedError."""
        jack = kept.pin.jack
        await deliver(
            self._server,
            "/v1/pairings",
            kept.acceptance,
            PairingAcceptance,
            self._identity.signer,
            lambda compact: self._wallet.keep_acceptance(jack, compact),
        )
        self._wallet.jack_registered(jack, kept.pin.epoch)

    def keep_method(self, token: str, label: str) -> KeptMethod:
        """Sign and store a payment method. It can be used when the server has it.

        Raises StatementError if token or label cannot be used.
        """
        method = self._server.draft(Method, token=token, label=label)
        kept = KeptMethod(method.jti, label, sign(method, self._identity.signer))
        self._wallet.keep_method(kept)
        return kept

    async def register_method(self, kept: KeptMethod) -> None:
        """Tell the server of a stored method; forget it if it is refused.

        Raises ServerUnreachableError, CodedError.
        """
        try:
            await deliver(
                self._server,
                "/v1/payment-methods",
                kept.statement,
                Method,
                self._identity.signer,
                lambda compact: self._wallet.keep_method_statement(kept.id, compact),
            )
        except CodedError as error:
            if error.code not in TRANSIENT:
                self._wallet.drop_method(kept.id)
            raise
        self._wallet.method_registered(kept.id)

    async def sweep(self, trace: Trace) -> None:
        """Send what got no answer before. Raises ServerUnreachableError."""
        for jack in self._wallet.jacks():
            if not jack.registered:
                await _swept(self.register_jack(jack), trace, jack=jack.pin.jack)
        for method in self._wallet.methods():
            if not method.registered:
                await _swept(self.register_method(method), trace, method=method.id)


async def _swept(sending: Awaitable[None], trace: Trace, **what: str) -> None:
    trace.event("intent_swept", **what)
    try:
        await sending
    except CodedError as error:
        _log.warning("registration_refused", extra={"reason": str(error)} | what)
