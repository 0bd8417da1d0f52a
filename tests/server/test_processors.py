"""The simulated processor: its books, its idempotency, and what its test tokens do."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.processors.books import Books, BooksError
from server.processors.port import (
    Approved,
    CaptureOrder,
    ChargeOrder,
    KeyConflictError,
    OutcomeUnknownError,
    RefundOrder,
    Refused,
    VoidOrder,
    carry_out,
)
from server.processors.simulated import SimulatedProcessor
from twochannel.protocol.payment import CaptureMode

CHARGE = ChargeOrder("p1:charge", "p1", "tok_success", 8000, "EUR", CaptureMode.AUTOMATIC)
HOLD = replace(CHARGE, capture=CaptureMode.MANUAL)

Make = Callable[..., SimulatedProcessor]


@pytest.fixture
def books(tmp_path: Path) -> Path:
    return tmp_path / "processor.sqlite3"


@pytest.fixture
def processor(books: Path) -> Iterator[SimulatedProcessor]:
    with SimulatedProcessor(books, hang_s=60) as processor:
        yield processor


async def hold(processor: SimulatedProcessor) -> str:
    outcome = await processor.charge(HOLD)
    assert isinstance(outcome, Approved)
    return outcome.reference


async def capture(processor: SimulatedProcessor, reference: str, amount_minor: int) -> object:
    key = f"p1:capture:{amount_minor}"
    return await carry_out(processor, CaptureOrder(key, "p1", reference, amount_minor, "EUR"))


def charges(books: Path) -> list[tuple[object, ...]]:
    with sqlite3.connect(books) as db:
        rows = db.execute("SELECT payment, authorized_minor, captured_minor, state FROM charges")
        found = rows.fetchall()
    db.close()
    return found


async def test_a_charge_is_booked_once_however_often_it_is_ordered(
    processor: SimulatedProcessor, books: Path
) -> None:
    outcomes = await asyncio.gather(*(carry_out(processor, CHARGE) for _ in range(20)))
    assert set(outcomes) == {Approved("sim_00000001", 8000)}
    assert charges(books) == [("p1", 8000, 8000, "captured")]


async def test_a_key_that_stands_for_another_order_is_refused(
    processor: SimulatedProcessor, books: Path
) -> None:
    await processor.charge(CHARGE)
    with pytest.raises(KeyConflictError):
        await processor.charge(replace(CHARGE, amount_minor=8001))
    assert charges(books) == [("p1", 8000, 8000, "captured")]


async def test_orders_that_come_together_have_each_their_own_outcome(
    processor: SimulatedProcessor, books: Path
) -> None:
    """They share a transaction: what is wrong with one concerns no other."""
    others = [replace(CHARGE, idempotency_key=f"p{n}:charge", payment=f"p{n}") for n in (2, 3)]
    conflict = replace(CHARGE, amount_minor=8001)
    calls = (processor.charge(order) for order in (CHARGE, conflict, *others))
    first, refused, *rest = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(refused, KeyConflictError)
    approved = [outcome for outcome in (first, *rest) if isinstance(outcome, Approved)]
    assert len({outcome.reference for outcome in approved}) == 3
    assert len(charges(books)) == 3


async def test_an_order_that_was_given_up_before_its_turn_is_not_carried_out(
    processor: SimulatedProcessor, books: Path
) -> None:
    turn = threading.Event()
    processor._thread.submit(turn.wait, 20)
    call = asyncio.create_task(processor.charge(CHARGE))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    turn.set()
    assert await processor.lookup(CHARGE) is None
    assert charges(books) == []


@pytest.mark.parametrize(
    ("token", "reason"), [("tok_decline", "card_declined"), ("tok_other", "token_unknown")]
)
async def test_a_refused_charge_leaves_nothing_but_its_outcome(
    processor: SimulatedProcessor, books: Path, token: str, reason: str
) -> None:
    refused = await processor.charge(replace(CHARGE, token=token))
    assert refused == Refused(reason)
    assert await processor.lookup(CHARGE) == refused
    assert charges(books) == []


async def test_a_lost_answer_is_lost_once_and_the_charge_is_booked(
    processor: SimulatedProcessor,
) -> None:
    order = replace(CHARGE, token="tok_lost_answer")
    with pytest.raises(OutcomeUnknownError):
        await processor.charge(order)
    booked = Approved("sim_00000001", 8000)
    assert await processor.lookup(order) == booked
    assert await processor.charge(order) == booked


async def test_a_hanging_charge_is_booked_long_before_it_is_answered(
    processor: SimulatedProcessor, books: Path
) -> None:
    order = replace(CHARGE, token="tok_hang")
    call = asyncio.create_task(processor.charge(order))
    await asyncio.sleep(0)  # The call is with the books now, and the look-up waits its turn.
    assert await processor.lookup(order) == Approved("sim_00000001", 8000)
    assert not call.done()
    assert charges(books) == [("p1", 8000, 8000, "captured")]
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_hang_that_is_over_is_answered(books: Path) -> None:
    with SimulatedProcessor(books, hang_s=0) as processor:
        assert await processor.charge(replace(CHARGE, token="tok_hang")) == Approved(
            "sim_00000001", 8000
        )


async def test_a_partial_capture_takes_its_part_and_ends_the_hold(
    processor: SimulatedProcessor, books: Path
) -> None:
    reference = await hold(processor)
    assert charges(books) == [("p1", 8000, 0, "held")]
    assert await capture(processor, reference, 4217) == Approved(reference, 4217)
    assert charges(books) == [("p1", 8000, 4217, "captured")]
    assert await capture(processor, reference, 1) == Refused("charge_captured")


@pytest.mark.parametrize("amount_minor", [8001, 0, -1])
async def test_a_capture_outside_the_hold_is_refused(
    processor: SimulatedProcessor, books: Path, amount_minor: int
) -> None:
    reference = await hold(processor)
    assert await capture(processor, reference, amount_minor) == Refused("amount_exceeded")
    assert charges(books) == [("p1", 8000, 0, "held")]


async def test_a_capture_in_another_currency_is_refused(processor: SimulatedProcessor) -> None:
    order = CaptureOrder("p1:capture", "p1", await hold(processor), 100, "USD")
    assert await processor.capture(order) == Refused("currency_differs")


async def test_a_void_releases_the_hold_for_good(
    processor: SimulatedProcessor, books: Path
) -> None:
    reference = await hold(processor)
    void = VoidOrder("p1:void", "p1", reference)
    assert await carry_out(processor, void) == Approved(reference, 8000)
    assert await processor.void(void) == Approved(reference, 8000)
    assert await capture(processor, reference, 100) == Refused("charge_voided")
    assert charges(books) == [("p1", 8000, 0, "voided")]


async def test_operations_on_an_unknown_charge_are_refused(processor: SimulatedProcessor) -> None:
    assert await processor.void(VoidOrder("k", "p1", "sim_9")) == Refused("charge_unknown")
    assert await capture(processor, "sim_9", 100) == Refused("charge_unknown")


async def test_a_key_that_was_never_seen_has_no_outcome(processor: SimulatedProcessor) -> None:
    assert await processor.lookup(replace(CHARGE, idempotency_key="never")) is None


async def test_the_books_outlive_the_process_that_wrote_them(books: Path) -> None:
    with SimulatedProcessor(books) as processor:
        booked = await processor.charge(CHARGE)
    with SimulatedProcessor(books) as processor:
        assert await processor.lookup(CHARGE) == booked
        assert await processor.charge(CHARGE) == booked


def test_books_of_a_later_release_are_left_alone(books: Path) -> None:
    with sqlite3.connect(books) as db:
        db.execute("PRAGMA user_version = 3")
    db.close()
    with pytest.raises(BooksError, match="version 3"):
        Books(books)


async def test_books_without_refunds_are_brought_up_to_this_version(books: Path) -> None:
    with SimulatedProcessor(books) as processor:
        charged = await processor.charge(CHARGE)
    with sqlite3.connect(books) as db:
        db.execute("DROP TABLE refunds")
        db.execute("PRAGMA user_version = 1")
    db.close()
    with SimulatedProcessor(books) as processor:
        assert await processor.lookup(CHARGE) == charged
        assert await processor.refund(REFUND) == Approved("simr_00000001", 100)


REFUND = RefundOrder("p1:refund:1", "p1", "sim_00000001", 100, "EUR")


async def test_refunds_are_booked_once_each_and_never_above_what_was_taken(
    processor: SimulatedProcessor, books: Path
) -> None:
    await processor.charge(CHARGE)
    outcomes = await asyncio.gather(*(carry_out(processor, REFUND) for _ in range(20)))
    assert set(outcomes) == {Approved("simr_00000001", 100)}
    rest = replace(REFUND, idempotency_key="p1:refund:2", amount_minor=7900)
    assert await processor.refund(rest) == Approved("simr_00000002", 7900)
    more = replace(REFUND, idempotency_key="p1:refund:3", amount_minor=1)
    assert await processor.refund(more) == Refused("amount_exceeded")
    with sqlite3.connect(books) as db:
        (sum_minor,) = db.execute("SELECT sum(amount_minor) FROM refunds").fetchone()
    db.close()
    assert sum_minor == 8000


async def test_what_was_never_taken_cannot_be_given_back(processor: SimulatedProcessor) -> None:
    await hold(processor)
    assert await processor.refund(REFUND) == Refused("amount_exceeded")
    nobody = replace(REFUND, idempotency_key="k", reference="sim_9")
    assert await processor.refund(nobody) == Refused("charge_unknown")
    dollars = replace(REFUND, idempotency_key="l", currency="USD")
    assert await processor.refund(dollars) == Refused("currency_differs")


async def test_a_hold_is_released_once_and_stays_so(processor: SimulatedProcessor) -> None:
    reference = await hold(processor)
    for key in ("k", "l"):
        void = VoidOrder(key, "p1", reference)
        assert await processor.void(void) == Approved(reference, 8000)


def test_an_order_does_not_show_its_token() -> None:
    assert "tok_success" not in repr(CHARGE)
