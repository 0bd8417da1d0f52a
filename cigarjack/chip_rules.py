"""PURE. Which challenge the chip may answer, and with what (docs/protocol.md, Who checks what)."""

from __future__ import annotations

from dataclasses import dataclass, field

from cigarjack.pairing_rules import Owner
from twochannel.protocol import envelope
from twochannel.protocol.errors import CodedError, ErrorCode, StatementError
from twochannel.protocol.instructions import CouplingAnswer, CouplingChallenge
from twochannel.protocol.statements import AuthCode, Challenge
from twochannel.protocol.wire import base64url


@dataclass(frozen=True, slots=True)
class Answered:
    """A payment that the chip has answered for ``phone``, and the digest of its challenge."""

    payment: str
    phone: str
    challenge_digest: str
    auth_code: str = field(repr=False)
    epoch: int
    counter: int
    iat: int
    exp: int


def read_challenge(compact: str, jack: str, owner: Owner, now_s: int | None) -> Challenge:
    """Verify that the pinned server asks this jack, for a phone of its own. Raises StatementError.

    The challenge's time is not judged here: whether it has expired matters only for a new auth
    code. ``now_s``: as in ``judge``; it judges the server's key.
    """
    challenge = owner.server().verify(compact, Challenge, jack, now_s)
    if not owner.answers(challenge.phone):
        raise StatementError(ErrorCode.EPOCH_OUTDATED, "the challenge is for another phone")
    return challenge


def read_coupling(compact: str, jack: str, owner: Owner, now_s: int | None) -> CouplingChallenge:
    """Verify that the pinned server asks whether this jack is at hand. Raises StatementError.

    ``now_s``: as in ``judge``.
    """
    challenge = owner.server().verify(compact, CouplingChallenge, jack, now_s)
    if not owner.answers(challenge.phone):
        raise StatementError(ErrorCode.EPOCH_OUTDATED, "the challenge is for another phone")
    if now_s is not None and now_s >= challenge.exp:
        raise StatementError(ErrorCode.STATEMENT_EXPIRED)
    return challenge


def answer_coupling(
    challenge: CouplingChallenge, compact: str, owner: Owner, statement_id: str
) -> CouplingAnswer:
    """The jack was at hand. It says so as often as it is asked: the server takes it once."""
    return CouplingAnswer(
        iss=challenge.aud,
        aud=challenge.iss,
        jti=statement_id,
        sub=challenge.sub,
        prev=envelope.digest(compact),
        phone=challenge.phone,
        epoch=owner.epoch,
    )


def judge(
    challenge: Challenge,
    challenge_digest: str,
    owner: Owner,
    answered: Answered | None,
    now_s: int | None,
) -> Answered | None:
    """The answer to give again, or None: a new auth code may be made. Raises CodedError.

    ``answered``: what the chip answered for this payment and phone before. ``now_s``: trusted Unix
    seconds, None without trusted time; the server refuses expired challenges whatever the jack
    thinks.
    """
    if answered is not None:
        if answered.challenge_digest != challenge_digest:
            raise CodedError(ErrorCode.CHALLENGE_REFUSED)
        if answered.epoch != owner.epoch:
            raise CodedError(ErrorCode.EPOCH_OUTDATED, "answered in a pairing that has ended")
        return answered
    if now_s is not None and now_s >= challenge.exp:
        raise StatementError(ErrorCode.STATEMENT_EXPIRED)
    return None


def compose(
    challenge: Challenge,
    challenge_digest: str,
    owner: Owner,
    *,
    counter: int,
    lane_nonce: bytes | None,
    statement_id: str,
) -> AuthCode:
    """The auth code for a challenge that ``judge`` let through."""
    return AuthCode(
        iss=challenge.aud,
        aud=challenge.iss,
        jti=statement_id,
        sub=challenge.sub,
        prev=challenge_digest,
        counter=counter,
        epoch=owner.epoch,
        lane_nonce=None if lane_nonce is None else base64url(lane_nonce),
        phone=challenge.phone,
    )
