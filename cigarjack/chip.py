"""The chip: mints one auth code per payment, each with a counter that never comes twice.

Counter and auth code are on disk in one transaction before the auth code leaves. If the process
dies earlier, nobody has seen that auth code, and its counter is free; if later, it is used.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from cigarjack import chip_rules
from cigarjack.chip_rules import Answered
from cigarjack.clock import JackClock
from cigarjack.memory import Memory
from cigarjack.pairing_rules import Owner
from twochannel.protocol import envelope
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.keys import Signer
from twochannel.protocol.statements import Challenge
from twochannel.trace import Trace

#: A car pays a few times a day: years of auth codes, at about 1 KB each.
KEPT_AUTH_CODES: Final = 4096


class Chip:
    """Answers challenges. ``hear``: the lane nonce for a digest, or None after the wait."""

    def __init__(
        self,
        memory: Memory,
        signer: Signer,
        clock: JackClock,
        hear: Callable[[str], Awaitable[bytes | None]],
        trace: Trace,
        new_id: Callable[[], str],
    ) -> None:
        self._memory = memory
        self._signer = signer
        self._clock = clock
        self._hear = hear
        self._trace = trace
        self._new_id = new_id

    async def auth_code(self, compact: str) -> str:
        """The auth code for a challenge: a fresh one, or the one it has had before.

        Raises CodedError, and StorageError if it could not be made durable.
        """
        payment: str | None = None
        try:
            challenge = self._read(compact, self._owner())
            payment = challenge.sub
            self._trace.event("challenge_received", payment)
            return await self._answer(challenge, compact)
        except CodedError as error:
            self._trace.event("challenge_refused", payment, code=error.code.value)
            raise

    def coupling_answer(self, compact: str) -> str:
        """The answer to a coupling challenge: this jack is at hand. Raises CodedError."""
        owner, now_s = self._owner(), self._clock.now_s()
        challenge = chip_rules.read_coupling(compact, self._signer.key.kid, owner, now_s)
        answer = chip_rules.answer_coupling(challenge, compact, owner, self._new_id())
        self._trace.event("coupling_answered", method=challenge.sub)
        return envelope.sign(answer, self._signer)

    async def _answer(self, challenge: Challenge, compact: str) -> str:
        digest = envelope.digest(compact)
        before = self._judge(challenge, digest, self._owner())
        if before is None:
            lane_nonce = await self._hear(challenge.lane_digest)
            return self._mint(challenge, compact, digest, lane_nonce)
        self._trace.event("auth_code_repeated", challenge.sub)
        return before.auth_code

    def _mint(
        self, challenge: Challenge, compact: str, digest: str, lane_nonce: bytes | None
    ) -> str:
        """Judge again, for the wait was long enough for anything, and sign."""
        with self._memory.transaction():
            owner = self._owner()
            self._read(compact, owner)
            answer = self._judge(challenge, digest, owner)
            fresh = answer is None
            if answer is None:
                answer = self._sign(challenge, digest, owner, lane_nonce)
                self._memory.store_answer(answer, KEPT_AUTH_CODES)
        if fresh:
            self._trace.event(
                "auth_code_signed",
                challenge.sub,
                counter=answer.counter,
                presence=lane_nonce is not None,
            )
        else:
            self._trace.event("auth_code_repeated", challenge.sub)
        return answer.auth_code

    def _sign(
        self, challenge: Challenge, digest: str, owner: Owner, lane_nonce: bytes | None
    ) -> Answered:
        statement = chip_rules.compose(
            challenge,
            digest,
            owner,
            counter=self._memory.counter() + 1,
            lane_nonce=lane_nonce,
            statement_id=self._new_id(),
        )
        return Answered(
            payment=challenge.sub,
            phone=challenge.phone,
            challenge_digest=digest,
            auth_code=envelope.sign(statement, self._signer),
            epoch=owner.epoch,
            counter=statement.counter,
            iat=challenge.iat,
            exp=challenge.exp,
        )

    def _read(self, compact: str, owner: Owner) -> Challenge:
        return chip_rules.read_challenge(compact, self._signer.key.kid, owner, self._clock.now_s())

    def _judge(self, challenge: Challenge, digest: str, owner: Owner) -> Answered | None:
        answered = self._memory.answered(challenge.sub, challenge.phone)
        return chip_rules.judge(challenge, digest, owner, answered, self._clock.now_s())

    def _owner(self) -> Owner:
        owner = self._memory.pairing_state().owner
        if owner is None:
            raise CodedError(ErrorCode.NOT_READY, "the jack is not paired")
        return owner
