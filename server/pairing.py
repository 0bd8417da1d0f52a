"""The mapping of step 1: which phone a jack belongs to, from which epoch on.

``read_acceptance`` verifies the three nested statements without the database; ``store_pairing``
is the transaction.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from server.members import join
from server.registry import check_not_revoked, check_one_role
from server.schema.parties import jacks, memberships, pairings
from twochannel.protocol.envelope import check_time, digest, unverified_claims, verify
from twochannel.protocol.errors import CodedError, ErrorCode, StatementError
from twochannel.protocol.keys import VerifyingKey
from twochannel.protocol.statements import Identity, Pairing, PairingAcceptance, Role


@dataclass(frozen=True, slots=True)
class AcceptedPairing:
    """A pairing whose signatures hold: the jack's own words and the phone's counter-signature."""

    acceptance: PairingAcceptance
    compact: str
    pairing: Pairing
    identity: Identity
    beacon_key: VerifyingKey


def read_acceptance(compact: str, phone: VerifyingKey, server_id: str) -> AcceptedPairing:
    """Verify phone, jack, and that they speak of each other and of this server.

    Raises StatementError. Time is judged in the transaction.
    """
    acceptance = verify(compact, PairingAcceptance, phone, audience=server_id)
    identity, jack = _read_identity(acceptance.pairing)
    pairing = verify(acceptance.pairing, Pairing, jack, audience=server_id)
    if acceptance.iss != phone.kid or pairing.sub != phone.kid:
        raise StatementError(ErrorCode.ISSUER_WRONG, "the pairing is with another phone")
    if pairing.iss != jack.kid or acceptance.sub != jack.kid:
        raise StatementError(ErrorCode.ISSUER_WRONG, "the pairing comes from another jack")
    beacon_key = VerifyingKey.from_jwk(identity.beacon_key)
    return AcceptedPairing(acceptance, compact, pairing, identity, beacon_key)


def _read_identity(pairing_compact: str) -> tuple[Identity, VerifyingKey]:
    """The identity inside a pairing vouches for itself: its key is the jack's id."""
    compact = unverified_claims(pairing_compact).get("identity")
    if not isinstance(compact, str):
        raise StatementError(ErrorCode.CLAIM_INVALID, "claim identity: missing")
    key = VerifyingKey.from_members(unverified_claims(compact).get("key"))
    identity = verify(compact, Identity, key)
    if identity.role is not Role.JACK or identity.iss != key.kid:
        raise StatementError(ErrorCode.ISSUER_WRONG, "the identity is not a jack's own")
    return identity, key


def store_pairing(
    connection: Connection, accepted: AcceptedPairing, now_ms: int
) -> tuple[dict[str, object], bool]:
    """Store the mapping; the answer, and whether it is new. Checks, in this order:

    phone or jack revoked (``device_revoked``); the same statement again (answered as before);
    time; an epoch that is not above the stored one (``epoch_outdated``); a jack's
    key that has another role, or a beacon key that is another jack's (``issuer_wrong``). A pairing
    that names the jack's owner makes a member of the phone (``server.members``).
    """
    pairing = accepted.pairing
    answer: dict[str, object] = {
        "jack": pairing.iss,
        "phone": pairing.sub,
        "epoch": pairing.epoch,
    }
    check_not_revoked(connection, Role.PHONE, pairing.sub)
    check_not_revoked(connection, Role.JACK, pairing.iss)
    own_digest = digest(accepted.compact)
    if _repeated(connection, own_digest):
        return answer, False
    check_time(accepted.acceptance, now_ms // 1000)
    if pairing.owner is not None:
        join(connection, pairing, own_digest, accepted.compact, now_ms)
        return answer, True
    epoch = connection.scalar(select(jacks.c.epoch).where(jacks.c.id == pairing.iss))
    if epoch is not None and pairing.epoch <= epoch:
        raise CodedError(ErrorCode.EPOCH_OUTDATED)
    check_one_role(connection, Role.JACK, pairing.iss)
    _check_beacon_key(connection, accepted.identity)
    _put_jack(connection, accepted, now_ms, known=epoch is not None)
    connection.execute(
        insert(pairings).values(
            jack_id=pairing.iss,
            epoch=pairing.epoch,
            phone_id=pairing.sub,
            digest=own_digest,
            compact=accepted.compact,
            paired_ms=now_ms,
        )
    )
    return answer, True


def _repeated(connection: Connection, own_digest: str) -> bool:
    return any(
        connection.scalar(select(table.c.digest).where(table.c.digest == own_digest)) is not None
        for table in (pairings, memberships)
    )


def _check_beacon_key(connection: Connection, identity: Identity) -> None:
    """Two jacks with one beacon key would have the same codes, and neither could be charged."""
    taken = select(jacks.c.id).where(
        jacks.c.beacon_key == identity.beacon_key.model_dump_json(), jacks.c.id != identity.iss
    )
    if connection.scalar(taken) is not None:
        raise CodedError(ErrorCode.ISSUER_WRONG, "the beacon key is another jack's")


def _put_jack(
    connection: Connection, accepted: AcceptedPairing, now_ms: int, *, known: bool
) -> None:
    identity, pairing = accepted.identity, accepted.pairing
    values = {
        "beacon_key": identity.beacon_key.model_dump_json(),
        "epoch": pairing.epoch,
        "phone_id": pairing.sub,
        "paired_ms": now_ms,
        "released_ms": None,
    }
    if known:
        connection.execute(update(jacks).where(jacks.c.id == pairing.iss).values(**values))
        return
    key = identity.key.model_dump_json()
    connection.execute(insert(jacks).values(id=pairing.iss, key=key, **values))
