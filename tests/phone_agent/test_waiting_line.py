"""One question on the screen, however many wait."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from phone_agent.consent import Reason
from phone_agent.waiting_line import Asked, arrange
from tests.phone_agent.test_consent import challenge
from twochannel.protocol.statements import Merchant


def asked(number: int, merchant: str = "coffee", reason: Reason | None = None) -> Asked:
    ident = f"01890000-0000-7000-8000-{number:012d}"
    changes = {"sub": ident, "merchant": Merchant(id=merchant, name=merchant.title())}
    return Asked(challenge().model_copy(update=changes), reason, None, 60.0, 60.0)


def test_nobody_waits() -> None:
    line = arrange([])
    assert (line.front, line.count_behind) == (None, 0)


def test_the_oldest_question_stays_in_front() -> None:
    first, second = (asked(n, reason=Reason.MERCHANT_UNKNOWN) for n in (1, 2))
    assert arrange([first, second]).front is first
    assert arrange([first, second, asked(3)]).front is first


def test_a_question_comes_before_what_may_need_no_owner() -> None:
    question = asked(2, reason=Reason.ABOVE_LIMIT)
    assert arrange([asked(1), question]).front is question


def test_a_flood_is_one_line_for_each_merchant() -> None:
    flood = [asked(n, "wash", Reason.MERCHANT_UNKNOWN) for n in range(2, 40)]
    line = arrange([asked(1, reason=Reason.ABOVE_LIMIT), *flood, asked(50, "fuel")])
    assert [(group.merchant, len(group.payments)) for group in line.behind] == [
        ("Wash", 38),
        ("Fuel", 1),
    ]
    assert line.count_behind == 39


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=30))
def test_every_payment_is_in_the_line_once(waiting: list[tuple[str, bool]]) -> None:
    reason = Reason.MERCHANT_UNKNOWN
    questions = [asked(n, m, reason if q else None) for n, (m, q) in enumerate(waiting)]
    line = arrange(questions)
    assert line.front is not None
    behind = [payment for group in line.behind for payment in group.payments]
    assert sorted([line.front.payment, *behind]) == sorted(each.payment for each in questions)
