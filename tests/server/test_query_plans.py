"""What the database is asked: no question looks through a table that grows with the jacks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.database import migrate
from server.owners import show_owner
from server.pairing import store_pairing
from server.store import Store
from tests.server.sql import plan_of
from tests.server.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    store = Store(f"sqlite:///{tmp_path / 'server.sqlite3'}")
    migrate(store)
    yield World(store)
    store.close_now()


def test_a_pairing_looks_through_no_table(world: World) -> None:
    """Not through a million jacks for one with the same beacon key either."""
    world.epoch += 1
    again = world.accepted_pairing()
    steps = world.store.write_now(
        lambda c: plan_of(c, lambda: store_pairing(c, again, world.now_ms))
    )
    assert any("uq_jacks_beacon_key" in step for step in steps)
    assert not [step for step in steps if step.startswith("SCAN")]


def test_an_owner_is_shown_without_looking_through_a_table(world: World) -> None:
    phone = world.phone.key.kid
    steps = world.store.read_now(lambda c: plan_of(c, lambda: show_owner(c, phone)))
    for index in ("ix_couplings_method", "ix_pairings_phone", "ix_instructions_phone"):
        assert any(index in step for step in steps), index
    assert not [step for step in steps if step.startswith("SCAN")]
