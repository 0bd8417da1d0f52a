"""What proves a payment, in words: its statements, and the steps of the offline verification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from server.dashboard.payments_shown import Shown, one
from server.evidence import gather
from server.evidence_chain import verify_evidence
from server.evidence_file import EvidenceError
from server.evidence_parties import Step
from server.payment_history import show_payment
from server.payments import get_payment
from server.schema.payments import statements
from twochannel.protocol.envelope import unverified_claims
from twochannel.protocol.succession import Lineage


@dataclass(frozen=True, slots=True)
class Signed:
    """A statement. ``at_s``: as its signer says, None where it says nothing (auth codes)."""

    typ: str
    signer: str
    kid: str
    at_s: int | None

    @property
    def name(self) -> str:
        text = self.typ.removesuffix("+jwt").replace("-", " ")
        return text[0].upper() + text[1:]


@dataclass(frozen=True, slots=True)
class Proven:
    """A payment with its evidence. ``problem``: what is wrong with it, empty if it holds."""

    shown: Shown
    whole: dict[str, Any]
    signed: list[Signed]
    steps: tuple[Step, ...]
    problem: str


def prove(connection: Connection, payment_id: str, lineage: Lineage) -> Proven:
    """``lineage``: the server's keys, which are trusted, and none that the file alone knows.

    Raises PaymentError (``payment_unknown``).
    """
    row = get_payment(connection, payment_id)
    evidence = gather(connection, payment_id, lineage.text)
    steps, problem = tuple[Step, ...](), ""
    try:
        steps = verify_evidence(evidence, lineage.server).steps
    except EvidenceError as error:
        problem = f"{error.place}: {error.detail}"
    whole = show_payment(connection, payment_id)
    signers = {str(key): party for party, key in whole["parties"].items()}
    return Proven(
        one(connection, row), whole, _signed(connection, payment_id, signers), steps, problem
    )


def _signed(connection: Connection, payment_id: str, signers: dict[str, str]) -> list[Signed]:
    query = (
        select(statements.c.typ, statements.c.kid, statements.c.compact)
        .where(statements.c.payment_id == payment_id)
        .order_by(statements.c.position)
    )
    found = []
    for row in connection.execute(query):
        at_s = unverified_claims(row.compact).get("iat")
        at_s = at_s if isinstance(at_s, int) else None
        found.append(Signed(row.typ, signers.get(row.kid, "server"), row.kid, at_s))
    return found
