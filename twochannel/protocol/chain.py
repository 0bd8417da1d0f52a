"""How the statements of one payment hang together: the checks that every verifier shares.

Signatures are verified before (``envelope.verify``); here are only the links: the same payment,
the same parties, the same amount, each statement naming the hash of the one it answers.
Each check raises StatementError (``chain_broken``) or returns nothing.
"""

from __future__ import annotations

import hashlib

from twochannel.protocol.envelope import digest
from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.instructions import CouplingAnswer, CouplingChallenge
from twochannel.protocol.statements import AuthCode, Challenge, Confirmation, PaymentRequest
from twochannel.protocol.wire import base64url, from_base64url


def _demand(holds: bool, detail: str) -> None:
    if not holds:
        raise StatementError(ErrorCode.CHAIN_BROKEN, detail)


def check_challenge(request: PaymentRequest, request_compact: str, challenge: Challenge) -> None:
    """The challenge (2) asks for exactly what the payment request (1) said."""
    _demand(challenge.sub == request.sub, "the challenge is for another payment")
    _demand(challenge.prev == digest(request_compact), "the challenge names another request")
    _demand(challenge.iss == request.aud, "the challenge comes from another server")
    _demand(challenge.amount == request.amount, "the challenge has another amount")
    _demand(challenge.capture == request.capture, "the challenge has another capture mode")
    _demand(challenge.lane == request.lane, "the challenge names another lane")
    _demand(challenge.lane_digest == request.lane_digest, "the challenge has another lane nonce")


def check_auth_code(challenge: Challenge, challenge_compact: str, auth_code: AuthCode) -> None:
    """The auth code (3) was made by the challenged jack, for this challenge and this phone."""
    _demand(auth_code.sub == challenge.sub, "the auth code is for another payment")
    _demand(auth_code.prev == digest(challenge_compact), "the auth code answers another challenge")
    _demand(auth_code.iss == challenge.aud, "the auth code comes from another jack")
    _demand(auth_code.aud == challenge.iss, "the auth code is for another server")
    _demand(auth_code.phone == challenge.phone, "the auth code was given to another phone")


def check_confirmation(
    challenge: Challenge, challenge_compact: str, confirmation: Confirmation
) -> None:
    """The confirmation (4) is the challenged phone's answer to this challenge."""
    _demand(confirmation.sub == challenge.sub, "the confirmation is for another payment")
    _demand(
        confirmation.prev == digest(challenge_compact), "the confirmation answers another challenge"
    )
    _demand(confirmation.iss == challenge.phone, "the confirmation comes from another phone")
    _demand(confirmation.aud == challenge.iss, "the confirmation is for another server")


def check_coupling(
    challenge: CouplingChallenge, challenge_compact: str, answer: CouplingAnswer
) -> None:
    """The answer was made by the challenged jack, for this coupling and this phone."""
    _demand(answer.sub == challenge.sub, "the answer is for another payment method")
    _demand(answer.prev == digest(challenge_compact), "the answer is to another challenge")
    _demand(answer.iss == challenge.aud, "the answer comes from another jack")
    _demand(answer.aud == challenge.iss, "the answer is for another server")
    _demand(answer.phone == challenge.phone, "the answer was given to another phone")


def presence_proven(challenge: Challenge, auth_code: AuthCode) -> bool:
    """Whether the jack heard the lane of this challenge. False is an answer, not an error.

    A lane nonce that is there but wrong can only come from a broken or lying jack, and counts
    as not heard.
    """
    if auth_code.lane_nonce is None:
        return False
    heard = hashlib.sha256(from_base64url(auth_code.lane_nonce)).digest()
    return base64url(heard) == challenge.lane_digest
