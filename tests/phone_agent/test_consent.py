"""The owner's policy, as a table and as properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phone_agent.consent import (
    ANSWER_MARGIN_S,
    SENTENCES,
    Action,
    Answer,
    Reason,
    Rules,
    Verdict,
    answer_time_s,
    judge,
    late_answer,
    owner_answer,
    policy_answer,
    question,
    refusal_answer,
)
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.limits import MAX_AMOUNT_MINOR
from twochannel.protocol.money import Amount
from twochannel.protocol.payment import CaptureMode
from twochannel.protocol.statements import Challenge, DecidedBy, Decision, Merchant, Presence

_ID = "A" * 43


def challenge(
    value: int = 450,
    currency: str = "EUR",
    *,
    presence: Presence = Presence.PREFER,
    capture: CaptureMode = CaptureMode.AUTOMATIC,
) -> Challenge:
    payment = "01890000-0000-7000-8000-000000000001"
    return Challenge(
        iss=_ID,
        aud=_ID,
        jti="01890000-0000-7000-8000-000000000002",
        iat=1000,
        exp=1060,
        sub=payment,
        prev=_ID,
        amount=Amount(value=value, currency=currency),
        capture=capture,
        merchant=Merchant(id="coffee", name="Blue Bottle"),
        lane="Lane 1",
        lane_digest=_ID,
        presence=presence,
        phone=_ID,
        nonce="N" * 22,
        match_code="42",
    )


@pytest.mark.parametrize(
    ("asked", "presence", "limits_minor", "has_method", "action", "reason"),
    [
        (challenge(450), True, {"EUR": 450}, True, Action.APPROVE, Reason.WITHIN_LIMIT),
        (challenge(451), True, {"EUR": 450}, True, Action.ASK, Reason.ABOVE_LIMIT),
        (challenge(1), True, {}, True, Action.ASK, Reason.MERCHANT_UNKNOWN),
        (challenge(1), True, {"USD": 900}, True, Action.ASK, Reason.CURRENCY_WITHOUT_LIMIT),
        (challenge(1), True, {"EUR": 450}, False, Action.ASK, Reason.METHOD_MISSING),
        (challenge(1), False, {"EUR": 450}, True, Action.ASK, Reason.PRESENCE_MISSING),
        (
            challenge(8000, capture=CaptureMode.MANUAL),
            True,
            {"EUR": 7999},
            True,
            Action.ASK,
            Reason.ABOVE_LIMIT,
        ),
        (
            challenge(8000, capture=CaptureMode.MANUAL),
            True,
            {"EUR": 8000},
            True,
            Action.APPROVE,
            Reason.WITHIN_LIMIT,
        ),
        (
            challenge(1, presence=Presence.REQUIRE),
            False,
            {"EUR": 450},
            True,
            Action.DECLINE,
            Reason.PRESENCE_REQUIRED,
        ),
        (
            challenge(1, presence=Presence.REQUIRE),
            True,
            {"EUR": 450},
            True,
            Action.APPROVE,
            Reason.WITHIN_LIMIT,
        ),
    ],
)
def test_verdict_of_the_policy(
    asked: Challenge,
    presence: bool,
    limits_minor: dict[str, int],
    has_method: bool,
    action: Action,
    reason: Reason,
) -> None:
    verdict = judge(asked, presence=presence, limits_minor=limits_minor, has_method=has_method)
    assert verdict == Verdict(action, reason)


@given(
    value=st.integers(1, MAX_AMOUNT_MINOR),
    currency=st.sampled_from(["EUR", "USD", "JPY"]),
    required=st.sampled_from(Presence),
    capture=st.sampled_from(CaptureMode),
    presence=st.booleans(),
    limits_minor=st.dictionaries(
        st.sampled_from(["EUR", "USD", "JPY"]), st.integers(0, MAX_AMOUNT_MINOR)
    ),
    has_method=st.booleans(),
)
def test_nothing_is_approved_without_presence_limit_and_method(
    value: int,
    currency: str,
    required: Presence,
    capture: CaptureMode,
    presence: bool,
    limits_minor: dict[str, int],
    has_method: bool,
) -> None:
    asked = challenge(value, currency, presence=required, capture=capture)
    verdict = judge(asked, presence=presence, limits_minor=limits_minor, has_method=has_method)
    may = presence and has_method and value <= limits_minor.get(currency, 0)
    assert (verdict.action is Action.APPROVE) == may
    # The owner is never passed over by a decline, unless the merchant would refuse anyway.
    assert (verdict.action is Action.DECLINE) == (required is Presence.REQUIRE and not presence)


def test_the_policy_answers_only_what_it_decides() -> None:
    assert policy_answer(Verdict(Action.ASK, Reason.ABOVE_LIMIT)) is None
    assert policy_answer(Verdict(Action.APPROVE, Reason.WITHIN_LIMIT)) == Answer(
        Decision.APPROVE, DecidedBy.POLICY, Reason.WITHIN_LIMIT
    )
    assert policy_answer(Verdict(Action.DECLINE, Reason.PRESENCE_REQUIRED)) == Answer(
        Decision.DECLINE, DecidedBy.POLICY, Reason.PRESENCE_REQUIRED
    )


@pytest.mark.parametrize("code", ErrorCode)
def test_a_refusal_of_the_jack_never_approves(code: ErrorCode) -> None:
    answer = refusal_answer(code)
    assert answer is None or answer.decision is Decision.DECLINE


@pytest.mark.parametrize("code", [ErrorCode.CHALLENGE_REFUSED, ErrorCode.EPOCH_OUTDATED])
def test_a_final_refusal_declines_at_once(code: ErrorCode) -> None:
    assert refusal_answer(code) == Answer(Decision.DECLINE, DecidedBy.POLICY, Reason.JACK_REFUSED)


@pytest.mark.parametrize("code", [ErrorCode.NOT_READY, ErrorCode.INTERNAL_ERROR])
def test_a_passing_refusal_is_tried_again(code: ErrorCode) -> None:
    assert refusal_answer(code) is None


@pytest.mark.parametrize("decision", Decision)
def test_the_owner_decides_as_the_owner(decision: Decision) -> None:
    assert owner_answer(decision) == Answer(decision, DecidedBy.OWNER, Reason.OWNER_ANSWERED)


def test_silence_is_a_decline_that_says_who_was_silent() -> None:
    assert late_answer(has_auth_code=True).reason is Reason.OWNER_SILENT
    assert late_answer(has_auth_code=False).reason is Reason.JACK_UNREACHABLE
    for has_auth_code in (True, False):
        answer = late_answer(has_auth_code=has_auth_code)
        assert (answer.decision, answer.decided_by) == (Decision.DECLINE, DecidedBy.TIMEOUT)


@pytest.mark.parametrize(
    ("now_s", "prompt_s", "expected_s"),
    [
        (1000.0, 300.0, 60 - ANSWER_MARGIN_S),
        (1000.0, 10.0, 10.0),
        (1050.0, 300.0, 10 - ANSWER_MARGIN_S),
        (1059.0, 300.0, 0.0),
        (2000.0, 300.0, 0.0),
    ],
)
def test_an_answer_leaves_time_to_arrive(now_s: float, prompt_s: float, expected_s: float) -> None:
    assert answer_time_s(challenge(), now_s, prompt_s) == pytest.approx(expected_s)


def test_the_question_names_all_that_the_owner_agrees_to() -> None:
    text = question(challenge(), presence=True, reason=Reason.MERCHANT_UNKNOWN)
    assert text.splitlines() == [
        "Blue Bottle asks for 4.50 EUR at Lane 1.",
        "Match code: 42",
        "Your jack hears this lane.",
        "This merchant is not on your list.",
    ]


def test_the_question_says_that_a_hold_is_a_maximum() -> None:
    held = challenge(8000, capture=CaptureMode.MANUAL)
    text = question(held, presence=True, reason=Reason.ABOVE_LIMIT)
    assert "up to 80.00 EUR" in text
    assert "The amount is a maximum" in text


def test_the_question_warns_once_of_a_lane_that_is_not_heard() -> None:
    text = question(challenge(), presence=False, reason=Reason.PRESENCE_MISSING)
    assert "Your jack does NOT hear this lane." in text
    assert SENTENCES[Reason.PRESENCE_MISSING] not in text


def test_every_reason_has_its_sentence() -> None:
    assert set(SENTENCES) == set(Reason)


_EVERYTHING = {"EUR": MAX_AMOUNT_MINOR}


@pytest.mark.parametrize(
    ("rules", "spent_minor", "reason"),
    [
        (Rules(), 0, Reason.WITHIN_LIMIT),
        (Rules(automatic=False), 0, Reason.AUTOMATIC_OFF),
        (Rules(payment_minor={"EUR": 450}), 0, Reason.WITHIN_LIMIT),
        (Rules(payment_minor={"EUR": 449}), 0, Reason.ABOVE_PAYMENT_LIMIT),
        (Rules(payment_minor={"USD": 1}, day_minor={"USD": 1}), 0, Reason.WITHIN_LIMIT),
        (Rules(day_minor={"EUR": 1450}), 1000, Reason.WITHIN_LIMIT),
        (Rules(day_minor={"EUR": 1449}), 1000, Reason.ABOVE_DAY_LIMIT),
        (Rules(day_minor={"EUR": 0}), 0, Reason.ABOVE_DAY_LIMIT),
    ],
)
def test_the_owner_s_own_rules(rules: Rules, spent_minor: int, reason: Reason) -> None:
    verdict = judge(
        challenge(450),
        presence=True,
        limits_minor=_EVERYTHING,
        has_method=True,
        rules=rules,
        spent_minor=spent_minor,
    )
    assert verdict.reason is reason
    assert (verdict.action is Action.APPROVE) == (reason is Reason.WITHIN_LIMIT)


_BOUNDS = st.dictionaries(st.sampled_from(["EUR", "USD"]), st.integers(0, 3000))


@given(
    st.integers(1, 3000), st.booleans(), st.booleans(), st.booleans(), _BOUNDS, _BOUNDS, _BOUNDS,
    st.integers(0, 3000),
)  # fmt: skip
def test_nothing_is_approved_unless_every_condition_holds(
    value: int,
    presence: bool,
    has_method: bool,
    automatic: bool,
    limits_minor: dict[str, int],
    payment_minor: dict[str, int],
    day_minor: dict[str, int],
    spent_minor: int,
) -> None:
    verdict = judge(
        challenge(value),
        presence=presence,
        limits_minor=limits_minor,
        has_method=has_method,
        rules=Rules(automatic, payment_minor, day_minor),
        spent_minor=spent_minor,
    )
    holds = (
        presence
        and has_method
        and automatic
        and value <= limits_minor.get("EUR", 0)
        and value <= payment_minor.get("EUR", value)
        and spent_minor + value <= day_minor.get("EUR", spent_minor + value)
    )
    assert (verdict.action is Action.APPROVE) == holds
