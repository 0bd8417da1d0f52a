"""Which challenges a phone takes to its owner."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phone_agent.challenges import kept_challenge, read_challenge
from tests.cigarjack.parties import NOW_S, Server, new_id
from tests.phone_agent.scripted_server import ScriptedServer, payment_of
from twochannel.protocol.envelope import sign
from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.statements import Challenge

SERVER = ScriptedServer(url="https://127.0.0.1:1")
PIN = SERVER.pin
JACK, PHONE = Server().id, Server().id


def read(data: dict[str, Any], now_s: int = NOW_S) -> Challenge:
    return read_challenge(
        data, pin=PIN, phone=PHONE, is_paired=lambda jack: jack == JACK, now_s=now_s
    ).challenge


def event(challenge: Challenge) -> dict[str, Any]:
    compact = sign(challenge, SERVER.party.signer)
    return {"challenge": compact, "payment": payment_of(challenge)}


def test_a_good_challenge_is_read_and_read_again() -> None:
    challenge = SERVER.party.challenge(JACK, PHONE)
    data = event(challenge)
    assert read(data) == challenge
    assert kept_challenge(data["challenge"]) == challenge


@pytest.mark.parametrize(
    ("challenge", "code"),
    [
        (SERVER.party.challenge(JACK, JACK), ErrorCode.AUDIENCE_WRONG),
        (SERVER.party.challenge(PHONE, PHONE), ErrorCode.AUDIENCE_WRONG),
        (SERVER.party.challenge(JACK, PHONE, iss=JACK), ErrorCode.ISSUER_WRONG),
        (
            SERVER.party.challenge(JACK, PHONE, iat=NOW_S - 60, exp=NOW_S),
            ErrorCode.STATEMENT_EXPIRED,
        ),
        (
            SERVER.party.challenge(JACK, PHONE, iat=NOW_S - 61, exp=NOW_S + 60),
            ErrorCode.CLOCK_SKEW,
        ),
    ],
)
def test_a_challenge_that_is_not_for_here_and_now_is_refused(
    challenge: Challenge, code: ErrorCode
) -> None:
    with pytest.raises(StatementError) as refused:
        read(event(challenge))
    assert refused.value.code is code


def test_a_forged_challenge_is_refused() -> None:
    forger = Server()
    challenge = SERVER.party.challenge(JACK, PHONE)
    with pytest.raises(StatementError) as refused:
        read(event(challenge) | {"challenge": sign(challenge, forger.signer)})
    assert refused.value.code is ErrorCode.KEY_UNKNOWN


def test_a_challenge_beside_another_payment_is_refused() -> None:
    challenge = SERVER.party.challenge(JACK, PHONE)
    with pytest.raises(StatementError) as refused:
        read(event(challenge) | {"payment": payment_of(challenge) | {"id": new_id()}})
    assert refused.value.code is ErrorCode.CHAIN_BROKEN


@given(
    st.dictionaries(
        st.sampled_from(["challenge", "payment", "other"]),
        st.none() | st.text() | st.integers() | st.dictionaries(st.text(), st.text()),
    )
)
def test_any_other_data_gives_the_one_documented_error(data: dict[str, Any]) -> None:
    with pytest.raises(StatementError):
        read(data)
