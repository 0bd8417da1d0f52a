"""Gathering the evidence of a payment from the database (``server.evidence_file``)."""

from __future__ import annotations

from sqlalchemy import Connection, select

from server.evidence_file import DeviceKeys, Evidence
from server.payments import PaymentRow, get_payment
from server.registry import device_key
from server.schema.parties import memberships, pairings
from server.schema.payments import statements
from twochannel.protocol.envelope import unverified_claims
from twochannel.protocol.keys import Jwk
from twochannel.protocol.statements import AuthCode, Challenge, Role


def gather(connection: Connection, payment_id: str, identity: str) -> Evidence:
    """The evidence so far. ``identity``: the server's identity statement.

    Auth codes are rows of their own in the database; here the confirmations carry them.
    Raises PaymentError (``payment_unknown``).
    """
    row = get_payment(connection, payment_id)
    chain = (
        select(statements.c.typ, statements.c.compact)
        .where(statements.c.payment_id == payment_id, statements.c.typ != AuthCode.TYP)
        .order_by(statements.c.position)
    )
    rows = connection.execute(chain).all()
    return Evidence(
        payment=payment_id,
        server=identity,
        pairing=_pairing(connection, row),
        keys=DeviceKeys(
            phone=_key(connection, Role.PHONE, row.phone_id),
            terminal=_key(connection, Role.TERMINAL, row.terminal_id),
        ),
        statements=[r.compact for r in rows if not _for_another(row, r.typ, r.compact)],
    )


def _for_another(row: PaymentRow, typ: str, compact: str) -> bool:
    """Of several challenges: one of another phone than that which has decided."""
    several = row.asked is not None and typ == Challenge.TYP
    return several and unverified_claims(compact).get("phone") != row.phone_id


def _pairing(connection: Connection, row: PaymentRow) -> str:
    """The acceptance that was current when the payment began, of the phone that has decided."""
    member = (
        select(memberships.c.compact)
        .where(
            memberships.c.jack_id == row.jack_id,
            memberships.c.epoch == row.epoch,
            memberships.c.phone_id == row.phone_id,
            memberships.c.joined_ms <= row.created_ms,
        )
        .order_by(memberships.c.joined_ms.desc())
        .limit(1)
    )
    compact = connection.scalar(member)
    if compact is not None:
        return str(compact)
    paired = pairings.c.jack_id == row.jack_id, pairings.c.epoch == row.epoch
    return str(connection.execute(select(pairings.c.compact).where(*paired)).scalar_one())


def _key(connection: Connection, role: Role, device_id: str) -> Jwk:
    key = device_key(connection, role, device_id)
    if key is None:
        raise RuntimeError(f"the {role} {device_id} of a payment is not registered")
    return key.jwk
