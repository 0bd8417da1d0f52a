"""What the owner orders about payment methods and jacks: in the wallet first, then at the server.

This phone acts on an order at once; the server is told as often as it takes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from phone_agent.delivery import TRANSIENT, deliver
from phone_agent.identity import PhoneIdentity
from phone_agent.wallet import KeptInstruction, Wallet
from server.client import ServerClient
from twochannel.protocol.envelope import sign, unverified_claims
from twochannel.protocol.errors import CodedError
from twochannel.protocol.instructions import (
    Coupling,
    CouplingAnswer,
    Instruction,
    MemberRemoval,
    MethodDefault,
    MethodRemoval,
    Release,
    Uncoupling,
)
from twochannel.trace import Trace

_log = logging.getLogger(__name__)

_MODELS: Final[dict[str, type[Instruction]]] = {
    model.TYP: model
    for model in (Coupling, MemberRemoval, MethodDefault, MethodRemoval, Release, Uncoupling)
}


class Instructions:
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

    def choose(self, method: str) -> KeptInstruction:
        """Pay with ``method`` from now on. Raises PaymentError: this phone has no such method."""
        return self._wallet.choose_method(
            method, self._signed(MethodDefault, f"/v1/payment-methods/{method}/default", sub=method)
        )

    def remove(self, method: str) -> KeptInstruction:
        """Pay with ``method`` no more. Raises PaymentError: this phone has no such method."""
        return self._wallet.remove_method(
            method, self._signed(MethodRemoval, f"/v1/payment-methods/{method}/removal", sub=method)
        )

    def release(self, jack: str) -> KeptInstruction:
        """Answer for ``jack`` no more. Raises PaymentError: it is not paired with this phone."""
        epoch = self._wallet.epoch_of(jack)
        return self._wallet.release_jack(
            jack, self._signed(Release, "/v1/releases", sub=jack, epoch=epoch)
        )

    def couple(self, method: str, challenge: str, answer: str) -> KeptInstruction:
        """Tell that the jack of ``answer`` is paid for with ``method``."""
        kept = self._signed(
            Coupling, "/v1/couplings", sub=method, challenge=challenge, answer=answer
        )
        self._wallet.keep_instruction(kept)
        return kept

    def uncouple(self, method: str, jack: str) -> KeptInstruction:
        """``jack`` is not paid for with ``method`` in particular any more."""
        return self._wallet.uncouple(
            method, jack, self._signed(Uncoupling, "/v1/uncouplings", sub=method, jack=jack)
        )

    def remove_member(self, jack: str, phone: str) -> KeptInstruction:
        """Let another phone answer for ``jack`` no more. Raises PaymentError: it is not paired."""
        epoch = self._wallet.epoch_of(jack)
        kept = self._signed(
            MemberRemoval,
            "/v1/member-removals",
            sub=jack,
            key=self._identity.signer.key.jwk,
            phone=phone,
            epoch=epoch,
        )
        self._wallet.keep_instruction(kept)
        return kept

    async def send(self, kept: KeptInstruction) -> None:
        """Tell the server, and forget the order once it has taken or refused it.

        Raises ServerUnreachableError (it is sent later), CodedError.
        """
        try:
            await deliver(
                self._server,
                kept.path,
                kept.compact,
                _MODELS[kept.typ],
                self._identity.signer,
                lambda compact: self._wallet.keep_instruction(kept.signed_again(compact)),
            )
        except CodedError as error:
            if error.code not in TRANSIENT:
                self._wallet.drop_instruction(kept.id)
            raise
        self._wallet.instruction_taken(kept.id, _coupled(kept))

    async def sweep(self, trace: Trace) -> None:
        """Send what got no answer before. Raises ServerUnreachableError."""
        for kept in self._wallet.instructions():
            trace.event("intent_swept", instruction=kept.id)
            try:
                await self.send(kept)
            except CodedError as error:
                extra = {"instruction": kept.id, "reason": str(error)}
                _log.warning("instruction_refused", extra=extra)

    def _signed(self, model: type[Instruction], path: str, **claims: object) -> KeptInstruction:
        statement = self._server.draft(model, **claims)
        compact = sign(statement, self._identity.signer)
        return KeptInstruction(statement.jti, path, model.TYP, compact)


def _coupled(kept: KeptInstruction) -> tuple[str, str] | None:
    """Jack and method, once the server has coupled them."""
    if kept.typ != Coupling.TYP:
        return None
    coupling = Coupling.from_claims(unverified_claims(kept.compact))
    answer = CouplingAnswer.from_claims(unverified_claims(coupling.answer))
    return answer.iss, coupling.sub
