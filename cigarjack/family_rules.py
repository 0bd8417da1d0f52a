"""PURE. Further phones of a jack: whom its owner's phone invites and removes (docs/protocol.md).

An invitation is a secret that the owner's phone made. The jack knows its hash, for as long as the
window that it opens; whoever shows the secret meanwhile joins, once.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from cigarjack.pairing_rules import Member, Owner, PairingState, Verdict, read_server
from twochannel.protocol import envelope
from twochannel.protocol.errors import CodedError, ErrorCode, StatementError
from twochannel.protocol.instructions import MemberInvitation, MemberRemoval
from twochannel.protocol.keys import VerifyingKey
from twochannel.protocol.limits import MAX_MEMBERS
from twochannel.protocol.statements import PairingRequest
from twochannel.protocol.wire import base64url, from_base64url

S = TypeVar("S", MemberInvitation, MemberRemoval)


@dataclass(frozen=True, slots=True)
class Invited:
    """An invitation that stands until ``ends_s``, in the pairing of ``epoch``."""

    secret_sha256: str
    epoch: int
    ends_s: float

    def admits(self, secret: str | None, state: PairingState, now_s: float) -> bool:
        """Whether ``secret`` is the invited one's, in time, and in the pairing in force."""
        if secret is None or state.epoch != self.epoch or now_s >= self.ends_s:
            return False
        return hmac.compare_digest(secret_sha256(secret), self.secret_sha256)


#: No pairing has this epoch.
NO_INVITATION: Final = Invited("", -1, 0.0)


def secret_sha256(secret: str) -> str:
    """How an invitation names its secret, the text on the label: base64url."""
    return base64url(hashlib.sha256(secret.encode()).digest())


def read_invitation(compact: str, jack: str, state: PairingState) -> MemberInvitation:
    """Verify that the owner's phone invites, in the pairing in force. Raises CodedError."""
    if state.locked:
        raise CodedError(ErrorCode.CLAIM_REFUSED, "pairing is locked after too many wrong tries")
    return _read(compact, MemberInvitation, jack, _owner(state))


def join(state: PairingState, request: PairingRequest, link_key: bytes) -> Verdict:
    """Decide on a verified ``request`` with the secret of an invitation that stands.

    ``link_key``: 32 fresh bytes. A member that joins again gets a new one.
    """
    owner = _owner(state)
    others = tuple(member for member in owner.members if member.phone != request.iss)
    if (refusal := _refusal(owner, others, request)) is not None:
        return Verdict(state, refusal)
    certificate = from_base64url(request.tls_certificate)
    members = (*others, Member(request.iss, certificate, link_key))
    return Verdict(replace(state, owner=replace(owner, members=members)), None)


def removed(compact: str, jack: str, state: PairingState) -> PairingState:
    """The state without the member whom the owner's phone removes; the same if it is none.

    Raises CodedError. Its time is not judged: whatever its age, it is the owner's will.
    """
    owner = _owner(state)
    statement = _read(compact, MemberRemoval, jack, owner)
    if statement.sub != jack:
        raise StatementError(ErrorCode.AUDIENCE_WRONG, "the removal is about another jack")
    left = tuple(member for member in owner.members if member.phone != statement.phone)
    return replace(state, owner=replace(owner, members=left))


def _refusal(
    owner: Owner, others: tuple[Member, ...], request: PairingRequest
) -> CodedError | None:
    if request.iss == owner.phone:
        return CodedError(ErrorCode.ISSUER_WRONG, "the owner's phone needs no invitation")
    if len(others) >= MAX_MEMBERS:
        return CodedError(ErrorCode.CLAIM_REFUSED, f"the jack has {MAX_MEMBERS} members already")
    theirs, ours = read_server(request.server), owner.server()
    if (theirs.id, theirs.beacon_key) != (ours.id, ours.beacon_key):
        return CodedError(ErrorCode.KEY_UNKNOWN, "the jack belongs to another server")
    return None


def _read(compact: str, model: type[S], jack: str, owner: Owner) -> S:
    claimed = model.from_claims(envelope.unverified_claims(compact))
    key = VerifyingKey.from_jwk(claimed.key)
    statement = envelope.verify(compact, model, key, audience=jack)
    if statement.iss != key.kid or key.kid != owner.phone:
        raise StatementError(ErrorCode.ISSUER_WRONG, "only the owner's phone may")
    if statement.epoch != owner.epoch:
        raise StatementError(ErrorCode.EPOCH_OUTDATED)
    return statement


def _owner(state: PairingState) -> Owner:
    if state.owner is None:
        raise CodedError(ErrorCode.NOT_READY, "the jack is not paired")
    return state.owner
