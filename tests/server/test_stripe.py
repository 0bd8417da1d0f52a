"""The Stripe adapter against localstripe over real connections, some of them bad."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from server.processors.port import (
    Approved,
    CaptureOrder,
    ChargeOrder,
    ContradictionError,
    KeyConflictError,
    Order,
    OutcomeUnknownError,
    ProcessorBusyError,
    RefundOrder,
    Refused,
    VoidOrder,
    carry_out,
)
from server.processors.stripe import StripeProcessor
from tests.server.devices import new_id
from tests.server.stripe_peer import KEY, Wire, asking_its_owner, held_up, instead, lost
from twochannel.protocol.payment import CaptureMode


@pytest.fixture
async def processor(wire: Wire) -> AsyncIterator[StripeProcessor]:
    processor = StripeProcessor(KEY, url=wire.url, timeout_s=20)
    yield processor
    await processor.close()


async def kept(processor: StripeProcessor, token: str = "pm_card_visa") -> str:
    kept = await processor.keep(new_id(), token)
    assert isinstance(kept, str), kept
    return kept


async def charge_order(
    processor: StripeProcessor,
    mode: CaptureMode = CaptureMode.AUTOMATIC,
    token: str = "pm_card_visa",
) -> ChargeOrder:
    payment = new_id()
    token = await kept(processor, token)
    return ChargeOrder(f"{payment}:charge:1", payment, token, 8000, "EUR", mode)


async def carried_out(processor: StripeProcessor, order: Order) -> Approved:
    outcome = await carry_out(processor, order)
    assert isinstance(outcome, Approved), outcome
    return outcome


async def hold(processor: StripeProcessor) -> tuple[ChargeOrder, str]:
    order = await charge_order(processor, CaptureMode.MANUAL)
    return order, (await carried_out(processor, order)).reference


def capture_of(
    order: ChargeOrder, reference: str, amount_minor: int, turn: int = 1
) -> CaptureOrder:
    key = f"{order.payment}:capture:{turn}"
    return CaptureOrder(key, order.payment, reference, amount_minor, "EUR")


def refund_of(order: ChargeOrder, reference: str, amount_minor: int, turn: int = 1) -> RefundOrder:
    key = f"{order.payment}:refund:{turn}"
    return RefundOrder(key, order.payment, reference, amount_minor, "EUR")


async def test_a_charge_is_made_once_however_often_it_is_ordered(
    processor: StripeProcessor,
) -> None:
    order = await charge_order(processor)
    first = await carried_out(processor, order)
    assert first.reference.startswith("pi_")
    assert first.amount_minor == 8000
    assert await processor.charge(order) == first
    assert await processor.lookup(order) == first


async def test_a_method_serves_many_charges(processor: StripeProcessor) -> None:
    order = await charge_order(processor)
    others = [replace(order, idempotency_key=f"{n}", payment=new_id()) for n in range(3)]
    outcomes = [await carried_out(processor, o) for o in (order, *others)]
    assert len({outcome.reference for outcome in outcomes}) == 4
    for known, outcome in zip((order, *others), outcomes, strict=True):
        assert await processor.lookup(known) == outcome


async def test_a_key_that_stands_for_another_order_is_a_conflict(
    processor: StripeProcessor,
) -> None:
    order = await charge_order(processor)
    await carried_out(processor, order)
    with pytest.raises(KeyConflictError):
        await processor.charge(replace(order, amount_minor=8001))


async def test_a_hold_is_captured_in_part_and_given_back_in_parts(
    processor: StripeProcessor,
) -> None:
    order, reference = await hold(processor)
    capture = capture_of(order, reference, 4217)
    assert await processor.lookup(capture) is None
    assert await processor.capture(capture) == Approved(reference, 4217)
    assert await processor.capture(capture) == Approved(reference, 4217)
    assert await processor.lookup(capture) == Approved(reference, 4217)
    first = refund_of(order, reference, 17)
    assert await processor.lookup(first) is None
    given = await carried_out(processor, first)
    assert given.reference.startswith("re_")
    assert await processor.refund(first) == given
    assert await processor.lookup(first) == given
    rest = await carried_out(processor, refund_of(order, reference, 4200, 2))
    assert rest.reference != given.reference
    more = await processor.refund(refund_of(order, reference, 1, 3))
    assert more == Refused("charge_already_refunded")


async def test_a_capture_above_the_hold_is_refused_and_leaves_it(
    processor: StripeProcessor,
) -> None:
    order, reference = await hold(processor)
    refused = await processor.capture(capture_of(order, reference, 8001))
    assert isinstance(refused, Refused)
    assert await processor.capture(capture_of(order, reference, 8000, 2)) == Approved(
        reference, 8000
    )


async def test_a_hold_is_released_once_and_stays_so(processor: StripeProcessor) -> None:
    order, reference = await hold(processor)
    void = VoidOrder(f"{order.payment}:void:1", order.payment, reference)
    assert await processor.lookup(void) is None
    assert await processor.void(void) == Approved(reference, 8000)
    again = replace(void, idempotency_key=f"{order.payment}:void:2")
    assert await processor.void(again) == Approved(reference, 8000)
    assert await processor.lookup(void) == Approved(reference, 8000)
    assert await processor.capture(capture_of(order, reference, 1)) == Refused("charge_voided")


async def test_what_was_captured_is_not_released(processor: StripeProcessor) -> None:
    order, reference = await hold(processor)
    await carried_out(processor, capture_of(order, reference, 8000))
    void = VoidOrder(f"{order.payment}:void:1", order.payment, reference)
    assert await processor.void(void) == Refused("charge_captured")


async def test_a_declined_card_is_refused_now_and_when_it_is_looked_up(
    processor: StripeProcessor,
) -> None:
    order = await charge_order(processor, token="pm_card_chargeCustomerFail")
    assert await processor.charge(order) == Refused("card_declined")
    assert await processor.lookup(order) == Refused("card_declined")


async def test_a_card_that_is_declined_at_once_is_not_kept(processor: StripeProcessor) -> None:
    refused = await processor.keep(new_id(), "pm_card_visa_chargeDeclined")
    assert refused == Refused("card_declined")
    assert isinstance(await processor.keep(new_id(), "pm_nobodys"), Refused)


async def test_keeping_again_keeps_the_same(processor: StripeProcessor) -> None:
    method = new_id()
    once = await processor.keep(method, "pm_card_visa")
    assert await processor.keep(method, "pm_card_visa") == once


async def test_what_was_forgotten_may_be_forgotten_again(processor: StripeProcessor) -> None:
    token = await kept(processor)
    await processor.forget(token)
    await processor.forget(token)
    await processor.forget("cus_nobody/pm_nobodys")


LOST = [
    pytest.param(lambda: lost, id="lost"),
    pytest.param(lambda: instead(b"<html>"), id="no JSON"),
    pytest.param(lambda: instead(b"[]"), id="a list"),
    pytest.param(lambda: instead(b"{}"), id="an object without anything"),
    pytest.param(lambda: instead(b'{"id":"pi_1","object":"payment_intent"}'), id="half an object"),
    pytest.param(lambda: instead(b"\xff\xfe"), id="no UTF-8"),
    pytest.param(lambda: instead(b"{}", "500 Oops"), id="failure"),
    pytest.param(lambda: instead(b"gone", "502 Bad Gateway"), id="gateway"),
    pytest.param(lambda: instead(b'{"error":{"type":"x"}}', "409 Conflict"), id="still at it"),
]


@pytest.mark.parametrize("fault", LOST)
async def test_a_charge_without_an_answer_is_found(
    processor: StripeProcessor, wire: Wire, fault: Callable[[], Any]
) -> None:
    order = await charge_order(processor)
    wire.requests.clear()
    wire.faults.append(fault())
    with pytest.raises(OutcomeUnknownError):
        await processor.charge(order)
    assert wire.requests == ["POST /v1/payment_intents"]
    found = await processor.lookup(order)
    assert isinstance(found, Approved)
    assert await processor.charge(order) == found


@pytest.mark.parametrize("fault", LOST)
async def test_a_look_up_without_an_answer_says_nothing(
    processor: StripeProcessor, wire: Wire, fault: Callable[[], Any]
) -> None:
    order = await charge_order(processor)
    await carried_out(processor, order)
    wire.faults.append(fault())
    with pytest.raises(OutcomeUnknownError):
        await processor.lookup(order)


async def test_operations_without_an_answer_are_found(
    processor: StripeProcessor, wire: Wire
) -> None:
    order, reference = await hold(processor)
    for operation, expected in (
        (capture_of(order, reference, 4217), 4217),
        (refund_of(order, reference, 17), 17),
    ):
        wire.faults.append(lost)
        with pytest.raises(OutcomeUnknownError):
            await carry_out(processor, operation)
        found = await processor.lookup(operation)
        assert isinstance(found, Approved)
        assert found.amount_minor == expected


async def test_an_answer_that_is_late_is_given_up_and_found(wire: Wire) -> None:
    processor = StripeProcessor(KEY, url=wire.url, timeout_s=20)
    order = await charge_order(processor)
    await processor.close()
    hasty = StripeProcessor(KEY, url=wire.url, timeout_s=0.2)
    too_late = asyncio.Event()
    wire.faults.append(held_up(too_late))
    with pytest.raises(OutcomeUnknownError, match="ReadTimeout"):
        await hasty.charge(order)
    too_late.set()
    await hasty.close()
    patient = StripeProcessor(KEY, url=wire.url, timeout_s=20)
    assert isinstance(await patient.lookup(order), Approved)
    await patient.close()


@pytest.mark.parametrize(
    "fault",
    [
        instead(b'{"error":{"type":"rate_limit_error"}}', "429 Too Many Requests"),
        instead(b'{"error":{"type":"invalid_request_error"}}', "401 Unauthorized"),
        instead(b'{"error":{"type":"invalid_request_error"}}', "403 Forbidden"),
    ],
)
async def test_what_stripe_took_nothing_of_is_ordered_later(
    processor: StripeProcessor, wire: Wire, fault: Callable[..., Any]
) -> None:
    order = await charge_order(processor)
    wire.faults.append(fault)
    with pytest.raises(ProcessorBusyError):
        await processor.charge(order)


async def test_where_nobody_listens_nothing_was_done() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    processor = StripeProcessor(KEY, url=f"http://127.0.0.1:{port}", timeout_s=20)
    order = ChargeOrder("k", new_id(), "cus_1/pm_1", 1, "EUR", CaptureMode.AUTOMATIC)
    with pytest.raises(ProcessorBusyError):
        await processor.charge(order)
    await processor.close()


def intent(order: ChargeOrder, **changes: object) -> bytes:
    """An answer that fits the order, but for ``changes``."""
    document = {
        "id": "pi_1",
        "object": "payment_intent",
        "status": "succeeded",
        "amount": order.amount_minor,
        "amount_received": order.amount_minor,
        "currency": "eur",
        "metadata": {"payment": order.payment, "key": order.idempotency_key},
    }
    return json.dumps(document | changes).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 8001},
        {"currency": "usd"},
        {"metadata": {}},
        {"metadata": {"payment": "another", "key": "another"}},
        {"status": "requires_capture"},
    ],
)
async def test_an_answer_about_something_else_is_a_contradiction(
    processor: StripeProcessor, wire: Wire, changes: dict[str, object]
) -> None:
    order = await charge_order(processor)
    wire.faults.append(instead(intent(order, **changes)))
    with pytest.raises(ContradictionError):
        await processor.charge(order)


async def test_an_answer_about_another_hold_is_a_contradiction(
    processor: StripeProcessor, wire: Wire
) -> None:
    order, reference = await hold(processor)
    capture = capture_of(order, reference, 1)
    wire.faults.append(instead(intent(order)))
    with pytest.raises(ContradictionError):
        await processor.capture(capture)
    wire.faults.append(instead(intent(order, id=reference, currency="usd")))
    with pytest.raises(ContradictionError):
        await processor.lookup(capture)


@pytest.mark.parametrize("status", ["processing", None, "something_new"])
async def test_what_stripe_has_not_decided_is_unknown(
    processor: StripeProcessor, wire: Wire, status: str | None
) -> None:
    order = await charge_order(processor)
    wire.faults.append(instead(intent(order, status=status)))
    with pytest.raises(OutcomeUnknownError):
        await processor.charge(order)


async def test_what_its_owner_would_have_to_authenticate_is_withdrawn(
    processor: StripeProcessor, stripe: str
) -> None:
    order = await charge_order(processor, token=await asking_its_owner(stripe))
    assert await processor.charge(order) == Refused("authentication_required")
    assert await processor.lookup(order) == Refused("authentication_required")


async def test_no_log_shows_a_key_or_a_token(
    processor: StripeProcessor, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        order = await charge_order(processor)
        await carried_out(processor, order)
    assert caplog.records
    for secret in (KEY, *order.token.split("/")):
        assert secret not in caplog.text
        assert secret not in repr((processor, order))
