"""The server dies at every step of every order, and comes back: each is carried out once.

Steps are made of the operations and states of the outbox (``server.kinds``), not listed by hand.
After each: the device sends the same statement again, the order ends as if nothing had been, the
processor has booked it once, and the audit is clean. So on either kind of database;
``test_stripe_crash_points`` does it with Stripe.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from server.state import StateFolder
from tests.server.bench import Prepared
from tests.server.crash_scene import AGREED, ENDS, Crasher, Ground, outlived
from tests.server.crashing import Step, steps

_STEPS = list(steps())


@pytest.mark.parametrize("step", _STEPS, ids=str)
async def test_after_a_crash_the_order_is_carried_out_once(
    stopped: Prepared, crasher: Crasher, step: Step
) -> None:
    folder, devices = stopped
    ground = Ground(folder, devices, {"database": folder.settings().database})
    check_books(folder, await outlived(ground, crasher, step), step)


def check_books(folder: StateFolder, payment: str, step: Step) -> None:
    """They are as if the server had never died."""
    _, captured, refunded = ENDS[step.operation]
    with closing(sqlite3.connect(folder.path / "processor.sqlite3")) as books:
        query = "SELECT payment, authorized_minor, captured_minor FROM charges"
        assert list(books.execute(query)) == [(payment, AGREED, captured)]
        query = "SELECT payment, amount_minor FROM refunds"
        assert list(books.execute(query)) == [(payment, refunded)] * bool(refunded)


def test_every_operation_dies_in_every_state() -> None:
    """A new state or operation has its crash points by itself; this says that they are not lost."""
    assert len(_STEPS) == len(set(map(str, _STEPS))) == 4 * 14
