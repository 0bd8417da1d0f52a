"""What time ends, with the clock turned by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from server.expiry import due, sweep
from server.kinds import Operation
from server.schema.tables import metadata
from server.store import Store
from tests.server.world import World
from twochannel.protocol.errors import ErrorCode, PaymentError, StatementError
from twochannel.protocol.limits import (
    CHALLENGE_LIFETIME_S,
    HOLD_LIFETIME_S,
    HOLD_RELEASE_RETRY_S,
)
from twochannel.protocol.payment import CaptureMode, Event, Status


@pytest.fixture
def world(database: str) -> Iterator[World]:
    store = Store(database)
    store.write_now(metadata.create_all)
    yield World(store)
    store.close_now()


def sweep_now(world: World) -> list[Status]:
    found = world.store.read_now(lambda c: due(c, world.now_ms))
    changes = world.store.write_now(lambda c: sweep(c, world.now_ms, world.issuer))
    assert found == bool(changes)
    return [Status(change.row.status) for change in changes]


def hold(world: World) -> str:
    payment = world.request(8000, CaptureMode.MANUAL)
    world.confirm(payment)
    world.settle(payment, Event.AUTHORIZE)
    return payment


def test_a_payment_expires_with_its_challenge(world: World) -> None:
    payment = world.request()
    world.now_ms += CHALLENGE_LIFETIME_S * 1000 - 1
    assert sweep_now(world) == []
    world.now_ms += 1
    assert sweep_now(world) == [Status.EXPIRED]
    assert world.payment(payment)["reason"] == "nobody_answered"
    assert sweep_now(world) == []


def test_a_confirmation_that_comes_first_after_the_time_is_too_late(world: World) -> None:
    """By commit order: also when the sweeper has not come by."""
    payment = world.request()
    world.method()
    world.now_ms += CHALLENGE_LIFETIME_S * 1000
    with pytest.raises(StatementError) as refused:
        world.confirm(payment)
    assert refused.value.code is ErrorCode.STATEMENT_EXPIRED
    assert world.payment(payment)["status"] == "pending"


def test_a_hold_that_nobody_captures_is_released_once(world: World) -> None:
    payment = hold(world)
    world.now_ms += HOLD_LIFETIME_S * 1000 - 1
    assert sweep_now(world) == []
    world.now_ms += 1
    assert sweep_now(world) == [Status.AUTHORIZED]
    assert world.payment(payment)["operation"] == Operation.VOID.value
    assert sweep_now(world) == []
    with pytest.raises(PaymentError) as refused:
        world.capture(payment, 1)
    assert refused.value.code is ErrorCode.PAYMENT_STATE
    assert world.payment(payment)["reason"] == "hold_expired"


def test_a_processor_that_does_not_release_a_hold_is_asked_again_after_a_day(
    world: World,
) -> None:
    payment = hold(world)
    world.cancel(payment)
    world.refuse(payment, "not_now")
    world.now_ms += HOLD_LIFETIME_S * 1000
    for _ in range(3):
        assert sweep_now(world) == [Status.AUTHORIZED]
        world.refuse(payment, "not_now")
        row = world.payment(payment)
        assert (row["status"], row["operation"], row["reason"]) == ("authorized", None, "not_now")
        assert sweep_now(world) == []
        world.now_ms += HOLD_RELEASE_RETRY_S * 1000
    turns = world.rows("SELECT turn FROM outbox WHERE operation = 'void' ORDER BY turn")
    assert [row["turn"] for row in turns] == [1, 2, 3, 4]


def test_a_hold_past_its_time_may_still_be_cancelled(world: World) -> None:
    payment = hold(world)
    world.now_ms += HOLD_LIFETIME_S * 1000
    world.cancel(payment)
    row = world.payment(payment)
    assert (row["operation"], row["reason"]) == ("void", "canceled_by_terminal")


def test_a_hold_past_its_time_cannot_be_captured_any_more(world: World) -> None:
    payment = hold(world)
    world.now_ms += HOLD_LIFETIME_S * 1000
    with pytest.raises(PaymentError) as refused:
        world.capture(payment, 1)
    assert refused.value.code is ErrorCode.PAYMENT_STATE
