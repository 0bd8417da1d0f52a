"""Limits with the clock turned by hand: counted over a moving window, and true about its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection

from server.allowances import Allowances, lift, list_failures, outdated, purge
from server.database import migrate
from server.kinds import FailureKind
from server.store import Store
from tests.server.sql import plan_of
from tests.server.world import PLENTY, World
from twochannel.protocol.errors import ErrorCode, LimitError
from twochannel.protocol.limits import (
    CHALLENGE_LIFETIME_S,
    DENIAL_WINDOW_S,
    FAILURE_WINDOW_S,
    PROMPT_WINDOW_S,
)
from twochannel.protocol.payment import Event
from twochannel.protocol.statements import Decision


@pytest.fixture
def world(database: str) -> Iterator[World]:
    store = Store(database)
    # As a server makes it: which index SQLite takes, of two that serve, depends on their order.
    migrate(store)
    yield World(store)
    store.close_now()


def denied(world: World) -> None:
    world.confirm(world.request(), Decision.DECLINE)


def canceled(world: World) -> None:
    world.cancel(world.request())


def expired(world: World) -> None:
    payment = world.request()
    world.settle(payment, Event.EXPIRE, reason="nobody_answered")


def approved(world: World) -> None:
    payment = world.request()
    world.confirm(payment)
    world.settle(payment, Event.CAPTURE)


def refused(world: World) -> LimitError:
    with pytest.raises(LimitError) as error:
        world.request()
    return error.value


@pytest.mark.parametrize("unwanted", [denied, canceled, expired])
def test_an_owner_who_does_not_approve_is_left_alone_for_a_while(
    world: World, unwanted: Callable[[World], None]
) -> None:
    world.allowances = Allowances(prompts=3, denials=PLENTY)
    for _ in range(3):
        unwanted(world)
        world.now_ms += 10_000
    limit = refused(world)
    assert limit.code is ErrorCode.JACK_PROMPTED
    assert limit.retry_after_s == PROMPT_WINDOW_S - 30
    world.now_ms += limit.retry_after_s * 1000 - 1
    assert refused(world).retry_after_s == 1
    world.now_ms += 1
    world.request()


def test_what_is_approved_is_no_prompt_too_many(world: World) -> None:
    world.allowances = Allowances(prompts=2, denials=PLENTY)
    denied(world)
    for _ in range(10):
        approved(world)
    denied(world)
    assert refused(world).code is ErrorCode.JACK_PROMPTED


def test_a_terminal_whose_prompts_mostly_come_to_nothing_is_throttled(world: World) -> None:
    world.allowances = Allowances(prompts=PLENTY, denials=4)
    for _ in range(4):
        approved(world)
    for unwanted in (denied, canceled, expired, denied):
        unwanted(world)
    # As many were approved: that is bad luck and no habit.
    world.request()
    world.settle(
        str(world.rows("SELECT id FROM payments WHERE status = 'pending'")[0]["id"]), Event.EXPIRE
    )
    limit = refused(world)
    assert limit.code is ErrorCode.TERMINAL_THROTTLED
    assert limit.retry_after_s == DENIAL_WINDOW_S
    world.now_ms += DENIAL_WINDOW_S * 1000
    world.request()


def test_a_few_denials_are_nothing_however_many_they_are_in_proportion(world: World) -> None:
    world.allowances = Allowances(prompts=PLENTY, denials=4)
    for _ in range(3):
        denied(world)
    world.request()


def test_failures_count_in_their_window_and_no_more_are_kept(world: World) -> None:
    kind, allowances = FailureKind.CODE, Allowances(failures={FailureKind.CODE: 3})
    start_ms = world.now_ms

    def note() -> bool:
        return world.store.write_now(
            lambda c: allowances.note_failure(c, kind, "terminal", world.now_ms)
        )

    told = []
    for _ in range(6):
        told.append(note())
        world.now_ms += 1000
    assert told == [False, False, True, True, True, True]
    assert len(world.rows("SELECT * FROM failures")) == 3
    with pytest.raises(LimitError) as limit:
        world.store.read_now(lambda c: allowances.check_failures(c, kind, "terminal", world.now_ms))
    assert limit.value.code is ErrorCode.TOO_MANY_CODES
    assert limit.value.retry_after_s == FAILURE_WINDOW_S - 6
    world.store.read_now(lambda c: allowances.check_failures(c, kind, "other", world.now_ms))
    (counted,) = world.store.read_now(lambda c: list_failures(c, world.now_ms))
    assert counted == {
        "kind": "code", "subject": "terminal", "count": 3, "last_ms": start_ms + 2000
    }  # fmt: skip
    assert world.store.write_now(lambda c: lift(c, "terminal")) == 3
    world.store.read_now(lambda c: allowances.check_failures(c, kind, "terminal", world.now_ms))


def test_failures_that_count_no_more_are_forgotten(world: World) -> None:
    allowances, kind = Allowances(), FailureKind.ENROLMENT
    world.store.write_now(lambda c: allowances.note_failure(c, kind, "::1", world.now_ms))
    world.now_ms += FAILURE_WINDOW_S * 1000 - 1
    assert not world.store.read_now(lambda c: outdated(c, world.now_ms))
    world.now_ms += 1
    assert world.store.read_now(lambda c: outdated(c, world.now_ms))
    world.store.write_now(lambda c: purge(c, world.now_ms))
    assert world.rows("SELECT * FROM failures") == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_a_refusal_costs_does_not_grow_with_what_was_paid(world: World) -> None:
    """SQLite tells which index each look goes through: never the payments as a whole."""

    def look(connection: Connection) -> None:
        allowances = Allowances()
        allowances.check_prompts(connection, "j", world.now_ms)
        allowances.check_denials(connection, "t", world.now_ms)
        allowances.check_failures(connection, FailureKind.CODE, "t", world.now_ms)
        outdated(connection, world.now_ms)

    steps = world.store.write_now(lambda c: plan_of(c, lambda: look(c)))
    assert [step.partition(" (")[0].rpartition(" ")[2] for step in steps] == [
        "ix_payments_jack_unapproved",
        "ix_payments_terminal_unapproved",
        "ix_failures_subject_at",
        "ix_failures_at",
    ]


def test_the_open_payment_counts_before_the_limit(world: World) -> None:
    """A busy jack is told as busy: that ends sooner than any limit."""
    world.allowances = Allowances(prompts=1, denials=PLENTY)
    world.request()
    with pytest.raises(Exception, match="terminal_busy"):
        world.request()
    world.now_ms += CHALLENGE_LIFETIME_S * 1000
    assert refused(world).code is ErrorCode.JACK_PROMPTED
