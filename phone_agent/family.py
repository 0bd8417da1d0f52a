"""Several phones of one jack: the owner's phone invites others, lists and removes them."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cigarjack.client import JackClient, JackClientError, Label
from phone_agent.identity import PhoneIdentity
from phone_agent.instructions import Instructions
from phone_agent.jack_care import JackCare
from phone_agent.owed import Owed
from phone_agent.wallet import Wallet
from server.client import ServerClient, ServerUnreachableError
from twochannel.protocol.envelope import sign, unverified_claims
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.instructions import MemberInvitation, MemberRemoval
from twochannel.protocol.limits import PAIRING_WINDOW_S
from twochannel.protocol.wire import base64url

_SECRET_BYTES = 16


@dataclass(frozen=True, slots=True)
class Family:
    """Of the jacks that are paired with this phone. ``new_id`` gives UUIDs for statements."""

    wallet: Wallet
    identity: PhoneIdentity
    server: ServerClient
    jacks: JackCare
    instructions: Instructions
    owed: Owed
    new_id: Callable[[], str]

    async def phones(self) -> dict[str, Any]:
        """This phone's jacks with their phones, as the server has them. Raises CodedError."""
        try:
            items = await self.server.jacks()
        except ServerUnreachableError as error:
            raise CodedError(ErrorCode.SERVER_UNREACHABLE, str(error)) from None
        return {"items": [item.model_dump(mode="json") for item in items]}

    async def invite(self, jack: str) -> dict[str, Any]:
        """A label with which one other phone may pair with the jack within a minute.

        Raises CodedError: ``jack_unreachable``, ``issuer_wrong`` (this phone is not the owner's).
        """
        secret = base64url(secrets.token_bytes(_SECRET_BYTES))
        statement = MemberInvitation(
            iss=self.identity.phone,
            aud=jack,
            jti=self.new_id(),
            key=self.identity.signer.key.jwk,
            epoch=self.wallet.epoch_of(jack),
            secret_sha256=base64url(hashlib.sha256(secret.encode()).digest()),
        )
        compact = sign(statement, self.identity.signer)

        async def invite(client: JackClient) -> None:
            # Or it would put out whom this invites.
            await self.owed.tell(jack, client)
            await client.invite(compact)

        try:
            await self.jacks.tell(jack, invite)
        except JackClientError as error:
            raise CodedError(ErrorCode.JACK_UNREACHABLE, str(error)) from None
        return {"jack": jack, "label": str(Label(jack, secret)), "open_s": PAIRING_WINDOW_S}

    async def remove(self, jack: str, phone: str) -> dict[str, Any]:
        """End a membership; ``jack_told``: whether the jack was in reach, or is told when it is.

        Once the server knows, the phone pays nothing more with this jack. Raises CodedError;
        ``server_unreachable``: the server is told later.
        """
        kept = self.instructions.remove_member(jack, phone)
        try:
            await self.instructions.send(kept)
        except ServerUnreachableError as error:
            raise CodedError(ErrorCode.SERVER_UNREACHABLE, str(error)) from None
        statement = MemberRemoval.from_claims(unverified_claims(kept.compact))
        for_jack = statement.model_copy(update={"aud": jack, "jti": self.new_id()})
        self.wallet.owe(jack, for_jack.jti, sign(for_jack, self.identity.signer))
        with suppress(JackClientError, CodedError):
            await self.jacks.tell(jack, lambda client: self.owed.tell(jack, client))
        return {"jack": jack, "phone": phone, "jack_told": not self.owed.anything(jack)}
