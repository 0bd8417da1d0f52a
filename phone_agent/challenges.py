"""Reading challenges: what must hold before anybody is bothered with one. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from server.client import ServerPin
from twochannel.protocol.envelope import unverified_claims
from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.statements import Challenge


@dataclass(frozen=True, slots=True)
class ChallengeEvent:
    """A verified challenge, its compact text, and the payment as the server shows it."""

    challenge: Challenge
    compact: str
    payment: dict[str, Any]


def read_challenge(
    data: dict[str, Any],
    *,
    pin: ServerPin,
    phone: str,
    is_paired: Callable[[str], bool],
    now_s: int,
) -> ChallengeEvent:
    """The data of a ``challenge`` event, verified (docs/protocol.md, Who checks what).

    ``now_s``: the server's time. Raises StatementError unless the challenge is signed by the
    pinned server, addressed to a paired jack, for this phone, in time, and of that payment.
    """
    compact, payment = data.get("challenge"), data.get("payment")
    if not isinstance(compact, str) or not isinstance(payment, dict):
        raise StatementError(ErrorCode.MESSAGE_MALFORMED, "the event has no challenge")
    jack = str(unverified_claims(compact).get("aud"))
    if not is_paired(jack):
        raise StatementError(ErrorCode.AUDIENCE_WRONG, "the challenge is for another jack")
    challenge = pin.keys.verify(compact, Challenge, audience=jack, now_s=now_s)
    if challenge.iss != pin.server:
        raise StatementError(ErrorCode.ISSUER_WRONG)
    if challenge.phone != phone:
        raise StatementError(ErrorCode.AUDIENCE_WRONG, "the challenge is for another phone")
    if payment.get("id") != challenge.sub:
        raise StatementError(ErrorCode.CHAIN_BROKEN, "the challenge is for another payment")
    return ChallengeEvent(challenge, compact, payment)


def kept_challenge(compact: str) -> Challenge:
    """A challenge that was verified before it was kept."""
    return Challenge.from_claims(unverified_claims(compact))
