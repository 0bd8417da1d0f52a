"""The auditor's check of what owners have ended: methods, and pairings with jacks. Pure."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from server.audit_records import Check, Records, Row
from twochannel.protocol.chain import check_coupling
from twochannel.protocol.envelope import digest, unverified_claims, verify
from twochannel.protocol.errors import CodedError
from twochannel.protocol.instructions import (
    Coupling,
    CouplingAnswer,
    CouplingChallenge,
    Instruction,
    MemberRemoval,
    MethodDefault,
    MethodRemoval,
    Release,
    Uncoupling,
)
from twochannel.protocol.keys import Jwk, VerifyingKey
from twochannel.protocol.payment import Event

#: Times are read before the wait for the write lock, which lasts this long at most.
_LOCK_WAIT_MS: Final = 5_000

_MODELS: Final[dict[str, type[Instruction]]] = {
    model.TYP: model
    for model in (Coupling, MemberRemoval, MethodDefault, MethodRemoval, Release, Uncoupling)
}


def check_instructions(check: Check, records: Records) -> None:
    """Each was signed by its phone; nothing was confirmed with what it had ended."""
    removed: dict[str, int] = {}
    released: dict[tuple[str, int, str], int] = {}
    for row in records.instructions:
        check.objects += 1
        statement = _read(check, records, row)
        if isinstance(statement, MethodRemoval):
            removed[statement.sub] = row["at_ms"]
        if isinstance(statement, Release):
            released[statement.sub, statement.epoch, statement.iss] = row["at_ms"]
    for method, row in records.methods.items():
        same = row["removed_ms"] == removed.get(method)
        check.demand(same, f"method {method} was removed at another time than its phone has signed")
    for payment in records.payments:
        at_ms = _confirmed_ms(records, payment["id"])
        if at_ms is not None:
            method_ms = removed.get(payment["payment_method_id"])
            _demand_before(check, payment, at_ms, method_ms, "a payment method was removed")
            for owner in _owners(records, payment):
                jack_ms = released.get((payment["jack_id"], payment["epoch"], owner))
                _demand_before(check, payment, at_ms, jack_ms, "its jack was let go")


def _owners(records: Records, payment: Row) -> list[str]:
    """Whose release ends the pairing of a payment. A member's ends its membership alone."""
    of_jack = records.pairings.get(payment["jack_id"], [])
    return [p["phone_id"] for p in of_jack if p["epoch"] == payment["epoch"]]


def _read(check: Check, records: Records, row: Row) -> Instruction | None:
    """The statement, if its columns say the same and its phone has signed it."""
    name = f"instruction {row['id']}"
    try:
        device = records.devices[row["phone_id"]]
        key = VerifyingKey.from_jwk(Jwk.model_validate_json(device["key"]))
        statement = verify(row["compact"], _MODELS[row["typ"]], key)
    except (CodedError, LookupError, ValidationError):
        check.findings.append(f"{name} does not verify")
        return None
    told = (statement.jti, statement.iss, statement.sub, digest(row["compact"]))
    stored = (row["id"], row["phone_id"], row["subject"], row["digest"])
    check.demand(told == stored, f"{name} is filed under another name")
    return statement


def check_couplings(check: Check, records: Records) -> None:
    """Each is of a jack that gave its word; nothing was confirmed with another method meanwhile."""
    signed = {row["id"]: row for row in records.instructions}
    for row in (row for rows in records.couplings.values() for row in rows):
        check.objects += 1
        try:
            _check_coupling(records, row, signed[row["instruction_id"]])
        except (CodedError, LookupError, ValidationError):
            check.findings.append(f"coupling {row['id']}: the jack's word for it does not verify")
    for payment in records.payments:
        coupled = _coupled(records, payment)
        fits = not coupled or payment["payment_method_id"] in coupled
        told = f"payment {payment['id']} was confirmed with a method that was not coupled"
        check.demand(fits, told)


def _coupled(records: Records, payment: Row) -> set[str]:
    """The methods with which the payment could be confirmed; empty: with any, or it was not."""
    at_ms = _confirmed_ms(records, payment["id"])
    return {
        coupling["method_id"]
        for coupling in records.couplings.get(payment["jack_id"], [])
        if at_ms is not None
        and _was_in_force(coupling, payment, at_ms)
        and records.methods[coupling["method_id"]]["removed_ms"] is None
    }


def _check_coupling(records: Records, row: Row, signed: Row) -> None:
    """Raises CodedError, LookupError, ValidationError."""
    jack = Jwk.model_validate_json(records.devices[row["jack_id"]]["key"])
    claims = Coupling.from_claims(unverified_claims(signed["compact"]))
    challenge = CouplingChallenge.from_claims(unverified_claims(claims.challenge))
    answer = verify(claims.answer, CouplingAnswer, VerifyingKey.from_jwk(jack))
    check_coupling(challenge, claims.challenge, answer)
    told = (challenge.jti, claims.sub, answer.iss, answer.epoch)
    if told != (row["id"], row["method_id"], row["jack_id"], row["epoch"]):
        raise LookupError("the coupling is filed under another name")


def _was_in_force(coupling: Row, payment: Row, at_ms: int) -> bool:
    """Times within the wait for the lock may be stored in the wrong order: those are let be."""
    same = coupling["epoch"] == payment["epoch"]
    begun = coupling["coupled_ms"] + _LOCK_WAIT_MS < at_ms
    ended = coupling["ended_ms"] is not None and coupling["ended_ms"] - _LOCK_WAIT_MS < at_ms
    return same and begun and not ended


def _confirmed_ms(records: Records, payment: str) -> int | None:
    events = records.history.get(payment, [])
    return next((e["at_ms"] for e in events if e["event"] == Event.CONFIRM.value), None)


def _demand_before(
    check: Check, payment: Row, confirmed_ms: int, ended_ms: int | None, what: str
) -> None:
    late = ended_ms is not None and ended_ms + _LOCK_WAIT_MS < confirmed_ms
    check.demand(not late, f"payment {payment['id']} was confirmed after {what}")
