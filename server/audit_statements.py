"""The auditor's checks of signed statements: charges, uniqueness, evidence. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, TypeVar

from pydantic import ValidationError

from server.audit_records import Check, Records, Row, membership_of
from server.evidence_chain import verify_evidence
from server.evidence_file import DeviceKeys, Evidence, EvidenceError
from twochannel.protocol.chain import (
    check_auth_code,
    check_challenge,
    check_confirmation,
    presence_proven,
)
from twochannel.protocol.envelope import Statement, digest, unverified_claims, verify
from twochannel.protocol.errors import CodedError
from twochannel.protocol.keys import Jwk, VerifyingKey
from twochannel.protocol.payment import Status
from twochannel.protocol.statements import (
    AuthCode,
    Challenge,
    Confirmation,
    Decision,
    PaymentRequest,
    Receipt,
    Refund,
    Role,
)
from twochannel.protocol.succession import Lineage, read_lineage

#: Who ended a payment, as its receipt proves, and what its ``reason`` must be.
_ENDED: Final = {
    Role.TERMINAL: "canceled_by_terminal",
    Role.SERVER: "canceled_by_operator",
    None: "hold_expired",
}
S = TypeVar("S", bound=Statement)


class _GapError(Exception):
    """Something that must be there is not; the text is the finding."""


def check_charges(check: Check, records: Records) -> None:
    payments = {row["id"]: row for row in records.payments}
    for payment, charges in records.charges.items():
        for charge in charges:
            check.objects += 1
            name = f"charge {charge['reference']} of payment {payment}"
            try:
                _check_charge(records, payments.get(payment), charge)
            except _GapError as gap:
                check.findings.append(f"{name}: {gap}")
            except CodedError as error:
                check.findings.append(f"{name}: {error.detail}")
            except ValidationError:
                check.findings.append(f"{name}: a stored key cannot be read")


def _check_charge(records: Records, row: Row | None, charge: Row) -> None:
    if row is None:
        raise _GapError("there is no such payment")
    server = read_lineage(records.identity)
    request, request_compact = _signed(records, row, PaymentRequest, _key(records, row, "terminal"))
    challenge, challenge_compact = _signed(records, row, Challenge, server)
    confirmation, _ = _signed(records, row, Confirmation, _key(records, row, "phone"))
    auth_code = verify(str(confirmation.auth_code), AuthCode, _key(records, row, "jack"))
    check_challenge(request, request_compact, challenge)
    check_auth_code(challenge, challenge_compact, auth_code)
    check_confirmation(challenge, challenge_compact, confirmation)
    if confirmation.decision is not Decision.APPROVE:
        raise _GapError("the phone did not approve it")
    needs_presence = challenge.presence == "require" or confirmation.decided_by == "policy"
    if needs_presence and not presence_proven(challenge, auth_code):
        raise _GapError("nobody was asked or presence was required, and the jack heard no lane")
    agreed = (request.amount.value, request.amount.currency, challenge.merchant.id)
    stored = (row["amount_minor"], row["currency"], row["merchant_id"])
    booked = (charge["authorized_minor"], charge["currency"], row["merchant_id"])
    if not agreed == stored == booked:
        raise _GapError(f"signed were {agreed}, stored {stored}, charged {booked}")
    if challenge.exp != row["expires_s"]:
        raise _GapError("another time of expiry was signed")
    method = records.methods.get(str(confirmation.payment_method))
    if method is None or method["phone_id"] != row["phone_id"]:
        raise _GapError("the payment method is not this phone's")
    if method["token"] != charge["token"]:
        raise _GapError("another payment method was charged")


def _signed(
    records: Records, row: Row, model: type[S], key: VerifyingKey | Lineage
) -> tuple[S, str]:
    """The payment's one statement of this type, verified, and its text."""
    found = [s["compact"] for s in _of_payment(records, row) if s["typ"] == model.TYP]
    if len(found) != 1:
        raise _GapError(f"it has {len(found)} statements {model.TYP}")
    return _verified(found[0], model, key), found[0]


def _of_payment(records: Records, row: Row) -> list[Row]:
    """Its statements; of several challenges only that of the phone which has decided."""
    found: list[Row] = records.statements.get(row["id"], [])
    if row["asked"] is None:
        return found
    return [s for s in found if not _for_another(s, row["phone_id"])]


def _for_another(statement: Row, phone: str) -> bool:
    """A challenge of another phone. What cannot be read is not left out: it is a finding."""
    if statement["typ"] != Challenge.TYP:
        return False
    try:
        return unverified_claims(statement["compact"]).get("phone") != phone
    except CodedError:
        return False


def _verified(compact: str, model: type[S], key: VerifyingKey | Lineage) -> S:
    if isinstance(key, Lineage):
        return key.verify(compact, model)
    return verify(compact, model, key)


def _key(records: Records, row: Row, role: str) -> VerifyingKey:
    device = records.devices.get(row[f"{role}_id"])
    if device is None:
        raise _GapError(f"the {role} is not registered")
    key = VerifyingKey.from_jwk(Jwk.model_validate_json(device["key"]))
    if key.kid != device["id"]:
        raise _GapError(f"the key of the {role} is not the one that its id names")
    return key


def check_refunds(check: Check, records: Records) -> None:
    """Each refund was signed, has one order, and is what the processor has booked."""
    payments = {row["id"]: row for row in records.payments}
    orders = {o["refund_id"]: o for rows in records.outbox.values() for o in rows if o["refund_id"]}
    for payment, rows in records.refunds.items():
        booked = {b["reference"]: b for b in records.booked_refunds.get(payment, [])}
        given_back = [r for r in rows if r["status"] == "succeeded"]
        for row in rows:
            check.objects += 1
            try:
                _check_refund(records, payments[payment], row, orders.get(row["id"]), booked)
            except _GapError as gap:
                check.findings.append(f"refund {row['id']}: {gap}")
            except CodedError as error:
                check.findings.append(f"refund {row['id']}: {error.detail}")
        stored = (payments[payment]["refunded_minor"], payments[payment]["captured_minor"])
        summed = sum(r["amount_minor"] for r in given_back)
        promised = sum(r["amount_minor"] for r in rows if r["status"] != "refused")
        told = f"payment {payment} has refunds of {summed} and says {stored[0]}"
        check.demand(summed == stored[0], told)
        check.demand(promised <= stored[1], f"payment {payment} promises more back than was taken")
    _check_booked_refunds(check, records)


_REFUND_STATES: Final = {
    "queued": {"pending", "unknown"},
    "calling": {"pending", "unknown"},
    "unknown": {"unknown"},
    "done": {"succeeded", "refused"},
}


def _check_refund(
    records: Records, payment: Row, row: Row, order: Row | None, booked: dict[str, Row]
) -> None:
    signed = [s for s in records.statements.get(payment["id"], []) if s["jti"] == row["id"]]
    if not signed or order is None:
        raise _GapError("it has no statement, or no order to the processor")
    by_server = row["requested_by"] == "operator"
    key = read_lineage(records.identity) if by_server else _key(records, payment, "terminal")
    refund = _verified(signed[0]["compact"], Refund, key)
    stored = (row["payment_id"], row["amount_minor"], row["currency"], row["reference"])
    told = (refund.sub, refund.amount.value, refund.amount.currency, refund.reference)
    if not told == stored or order["amount_minor"] != row["amount_minor"]:
        raise _GapError(f"signed was {told}, stored {stored}, ordered {order['amount_minor']}")
    if row["status"] not in _REFUND_STATES[order["state"]]:
        raise _GapError(f"it is {row['status']}, its order {order['state']}")
    if row["status"] == "succeeded":
        entry = booked.get(row["processor_reference"])
        if entry is None or (entry["amount_minor"], entry["currency"]) != told[1:3]:
            raise _GapError("the processor has not booked it so")


def _check_booked_refunds(check: Check, records: Records) -> None:
    """Nothing was given back that no refund here stands for."""
    for payment, entries in records.booked_refunds.items():
        rows = records.refunds.get(payment, [])
        ours = Counter(r["processor_reference"] for r in rows if r["status"] == "succeeded")
        for reference, times in ours.items():
            told = f"payment {payment}: {times} refunds name the booking {reference}"
            check.demand(times == 1, told)
        # The outcome of each of these is not known, so it may have been booked, once.
        open_ones = Counter(_booking(r) for r in rows if r["status"] in ("pending", "unknown"))
        for entry in entries:
            known = entry["reference"] in ours or open_ones[_booking(entry)] > 0
            if entry["reference"] not in ours:
                open_ones[_booking(entry)] -= 1
            check.demand(known, f"payment {payment}: refund {entry['reference']} is not ours")


def _booking(row: Row) -> tuple[object, object]:
    return row["amount_minor"], row["currency"]


def check_accepted_once(check: Check, records: Records) -> None:
    _check_counters(check, records)
    ids: Counter[str] = Counter()
    nonces: Counter[str] = Counter()
    lanes: Counter[str] = Counter()
    for payment, rows in records.statements.items():
        for row in rows:
            check.objects += 1
            claims = _claims(check, payment, row)
            ids[str(claims.get("jti"))] += 1
            if row["typ"] == Challenge.TYP:
                nonces[str(claims.get("nonce"))] += 1
            if row["typ"] == PaymentRequest.TYP:
                lanes[str(claims.get("lane_digest"))] += 1
    codes = Counter(row["compact"] for row in records.auth_codes)
    _demand_single(check, "statement id", ids.items())
    _demand_single(check, "nonce", nonces.items())
    _demand_single(check, "lane nonce", lanes.items())
    _demand_single(check, "auth code", ((digest(code), n) for code, n in codes.items()))


def _claims(check: Check, payment: str, row: Row) -> dict[str, object]:
    """What a stored statement says, if its columns say the same."""
    name = f"statement {row['position']} of payment {payment}"
    try:
        claims = unverified_claims(row["compact"])
    except CodedError as error:
        check.findings.append(f"{name}: {error.detail}")
        return {"jti": name}
    told = (claims.get("jti"), claims.get("sub"), digest(row["compact"]))
    stored = (row["jti"], payment, row["digest"])
    check.demand(told == stored, f"{name} is filed under another name")
    return claims


def _check_counters(check: Check, records: Records) -> None:
    last: dict[str, int] = {}
    for row in records.auth_codes:
        try:
            auth_code = AuthCode.from_claims(unverified_claims(row["compact"]))
        except CodedError as error:
            check.findings.append(f"auth code {row['jti']}: {error.detail}")
            continue
        above = auth_code.counter > last.get(auth_code.iss, 0)
        check.demand(above, f"jack {auth_code.iss}: counter {auth_code.counter} came too late")
        last[auth_code.iss] = max(auth_code.counter, last.get(auth_code.iss, 0))
    for jack, counter in last.items():
        stored = records.devices[jack]["last_counter"] if jack in records.devices else None
        check.demand(stored == counter, f"jack {jack}: last counter {stored}, accepted {counter}")


def _demand_single(check: Check, what: str, counts: Iterable[tuple[str, int]]) -> None:
    for value, count in counts:
        check.demand(count == 1, f"{what} {value} was accepted {count} times")


def check_evidence(check: Check, records: Records) -> None:
    for row in records.payments:
        check.objects += 1
        try:
            _check_evidence(check, records, row)
        except _GapError as gap:
            check.findings.append(f"payment {row['id']}: {gap}")
        except EvidenceError as error:
            check.findings.append(f"payment {row['id']}: {error}")
        except (CodedError, ValidationError):
            check.findings.append(f"payment {row['id']}: its evidence cannot be put together")


def _check_evidence(check: Check, records: Records, row: Row) -> None:
    statements = records.statements.get(row["id"], [])
    verdict = verify_evidence(_evidence(records, row))
    # A lost answer leaves no statement: to the outside the payment is still confirmed.
    status = Status.CONFIRMED.value if row["status"] == Status.UNKNOWN.value else row["status"]
    amounts = (verdict.authorized_minor, verdict.captured_minor, verdict.refunded_minor)
    proven = (verdict.status.value, *amounts)
    stored = (status, row["authorized_minor"], row["captured_minor"], row["refunded_minor"])
    if verdict.status in (Status.CANCELED, Status.VOIDED):
        told = f"payment {row['id']} was ended by {verdict.ended_by}, its reason is {row['reason']}"
        check.demand(_ENDED[verdict.ended_by] == row["reason"], told)
    check.demand(proven == stored, f"payment {row['id']}: proven {proven}, stored {stored}")
    receipts = [s["compact"] for s in statements if s["typ"] == Receipt.TYP]
    last = receipts[-1] if receipts else None
    check.demand(row["receipt"] == last, f"payment {row['id']} shows another receipt than its last")


def _evidence(records: Records, row: Row) -> Evidence:
    of_jack = records.pairings.get(row["jack_id"], [])
    paired = [p["compact"] for p in of_jack if p["epoch"] == row["epoch"]]
    if not paired:
        raise _GapError("the pairing of its jack and phone is missing")
    member = membership_of(records, row)
    return Evidence(
        payment=row["id"],
        server=records.identity,
        pairing=member["compact"] if member else paired[0],
        keys=DeviceKeys(
            phone=_key(records, row, "phone").jwk, terminal=_key(records, row, "terminal").jwk
        ),
        statements=[s["compact"] for s in _of_payment(records, row) if s["typ"] != AuthCode.TYP],
    )
