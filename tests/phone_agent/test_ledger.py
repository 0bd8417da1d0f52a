"""One answer for one payment, whatever happens to the process in between."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from phone_agent.consent import Answer, late_answer, owner_answer
from phone_agent.database import Database
from phone_agent.ledger import Ledger
from twochannel.protocol.errors import ErrorCode, PaymentError
from twochannel.protocol.payment import TRANSITIONS, Status
from twochannel.protocol.statements import Decision

APPROVED, DECLINED = owner_answer(Decision.APPROVE), owner_answer(Decision.DECLINE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w.sqlite3"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Database.open(path) as database:
        yield Ledger(database)


def shown(status: str = "pending", payment: str = "p1") -> dict[str, Any]:
    return {"id": payment, "status": status, "merchant": {"id": "cafe", "name": "Café"}}


def keep(ledger: Ledger, payment: str = "p1", event: str = "1", received_ms: int = 5) -> bool:
    return ledger.keep_challenge(
        shown(payment=payment), "jack", f"c.{payment}.x", received_ms=received_ms, event_id=event
    )


def test_a_challenge_is_kept_once_with_the_event_that_brought_it(ledger: Ledger) -> None:
    assert keep(ledger, event="7") is True
    assert keep(ledger, event="8") is False
    assert ledger.last_event_id() == "8"
    kept = ledger.payment("p1")
    assert (kept.jack, kept.challenge, kept.answer, kept.closed) == ("jack", "c.p1.x", None, None)


def test_an_event_without_an_id_does_not_lose_the_place(ledger: Ledger) -> None:
    assert ledger.last_event_id() is None
    ledger.keep_event("3")
    ledger.keep_event("")
    assert ledger.last_event_id() == "3"


@pytest.mark.parametrize("second", [APPROVED, DECLINED, late_answer(has_auth_code=True)])
def test_a_second_answer_is_impossible(ledger: Ledger, second: Answer) -> None:
    keep(ledger)
    ledger.keep_answer("p1", DECLINED, "first.x.y")
    with pytest.raises(PaymentError) as refused:
        ledger.keep_answer("p1", second, "second.x.y")
    assert refused.value.code is ErrorCode.PAYMENT_STATE
    assert ledger.payment("p1").confirmation == "first.x.y"
    assert ledger.payment("p1").answer == DECLINED


def test_the_answer_survives_a_crash_between_keeping_and_sending(path: Path) -> None:
    # No close: what a killed process leaves behind is what is on disk.
    killed = Database.open(path)
    keep(Ledger(killed))
    Ledger(killed).keep_answer("p1", APPROVED, "a.b.c")
    with Database.open(path) as database:
        (kept,) = Ledger(database).open_payments()
        assert (kept.answer, kept.confirmation) == (APPROVED, "a.b.c")
        with pytest.raises(PaymentError):
            Ledger(database).keep_answer("p1", DECLINED, "d.e.f")
    killed.close()


def test_an_answer_may_be_signed_again_until_it_is_taken(ledger: Ledger) -> None:
    keep(ledger)
    ledger.keep_signed_again("p1", "too.early.x")
    assert ledger.payment("p1").confirmation is None
    ledger.keep_answer("p1", APPROVED, "a.b.c")
    ledger.keep_signed_again("p1", "d.e.f")
    assert ledger.payment("p1").confirmation == "d.e.f"
    ledger.close_payment("p1", "answered")
    ledger.keep_signed_again("p1", "g.h.i")
    assert ledger.payment("p1").confirmation == "d.e.f"


def test_a_closed_payment_takes_no_answer_and_keeps_its_reason(ledger: Ledger) -> None:
    keep(ledger)
    ledger.close_payment("p1", "canceled")
    ledger.close_payment("p1", "answered")
    with pytest.raises(PaymentError, match="canceled"):
        ledger.keep_answer("p1", APPROVED, "a.b.c")
    assert ledger.open_payments() == []


def test_an_unknown_payment_is_told(ledger: Ledger) -> None:
    for act in (
        lambda: ledger.payment("none"),
        lambda: ledger.keep_answer("none", APPROVED, "a.b.c"),
    ):
        with pytest.raises(PaymentError) as refused:
            act()
        assert refused.value.code is ErrorCode.PAYMENT_UNKNOWN
    assert ledger.keep_shown(shown(payment="none")) is False


def _reachable(start: Status) -> set[Status]:
    reached = {start}
    for _ in Status:
        reached |= {after for (before, _), after in TRANSITIONS.items() if before in reached}
    return reached


@pytest.mark.parametrize(("before", "after"), list(product(Status, Status)))
def test_only_what_the_life_cycle_allows_is_news(
    ledger: Ledger, before: Status, after: Status
) -> None:
    ledger.keep_challenge(shown(before.value), "jack", "c.h.x", received_ms=1, event_id="1")
    follows = after in _reachable(before)
    assert ledger.keep_shown(shown(after.value), event_id="2") is (follows and after is not before)
    expected = after if follows else before
    assert ledger.payment("p1").shown["status"] == expected.value
    assert ledger.last_event_id() == "2"


@pytest.mark.parametrize("strange", [{"id": "p1"}, {"id": "p1", "status": "melted"}])
def test_a_status_that_is_not_known_changes_nothing(
    ledger: Ledger, strange: dict[str, Any]
) -> None:
    keep(ledger)
    assert ledger.keep_shown(strange) is False
    assert ledger.payment("p1").shown == shown()


def test_lists_are_in_order(ledger: Ledger) -> None:
    for number in (1, 2, 3):
        keep(ledger, f"p{number}", event=str(number), received_ms=number)
    assert [kept.id for kept in ledger.payments()] == ["p3", "p2", "p1"]
    assert [kept.id for kept in ledger.payments(limit=1)] == ["p3"]
    assert [kept.id for kept in ledger.open_payments()] == ["p1", "p2", "p3"]
    assert ledger.merchant_names() == {"cafe": "Café"}
