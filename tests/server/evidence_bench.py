"""Evidence for tests: gathered, said differently by a party that signs, refused."""

from __future__ import annotations

import pytest

from server.evidence import gather
from server.evidence_chain import verify_document
from server.evidence_file import Evidence, EvidenceError, write
from tests.server.world import World
from twochannel.protocol.envelope import Statement, read_header, sign, unverified_claims
from twochannel.protocol.payment import Event
from twochannel.protocol.statements import (
    AuthCode,
    Cancel,
    Capture,
    Challenge,
    Confirmation,
    PaymentRequest,
    Receipt,
    Refund,
    Role,
)


def finish(world: World, payment: str, event: Event, amount_minor: int | None = None) -> None:
    """The processor's word on the payment."""
    world.settle(payment, event, amount_minor=amount_minor, processor_reference="sim_1")


def evidence_of(world: World, payment: str) -> Evidence:
    return world.store.read_now(lambda c: gather(c, payment, world.identity))


def refusal(evidence: Evidence) -> str:
    with pytest.raises(EvidenceError) as error:
        verify_document(write(evidence))
    return str(error.value)


def resigned(
    world: World, evidence: Evidence, position: int, role: Role, **claims: object
) -> Evidence:
    """The evidence with one statement said differently by the party that signs it."""
    models: dict[str, type[Statement]] = {
        m.TYP: m
        for m in (
            PaymentRequest,
            Challenge,
            Confirmation,
            Receipt,
            Capture,
            Cancel,
            AuthCode,
            Refund,
        )
    }
    compact = evidence.statements[position]
    signer = getattr(world, role.value)
    statement = models[read_header(compact).typ].from_claims(unverified_claims(compact) | claims)
    chain = [*evidence.statements]
    chain[position] = sign(statement, signer)
    return evidence.model_copy(update={"statements": chain})
