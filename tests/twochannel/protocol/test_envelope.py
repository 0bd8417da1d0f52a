"""The envelope: what may be signed, and everything that must not verify."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldkit.specimens import NOW_S, Specimens, specimen_signer
from twochannel.protocol.envelope import (
    check_time,
    digest,
    read_header,
    sign,
    unverified_claims,
    verify,
)
from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.limits import MAX_CLOCK_SKEW_S, MAX_STATEMENT_BYTES
from twochannel.protocol.statements import AuthCode, Cancel, Capture, PaymentRequest
from twochannel.protocol.wire import base64url

SPECIMENS = Specimens()
TERMINAL = specimen_signer("terminal")
REQUEST = SPECIMENS[PaymentRequest]
HEADER, PAYLOAD, SIGNATURE = REQUEST.compact.split(".")


def _verify(compact: str, **options: Any) -> PaymentRequest:
    return verify(compact, PaymentRequest, TERMINAL.key, **options)


def _refusal(compact: str, **options: Any) -> ErrorCode:
    with pytest.raises(StatementError) as refusal:
        _verify(compact, **options)
    return refusal.value.code


def _with_header(**members: object) -> str:
    header = {"alg": "ES256", "kid": TERMINAL.key.kid, "typ": "payment-request+jwt"} | members
    return f"{base64url(json.dumps(header).encode())}.{PAYLOAD}.{SIGNATURE}"


def test_an_independent_library_call_verifies_it_too() -> None:
    claims = jwt.decode(
        REQUEST.compact,
        TERMINAL.key.public_key,
        algorithms=["ES256"],
        audience=SPECIMENS.server,
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims == REQUEST.statement.claims()
    assert jwt.get_unverified_header(REQUEST.compact) == {
        "alg": "ES256",
        "kid": TERMINAL.key.kid,
        "typ": "payment-request+jwt",
    }


def test_the_audience_is_demanded() -> None:
    assert _verify(REQUEST.compact, audience=SPECIMENS.server) == REQUEST.statement
    assert _refusal(REQUEST.compact, audience=SPECIMENS.jack) is ErrorCode.AUDIENCE_WRONG


@pytest.mark.parametrize(
    ("now_s", "code"),
    [
        (NOW_S - MAX_CLOCK_SKEW_S - 1, ErrorCode.CLOCK_SKEW),
        (NOW_S + MAX_CLOCK_SKEW_S + 1, ErrorCode.CLOCK_SKEW),
        (0, ErrorCode.CLOCK_SKEW),
        (NOW_S + 60, ErrorCode.STATEMENT_EXPIRED),
    ],
)
def test_time_is_judged_skew_first(now_s: int, code: ErrorCode) -> None:
    assert _refusal(REQUEST.compact, now_s=now_s) is code


@pytest.mark.parametrize("now_s", [NOW_S - MAX_CLOCK_SKEW_S, NOW_S, NOW_S + 59])
def test_time_within_bounds_passes(now_s: int) -> None:
    assert _verify(REQUEST.compact, now_s=now_s) == REQUEST.statement


def test_statements_without_time_cannot_be_judged_by_it() -> None:
    with pytest.raises(TypeError):
        check_time(SPECIMENS[AuthCode].statement, NOW_S)


def test_every_changed_character_is_found() -> None:
    for position, character in enumerate(REQUEST.compact):
        other = "A" if character != "A" else "B"
        changed = REQUEST.compact[:position] + other + REQUEST.compact[position + 1 :]
        with pytest.raises(StatementError):
            _verify(changed)


@given(st.text(alphabet="abcABC019._-=+ /\x00é", max_size=60))
def test_any_text_gives_the_documented_error(text: str) -> None:
    with pytest.raises(StatementError):
        _verify(text)
    with pytest.raises(StatementError):
        unverified_claims(text)


@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80))
def test_any_three_parts_give_the_documented_error(a: bytes, b: bytes, c: bytes) -> None:
    with pytest.raises(StatementError):
        _verify(".".join(base64url(part) for part in (a, b, c)))


@pytest.mark.parametrize(
    ("compact", "code"),
    [
        (_with_header(alg="none"), ErrorCode.SIGNATURE_INVALID),
        (_with_header(alg="HS256"), ErrorCode.SIGNATURE_INVALID),
        (_with_header(alg="ES384"), ErrorCode.SIGNATURE_INVALID),
        (_with_header(typ="JWT"), ErrorCode.STATEMENT_TYPE_WRONG),
        (_with_header(typ="capture+jwt"), ErrorCode.STATEMENT_TYPE_WRONG),
        (_with_header(kid="x"), ErrorCode.KEY_UNKNOWN),
        (_with_header(kid=1), ErrorCode.MESSAGE_MALFORMED),
        (_with_header(jwk={}), ErrorCode.MESSAGE_MALFORMED),
        (_with_header(crit=["b64"], b64=False), ErrorCode.MESSAGE_MALFORMED),
        (f"{HEADER}.{PAYLOAD}.", ErrorCode.SIGNATURE_INVALID),
        (f"{HEADER}.{PAYLOAD}.{base64url(bytes(64))}", ErrorCode.SIGNATURE_INVALID),
        (f"{HEADER}.{PAYLOAD}", ErrorCode.MESSAGE_MALFORMED),
        (f"{REQUEST.compact}.{SIGNATURE}", ErrorCode.MESSAGE_MALFORMED),
        (f" {REQUEST.compact}", ErrorCode.MESSAGE_MALFORMED),
        (f"{REQUEST.compact}=", ErrorCode.MESSAGE_MALFORMED),
        ("x" * (MAX_STATEMENT_BYTES + 1), ErrorCode.MESSAGE_TOO_LARGE),
    ],
)
def test_confused_envelopes_are_refused(compact: str, code: ErrorCode) -> None:
    assert _refusal(compact) is code


def test_another_partys_signature_does_not_pass() -> None:
    forged = sign(REQUEST.statement, specimen_signer("phone"))
    assert _refusal(forged) is ErrorCode.KEY_UNKNOWN
    relabelled = f"{HEADER}.{PAYLOAD}.{forged.split('.')[2]}"
    assert _refusal(relabelled) is ErrorCode.SIGNATURE_INVALID


def test_a_signed_payload_that_is_not_strict_is_refused() -> None:
    for payload in (b'{"a":1,"a":1}', b'{"a":1.0}', b"[]", b"\xff"):
        signed = f"{HEADER}.{base64url(payload)}"
        signature = base64url(TERMINAL.sign(signed.encode()))
        assert _refusal(f"{signed}.{signature}") is ErrorCode.MESSAGE_MALFORMED


def test_the_same_claims_under_another_type_are_another_statement() -> None:
    cancel = SPECIMENS[Cancel].compact
    with pytest.raises(StatementError) as refusal:
        verify(cancel, Capture, TERMINAL.key)
    assert refusal.value.code is ErrorCode.STATEMENT_TYPE_WRONG


def test_unverified_claims_and_header_are_for_finding_the_key() -> None:
    assert unverified_claims(REQUEST.compact) == REQUEST.statement.claims()
    assert read_header(REQUEST.compact).kid == TERMINAL.key.kid


def test_the_digest_is_of_the_whole_text() -> None:
    assert digest(REQUEST.compact) != digest(REQUEST.compact[:-1])
    assert len(digest(REQUEST.compact)) == 43


def test_unknown_claim_names_are_not_repeated_at_length() -> None:
    with pytest.raises(StatementError) as refusal:
        PaymentRequest.from_claims(REQUEST.statement.claims() | {"<script>" * 50: 1})
    assert "<" not in refusal.value.detail
    assert len(refusal.value.detail) < 120
