"""Every statement: specimens, round trips, and each claim made wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldkit.specimens import NOW_S, Specimens, specimen_signer
from twochannel.protocol.envelope import Statement, sign, verify
from twochannel.protocol.errors import CodedError, ErrorCode, StatementError
from twochannel.protocol.limits import MAX_STATEMENT_BYTES
from twochannel.protocol.money import Amount
from twochannel.protocol.statements import (
    Cancel,
    Challenge,
    Confirmation,
    Enrolment,
    Method,
    PairingRequest,
    PaymentRequest,
    Proof,
    Receipt,
    Refund,
)

SPECIMENS = Specimens()
TYPES = sorted(SPECIMENS.by_typ)
_REQUEST = SPECIMENS[PaymentRequest].statement.claims()
_CONFIRMATION = SPECIMENS[Confirmation].statement.claims()


@pytest.mark.parametrize("typ", TYPES)
def test_a_specimen_verifies_and_says_what_was_signed(typ: str) -> None:
    specimen = SPECIMENS.by_typ[typ]
    model = type(specimen.statement)
    key = specimen_signer(specimen.party).key
    statement = verify(specimen.compact, model, key)
    assert statement == specimen.statement
    assert model.from_claims(statement.claims()) == statement
    assert sign(statement, specimen_signer(specimen.party)) == specimen.compact
    assert len(specimen.compact) < MAX_STATEMENT_BYTES // 2


def test_every_kind_of_statement_has_a_specimen_and_a_type_of_its_own() -> None:
    kinds = [k for k in _descendants(Statement) if hasattr(k, "TYP")]
    assert sorted(kind.TYP for kind in kinds) == TYPES


def _descendants(kind: type[Statement]) -> list[type[Statement]]:
    return [s for child in kind.__subclasses__() for s in [child, *_descendants(child)]]


@pytest.mark.parametrize("number", ["4242424242424242", "pm_501800000009", "5555-5555-5555-4444"])
@pytest.mark.parametrize("name", ["token", "label"])
def test_a_payment_method_holds_no_card_number(name: str, number: str) -> None:
    claims = SPECIMENS[Method].statement.claims()
    with pytest.raises(StatementError, match=f"claim {name}: card_number"):
        Method.from_claims(claims | {name: number})


@pytest.mark.parametrize("typ", TYPES)
def test_no_claim_may_be_missing_added_or_of_another_type(typ: str) -> None:
    specimen = SPECIMENS.by_typ[typ]
    model, claims = type(specimen.statement), specimen.statement.claims()
    for name in claims:
        if model.model_fields[name].is_required():
            _expect_invalid(model, {k: v for k, v in claims.items() if k != name}, name)
        for wrong in (1.5, True, ["x"], {"x": "y"}, "\u202e", -1, 2**63):
            if wrong == -1 and name == "rssi_dbm":
                continue
            _expect_invalid(model, claims | {name: wrong}, name)
    _expect_invalid(model, claims | {"surprise": 1}, "surprise")


def _expect_invalid(model: type[Statement], claims: dict[str, Any], name: str) -> None:
    with pytest.raises(StatementError) as refusal:
        model.from_claims(claims)
    assert refusal.value.code in (ErrorCode.CLAIM_INVALID, ErrorCode.CURRENCY_UNKNOWN), name


@pytest.mark.parametrize(
    "change",
    [
        {"amount": {"value": 450, "currency": "ZZZ"}},
        {"amount": {"value": 450.0, "currency": "EUR"}},
        {"amount": {"value": True, "currency": "EUR"}},
        {"amount": {"value": 0, "currency": "EUR"}},
        {"amount": {"value": "450", "currency": "EUR"}},
        {"capture": "later"},
        {"capture": ["automatic"]},
        {"code": "0123456789ABCDEF"},
        {"code": "0123456789abcde"},
        {"lane": ""},
        {"lane": "x" * 65},
        {"description": "Blue\u0007Bottle"},
        {"description": "evil\u202eelttoB eulB"},
        {"description": "Blue\u3164Bottle"},
        {"lane": "\u2800"},
        {"description": "\ud800"},
        {"reference": "../etc"},
        {"sub": "01a1f7a6-6c00-7000-8000-0000000000ff"},
        {"jti": "not-a-uuid"},
        {"exp": NOW_S},
        {"iat": 253_402_300_800},
        {"sighting": {"rssi_dbm": -128, "heard_ms_ago": 0, "other_jacks": 0}},
    ],
)
def test_payment_requests_that_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(CodedError):
        PaymentRequest.from_claims(_REQUEST | change)


@pytest.mark.parametrize(
    "change",
    [
        {"auth_code": None},
        {"payment_method": None},
        {"decided_by": "timeout"},
        {"decision": "maybe"},
        {"auth_code": "not a statement"},
    ],
)
def test_an_approval_is_whole(change: dict[str, Any]) -> None:
    with pytest.raises(StatementError):
        Confirmation.from_claims(_CONFIRMATION | change)


def test_a_refund_that_nobody_named_is_named_after_its_amount() -> None:
    names = {Refund.usual_reference(Amount(value=value, currency="EUR")) for value in (1, 1, 2)}
    assert names == {"refund-1", "refund-2"}


@pytest.mark.parametrize("decided_by", ["owner", "policy", "timeout"])
def test_a_decline_needs_neither_auth_code_nor_method(decided_by: str) -> None:
    declined = _CONFIRMATION | {
        "decision": "decline",
        "decided_by": decided_by,
        "auth_code": None,
        "payment_method": None,
    }
    assert Confirmation.from_claims(declined).decision == "decline"


@pytest.mark.parametrize("length", [199, 2001])
def test_a_certificate_has_the_length_of_one(length: int) -> None:
    claims = SPECIMENS[PairingRequest].statement.claims()
    for sound in (200, 2000):
        PairingRequest.from_claims(claims | {"tls_certificate": "A" * sound})
    with pytest.raises(StatementError):
        PairingRequest.from_claims(claims | {"tls_certificate": "A" * length})


@given(st.text())
def test_any_text_is_a_lane_label_or_refused(text: str) -> None:
    try:
        request = PaymentRequest.from_claims(_REQUEST | {"lane": text})
    except StatementError as error:
        assert error.code is ErrorCode.CLAIM_INVALID  # noqa: PT017
    else:
        assert request.lane.isprintable()
        assert request.lane == text


@given(st.dictionaries(st.text(), st.none() | st.integers() | st.text(), max_size=5))
def test_any_claims_give_a_statement_or_the_documented_error(claims: dict[str, object]) -> None:
    for model in (Cancel, Challenge, Enrolment, Proof, Receipt):
        with pytest.raises(StatementError) as refusal:
            model.from_claims(claims)
        assert refusal.value.code is ErrorCode.CLAIM_INVALID
