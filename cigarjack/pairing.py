"""Pairing at the jack: the window, and the desk that admits one phone through it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from cigarjack import family_rules, pairing_rules
from cigarjack.clock import JackClock
from cigarjack.hint import LINK_KEY_LENGTH
from cigarjack.label import Label
from cigarjack.memory import Memory
from cigarjack.pairing_rules import Owner, PairingState
from twochannel.protocol import envelope
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.instructions import MemberInvitation
from twochannel.protocol.keys import Signer
from twochannel.protocol.limits import PAIRING_WINDOW_S
from twochannel.protocol.statements import Pairing, PairingRequest
from twochannel.protocol.wire import base64url
from twochannel.trace import Trace

_CLAIM_SECRET_LENGTH: Final = 16


class PairingWindow:
    """Open for 60 s from the last ``open``, or until ``close``."""

    def __init__(self) -> None:
        self._ends_s = 0.0
        self._opened = asyncio.Event()
        self._closed = asyncio.Event()
        self._watchers: list[Callable[[], None]] = []

    def watch(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called whenever the window was opened or closed, but for its time."""
        self._watchers.append(changed)

    @property
    def is_open(self) -> bool:
        return self.remaining_s > 0

    @property
    def remaining_s(self) -> float:
        return max(0.0, self._ends_s - time.monotonic())

    def open(self) -> None:
        self._ends_s = time.monotonic() + PAIRING_WINDOW_S
        self._closed.clear()
        self._opened.set()
        self._tell()

    def close(self) -> None:
        self._ends_s = 0.0
        self._opened.clear()
        self._closed.set()
        self._tell()

    def _tell(self) -> None:
        for changed in self._watchers:
            changed()

    async def wait_open(self) -> None:
        await self._opened.wait()

    async def wait_closed(self) -> None:
        """Return when the window has been closed or its time is over."""
        while self.is_open:
            try:
                async with asyncio.timeout(self.remaining_s):
                    await self._closed.wait()
            except TimeoutError:
                continue
        self.close()


class PairingDesk:
    """Admits a phone, makes what it admitted durable, and only then answers.

    ``identity``: the jack's identity statement. ``certificate``: its TLS certificate (DER), which
    the identity vouches for. ``random_bytes``: secret bytes of a length.
    ``on_paired``: makes the new pairing effective; returns the port of the paired service.
    """

    def __init__(
        self,
        memory: Memory,
        signer: Signer,
        clock: JackClock,
        trace: Trace,
        *,
        identity: str,
        certificate: bytes,
        new_id: Callable[[], str],
        random_bytes: Callable[[int], bytes],
        on_paired: Callable[[Owner], Awaitable[int]],
    ) -> None:
        self._memory = memory
        self._signer = signer
        self._clock = clock
        self._trace = trace
        self._new_id = new_id
        self._random_bytes = random_bytes
        self._on_paired = on_paired
        self._certificate = certificate
        self.identity = identity
        self.window = PairingWindow()
        self._invitation = family_rules.NO_INVITATION

    def open_window(self) -> Label:
        """Open the window, or keep it open for longer; the label that the phone must present.

        Raises CodedError (``claim_refused``) while the jack is locked, StorageError.
        """
        fresh = base64url(self._random_bytes(_CLAIM_SECRET_LENGTH))
        with self._memory.transaction():
            before = self._memory.pairing_state()
            state = pairing_rules.claim_secret_for_window(before, fresh)
            self._memory.store_pairing_state(state)
        self.window.open()
        return Label(self._signer.key.kid, state.claim_secret or fresh)

    def invite(self, compact: str) -> None:
        """Open the window for whoever holds the secret of the owner's invitation.

        Raises CodedError: it is not the owner's (``issuer_wrong``), of another pairing
        (``epoch_outdated``), or was given before (``statement_replayed``). Raises StorageError.
        """
        with self._memory.transaction():
            state = self._memory.pairing_state()
            invitation = family_rules.read_invitation(compact, self._signer.key.kid, state)
            if self._stands(invitation):
                return  # it came over both ways
            if self._memory.invited_before(invitation.secret_sha256):
                raise CodedError(ErrorCode.STATEMENT_REPLAYED, "the invitation was given before")
            self._memory.keep_invitation(invitation.secret_sha256)
        self.window.open()
        self._invitation = family_rules.Invited(
            invitation.secret_sha256, invitation.epoch, time.monotonic() + PAIRING_WINDOW_S
        )
        self._trace.event("member_invited")

    def _stands(self, invitation: MemberInvitation) -> bool:
        standing = self._invitation
        same = standing.secret_sha256 == invitation.secret_sha256
        return same and time.monotonic() < standing.ends_s

    async def remove(self, compact: str) -> None:
        """Give no auth code to a member any more. Raises CodedError, StorageError."""
        with self._memory.transaction():
            state = self._memory.pairing_state()
            after = family_rules.removed(compact, self._signer.key.kid, state)
            self._memory.store_pairing_state(after)
        self._trace.event("member_removed")

    def tidy(self) -> None:
        """After the window: void a claim secret that nobody used. Raises StorageError."""
        with self._memory.transaction():
            state = pairing_rules.claim_secret_after_window(self._memory.pairing_state())
            self._memory.store_pairing_state(state)

    async def pair(self, compact: str) -> dict[str, object]:
        """The answer to a pairing request. Raises CodedError, StorageError."""
        if not self.window.is_open:
            raise CodedError(ErrorCode.PAIRING_CLOSED)
        request = pairing_rules.read_request(compact, self._signer.key.kid)
        link_key = self._random_bytes(LINK_KEY_LENGTH)
        owner = self._admit(request, link_key)
        self._trace.event("paired", epoch=owner.epoch, member=request.iss != owner.phone)
        port = await self._on_paired(owner)
        self.window.close()
        return {
            "pairing": self._statement(owner, request.iss),
            "link_key": base64url(link_key),
            "port": port,
            "certificate": base64url(self._certificate),
        }

    def _admit(self, request: PairingRequest, link_key: bytes) -> Owner:
        with self._memory.transaction():
            before = self._memory.pairing_state()
            invited = self._invitation.admits(request.claim_secret, before, time.monotonic())
            admit = family_rules.join if invited else pairing_rules.admit
            verdict = admit(before, request, link_key)
            self._memory.store_pairing_state(verdict.state)
            other_server = verdict.refusal is None and pairing_rules.server_changed(
                before, verdict.state
            )
            if other_server:
                self._memory.forget_clock()
        if verdict.refusal is not None:
            raise verdict.refusal
        self._invitation = family_rules.NO_INVITATION
        if other_server:
            self._clock.forget()
        return _owner(verdict.state)

    def _statement(self, owner: Owner, phone: str) -> str:
        statement = Pairing(
            iss=self._signer.key.kid,
            aud=owner.server().id,
            jti=self._new_id(),
            sub=phone,
            identity=self.identity,
            epoch=owner.epoch,
            owner=None if phone == owner.phone else owner.phone,
        )
        return envelope.sign(statement, self._signer)


def reset(memory: Memory) -> None:
    """Unlock a jack that saw too many wrong claim secrets. Raises StorageError."""
    with memory.transaction():
        memory.store_pairing_state(pairing_rules.unlocked(memory.pairing_state()))


def _owner(state: PairingState) -> Owner:
    if state.owner is None:
        raise ValueError("an admitted phone is the owner's")
    return state.owner
