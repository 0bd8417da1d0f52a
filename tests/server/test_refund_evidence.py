"""What evidence proves of refunds, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from server.evidence_chain import verify_document
from server.evidence_file import Evidence, write
from server.payments import get_payment
from server.processors.port import Approved
from server.refunds import settle_refund
from server.schema.tables import metadata
from server.store import Store
from tests.server.devices import new_id
from tests.server.evidence_bench import evidence_of, finish, refusal, resigned
from tests.server.world import World
from twochannel.protocol.envelope import digest
from twochannel.protocol.payment import Event
from twochannel.protocol.statements import Role


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('evidence') / 'server.sqlite3'}")
    metadata.create_all(store.engine)
    yield World(store)
    store.close_now()


@pytest.fixture(scope="module")
def returned(world: World) -> Evidence:
    """4.50 paid, 1.00 and 2.00 given back, and a third refund that came to nothing."""
    payment = world.request()
    world.confirm(payment)
    finish(world, payment, Event.CAPTURE)
    for value in (100, 200):
        give_back(world, payment, world.refund(payment, value))
    world.refund(payment, 50)
    return evidence_of(world, payment)


def give_back(world: World, payment: str, refund: str) -> None:
    """The processor's word on a refund."""

    def transaction(connection: Connection) -> None:
        row, outcome = get_payment(connection, payment), Approved(f"simr_{refund}", 1)
        settle_refund(connection, row, refund, outcome, world.now_ms, world.issuer)

    world.store.write_now(transaction)


def test_refunds_are_proven_each_with_its_receipt(returned: Evidence) -> None:
    verdict = verify_document(write(returned))
    assert (verdict.captured_minor, verdict.refunded_minor) == (450, 300)
    assert "given back" in verdict.steps[-2].text
    assert "asked to give 0.50 EUR of the 4.50 back" in verdict.steps[-1].text


@pytest.mark.parametrize(
    ("position", "role", "claims", "complaint"),
    [
        (4, Role.TERMINAL, {"amount": {"value": 99, "currency": "EUR"}}, "not here"),
        (4, Role.TERMINAL, {"amount": {"value": 451, "currency": "EUR"}}, "at most what was"),
        (4, Role.TERMINAL, {"amount": {"value": 1, "currency": "USD"}}, "another currency"),
        (4, Role.TERMINAL, {"prev": digest("other")}, "another payment request"),
        (4, Role.TERMINAL, {"sub": new_id()}, "about another payment"),
        (4, Role.PHONE, {}, "key is not known"),
        (4, Role.SERVER, {}, "does not come from the server"),
        (5, Role.SERVER, {"refunded_minor": 101}, "another amount was to be given back"),
        (5, Role.SERVER, {"refunded_minor": 0}, "another amount was to be given back"),
        (5, Role.SERVER, {"captured_minor": 350}, "nothing but what is given back"),
        (5, Role.SERVER, {"authorized_minor": 451}, "nothing but what is given back"),
        (5, Role.SERVER, {"currency": "USD"}, "nothing but what is given back"),
        (5, Role.SERVER, {"status": "voided"}, "wrong kind"),
    ],
)
def test_a_refund_that_tells_another_story(
    world: World,
    returned: Evidence,
    position: int,
    role: Role,
    claims: dict[str, object],
    complaint: str,
) -> None:
    assert complaint in refusal(resigned(world, returned, position, role, **claims))


def test_a_refund_is_answered_once(world: World, returned: Evidence) -> None:
    again = resigned(world, returned, 5, Role.SERVER, jti=new_id(), refunded_minor=200)
    chain = [*returned.statements]
    chain.insert(6, again.statements[5])
    assert "answered before" in refusal(returned.model_copy(update={"statements": chain}))


def test_nothing_is_given_back_before_it_was_taken(world: World, returned: Evidence) -> None:
    chain = [*returned.statements]
    chain.insert(3, chain.pop(4))
    assert "nothing was captured" in refusal(returned.model_copy(update={"statements": chain}))
