"""Evidence for tests: gathered, said differently by a party that signs, refused."""

from __future__ import annotations

import random
from collections.abc import Iterator

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

#: Statements are longer lines.
_SHORT = 200


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


def with_a_changed_byte(document: bytes) -> Iterator[bytes]:
    """The file with another byte at each position. What no signature covers is in short lines, and
    is changed in all ways; the rest in one of them at each position, in another with another seed.
    """
    first, position = random.randrange(40), 0
    for line in document.splitlines(keepends=True):
        for byte in line:
            ways = _others(byte, first + position)
            for way in ways if len(line) < _SHORT else ways[:1]:
                yield document[:position] + bytes((way,)) + document[position + 1 :]
            position += 1


def _others(byte: int, turn: int) -> list[int]:
    """The letter in the other case, a digit, a sign that gives JSON and statements their structure,
    and what is one bit away, by turns the first.
    """
    digit, mark = b"0123456789"[turn // 4 % 10], b'"\\,:{}[]~.'[turn // 4 % 10]
    ways = (byte ^ 0x20, digit, mark, byte ^ 1)
    return [way for way in ways[turn % 4 :] + ways[: turn % 4] if way != byte]
