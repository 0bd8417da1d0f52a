"""The links between the statements of one payment: each, when broken, is found."""

from __future__ import annotations

from typing import Any

import pytest

from fieldkit.specimens import Specimens, specimen_id
from twochannel.protocol.chain import (
    check_auth_code,
    check_challenge,
    check_confirmation,
    check_coupling,
    presence_proven,
)
from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.instructions import Coupling, CouplingAnswer, CouplingChallenge
from twochannel.protocol.money import Amount
from twochannel.protocol.payment import CaptureMode
from twochannel.protocol.statements import AuthCode, Challenge, Confirmation, PaymentRequest
from twochannel.protocol.wire import base64url

SPECIMENS = Specimens()
OTHER = "A" * 43
REQUEST = PaymentRequest.from_claims(SPECIMENS[PaymentRequest].statement.claims())
CHALLENGE = Challenge.from_claims(SPECIMENS[Challenge].statement.claims())
AUTH_CODE = AuthCode.from_claims(SPECIMENS[AuthCode].statement.claims())
CONFIRMATION = Confirmation.from_claims(SPECIMENS[Confirmation].statement.claims())


def test_the_specimens_hang_together() -> None:
    check_challenge(REQUEST, SPECIMENS.request, CHALLENGE)
    check_auth_code(CHALLENGE, SPECIMENS.challenge, AUTH_CODE)
    check_confirmation(CHALLENGE, SPECIMENS.challenge, CONFIRMATION)
    assert presence_proven(CHALLENGE, AUTH_CODE)


def _broken(check: Any, *statements: object) -> None:
    with pytest.raises(StatementError) as refusal:
        check(*statements)
    assert refusal.value.code is ErrorCode.CHAIN_BROKEN


@pytest.mark.parametrize(
    "change",
    [
        {"sub": specimen_id(9)},
        {"prev": OTHER},
        {"iss": OTHER},
        {"amount": Amount(value=451, currency="EUR")},
        {"amount": Amount(value=450, currency="USD")},
        {"capture": CaptureMode.MANUAL},
        {"lane": "Lane 2"},
        {"lane_digest": OTHER},
    ],
)
def test_a_challenge_that_does_not_match_its_request(change: dict[str, Any]) -> None:
    _broken(check_challenge, REQUEST, SPECIMENS.request, CHALLENGE.model_copy(update=change))


@pytest.mark.parametrize(
    "change",
    [{"sub": specimen_id(9)}, {"prev": OTHER}, {"iss": OTHER}, {"aud": OTHER}, {"phone": OTHER}],
)
def test_an_auth_code_that_does_not_match_its_challenge(change: dict[str, Any]) -> None:
    _broken(check_auth_code, CHALLENGE, SPECIMENS.challenge, AUTH_CODE.model_copy(update=change))


@pytest.mark.parametrize(
    "change", [{"sub": specimen_id(9)}, {"prev": OTHER}, {"iss": OTHER}, {"aud": OTHER}]
)
def test_a_confirmation_that_does_not_match_its_challenge(change: dict[str, Any]) -> None:
    _broken(
        check_confirmation, CHALLENGE, SPECIMENS.challenge, CONFIRMATION.model_copy(update=change)
    )


@pytest.mark.parametrize("lane_nonce", [None, base64url(bytes(12))])
def test_presence_needs_the_very_nonce(lane_nonce: str | None) -> None:
    assert not presence_proven(CHALLENGE, AUTH_CODE.model_copy(update={"lane_nonce": lane_nonce}))


@pytest.mark.parametrize(
    "change",
    [{"sub": specimen_id(9)}, {"prev": OTHER}, {"iss": OTHER}, {"aud": OTHER}, {"phone": OTHER}],
)
def test_the_answer_of_a_coupling_fits_its_challenge(change: dict[str, object]) -> None:
    asked = CouplingChallenge.from_claims(SPECIMENS[CouplingChallenge].statement.claims())
    compact = SPECIMENS[CouplingChallenge].compact
    claims = SPECIMENS[CouplingAnswer].statement.claims()
    check_coupling(asked, compact, CouplingAnswer.from_claims(claims))
    _broken(check_coupling, asked, compact, CouplingAnswer.from_claims(claims | change))
    assert SPECIMENS[Coupling].statement.claims()["challenge"] == compact
