"""The auditor: does what is written obey the invariants? Pure, over ``server.audit_records``.

It shares no code with what writes, so that one mistake cannot hide another; of the protocol it
uses the life-cycle table and the verification of statements. Each check says on how many objects
it was made, so that an empty one shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from server.audit_instructions import check_couplings, check_instructions
from server.audit_journal import check_journal
from server.audit_records import Check, Records, Row, membership_of
from server.audit_reviews import check_reviews
from server.audit_statements import (
    check_accepted_once,
    check_charges,
    check_evidence,
    check_refunds,
)
from twochannel.protocol.money import DECIMALS
from twochannel.protocol.payment import FINAL, INITIAL, TRANSITIONS, Event, Status

#: A processor that refuses orders for longer than this is an alarm of its own.
QUEUE_BOUND_MS: Final = 10 * 60 * 1000
#: Times are read before the wait for the write lock, which lasts this long at most.
LOCK_WAIT_MS: Final = 5_000

_BOOKED: Final = {"captured": "captured", "held": "authorized", "voided": "voided"}


def check_one_charge(check: Check, records: Records) -> None:
    for payment, charges in records.charges.items():
        check.objects += 1
        check.demand(len(charges) == 1, f"payment {payment} was charged {len(charges)} times")


def check_sums(check: Check, records: Records) -> None:
    """Payments with an order that is open are left out on both sides: they are not settled."""
    ours, theirs = Counter[str](), Counter[str]()
    for row in records.payments:
        check.objects += 1
        limits = (row["amount_minor"], row["authorized_minor"], row["captured_minor"])
        falling = limits[0] >= limits[1] >= limits[2] >= row["refunded_minor"] >= 0
        check.demand(falling, f"payment {row['id']} has more taken or refunded than it may")
        if not _is_open(records, row["id"]):
            ours[row["currency"]] += row["captured_minor"]
            _compare(check, row, records.charges.get(row["id"], []))
    for payment, charges in records.charges.items():
        for charge in charges:
            falling = charge["authorized_minor"] >= charge["captured_minor"] >= 0
            check.demand(falling, f"charge {charge['reference']} has more taken than authorised")
            if not _is_open(records, payment):
                theirs[charge["currency"]] += charge["captured_minor"]
    for currency in sorted(ours.keys() | theirs.keys()):
        agree = ours[currency] == theirs[currency]
        both = f"the server has {ours[currency]}, the processor {theirs[currency]}"
        check.demand(agree, f"captured {currency} in minor units: {both}")


def _is_open(records: Records, payment: str) -> bool:
    """Whether an order for the charge is. Refunds are compared one by one (``check_refunds``)."""
    orders = records.outbox.get(payment, [])
    return any(order["state"] != "done" and order["operation"] != "refund" for order in orders)


def _compare(check: Check, row: Row, charges: list[Row]) -> None:
    """One payment against its charge: same state, same amounts."""
    statuses = {_BOOKED[charge["state"]] for charge in charges}
    charged = {row["status"]} if row["status"] in _BOOKED.values() else set()
    told = f"payment {row['id']} is {row['status']}, at the processor {sorted(statuses) or 'none'}"
    check.demand(statuses == charged, told)
    for charge in charges:
        amounts = (charge["authorized_minor"], charge["captured_minor"], charge["currency"])
        ours = (row["authorized_minor"], row["captured_minor"], row["currency"])
        check.demand(amounts == ours, f"payment {row['id']}: {ours}, at the processor {amounts}")


def check_in_force(check: Check, records: Records) -> None:
    for row in records.payments:
        check.objects += 1
        confirmed_ms = _confirmed_ms(records, row["id"])
        for device in (row["phone_id"], row["jack_id"], row["terminal_id"]):
            _demand_not_revoked(check, records, device, confirmed_ms)
        _demand_not_revoked(check, records, row["terminal_id"], row["created_ms"])
        if confirmed_ms is None:
            continue
        in_time = confirmed_ms // 1000 < row["expires_s"]
        check.demand(in_time, f"payment {row['id']} was confirmed after it had expired")
        _demand_paired(check, records, row, confirmed_ms)


def _confirmed_ms(records: Records, payment: str) -> int | None:
    events = records.history.get(payment, [])
    return next((e["at_ms"] for e in events if e["event"] == Event.CONFIRM.value), None)


def _demand_not_revoked(check: Check, records: Records, device: str, at_ms: int | None) -> None:
    row = records.devices.get(device)
    if row is None:
        check.findings.append(f"device {device} has payments and is not registered")
    elif at_ms is not None and row["revoked_ms"] is not None:
        in_force = at_ms <= row["revoked_ms"] + LOCK_WAIT_MS
        check.demand(in_force, f"device {device} took part in a payment after its revocation")


def _demand_paired(check: Check, records: Records, row: Row, confirmed_ms: int) -> None:
    of_jack = records.pairings.get(row["jack_id"], [])
    current = [p for p in of_jack if p["epoch"] == row["epoch"]]
    member = membership_of(records, row)
    paired = member is not None or [p["phone_id"] for p in current] == [row["phone_id"]]
    if member is not None and member["ended_ms"] is not None:
        lasting = confirmed_ms <= member["ended_ms"] + LOCK_WAIT_MS
        told = f"payment {row['id']} was confirmed by a phone that was no member any more"
        check.demand(lasting, told)
    check.demand(paired, f"payment {row['id']}: jack and phone were not paired in its epoch")
    for later in of_jack:
        ended = later["epoch"] > row["epoch"] and later["paired_ms"] + LOCK_WAIT_MS < confirmed_ms
        check.demand(not ended, f"payment {row['id']} was confirmed in a pairing that had ended")


def check_histories(check: Check, records: Records) -> None:
    for row in records.payments:
        check.objects += 1
        for finding in _broken_steps(row, records.history.get(row["id"], [])):
            check.findings.append(f"payment {row['id']}: {finding}")
    known = {row["id"] for row in records.payments}
    for payment in records.history.keys() - known:
        check.findings.append(f"payment {payment} has a history and is not there")


def _broken_steps(row: Row, events: list[Row]) -> Iterator[str]:
    at: str = INITIAL.value
    for number, event in enumerate(events, start=1):
        step = f"{event['from_status']} -> {event['to_status']} by {event['event']}"
        if event["seq"] != number:
            yield f"step {number} is missing"
        if event["from_status"] != at:
            yield f"{step} begins where the history is not, at {at}"
        if at in {status.value for status in FINAL}:
            yield f"{step} follows the final state {at}"
        if (event["from_status"], event["event"], event["to_status"]) not in _STEPS:
            yield f"{step} is not in the life cycle"
        at = event["to_status"]
    if row["status"] != at:
        yield f"its status is {row['status']}, its history ends in {at}"


_STEPS: Final = {
    (before.value, event.value, after.value) for (before, event), after in TRANSITIONS.items()
}


def check_outbox(check: Check, records: Records) -> None:
    for row in records.payments:
        check.objects += 1
        orders = records.outbox.get(row["id"], [])
        charges = [order for order in orders if order["operation"] == "charge"]
        expected = 0 if _confirmed_ms(records, row["id"]) is None else 1
        told = f"payment {row['id']} ({row['status']}) has {len(charges)} charge orders"
        check.demand(len(charges) == expected, told)
        for order in orders:
            _check_order(check, row, order, records.now_ms)
        own = [o for o in orders if o["operation"] != "refund"]
        lasting = Counter(o["operation"] for o in own if o["outcome"] != "refused")
        for operation, count in lasting.items():
            told = f"payment {row['id']} has {count} orders to {operation} that were not refused"
            check.demand(count == 1, told)
        under_way = {o["operation"] for o in own if o["state"] != "done"} - {"charge"}
        named = {row["operation"]} - {None}
        check.demand(under_way == named, f"payment {row['id']}: under way is {under_way or 'none'}")
    known = {row["id"] for row in records.payments}
    for payment in records.outbox.keys() - known:
        check.findings.append(f"order for payment {payment}, which is not there")


#: Which states of a payment fit the state of its charge order.
_FITTING: Final = {
    "queued": {Status.CONFIRMED, Status.UNKNOWN},
    "calling": {Status.CONFIRMED, Status.UNKNOWN},
    "unknown": {Status.UNKNOWN},
    "done": {Status.AUTHORIZED, Status.CAPTURED, Status.VOIDED, Status.REFUSED},
}


def _check_order(check: Check, row: Row, order: Row, now_ms: int) -> None:
    name = f"{order['operation']} of payment {row['id']}"
    if order["operation"] == "charge":
        fits = row["status"] in _FITTING.get(order["state"], ())
        check.demand(fits, f"{name} is {order['state']}, the payment {row['status']}")
    if order["state"] == "queued":
        late = now_ms - order["created_ms"] > QUEUE_BOUND_MS
        check.demand(not late, f"{name} has been queued for too long")
    if order["state"] == "calling":
        late = now_ms > (order["lease_until_ms"] or 0) + QUEUE_BOUND_MS
        check.demand(not late, f"{name} is called by nobody and not unknown")
    if order["state"] == "unknown":
        person = " and needs a person" if order["reason"] == "needs_review" else ""
        check.notes.append(f"{name} has an unknown outcome{person}")


def check_money(check: Check, records: Records) -> None:
    own = ("amount_minor", "authorized_minor", "captured_minor", "refunded_minor")
    for row in records.payments:
        _check_amounts(check, f"payment {row['id']}", row, own)
    for orders in records.outbox.values():
        for row in orders:
            _check_amounts(check, f"order {row['id']}", row, ("amount_minor",))
    for charges in records.charges.values():
        for row in charges:
            amounts = ("authorized_minor", "captured_minor")
            _check_amounts(check, f"charge {row['reference']}", row, amounts)
    for entries in (*records.refunds.values(), *records.booked_refunds.values()):
        for row in entries:
            _check_amounts(check, f"refund of payment {row['payment_id']}", row, ("amount_minor",))


def _check_amounts(check: Check, name: str, row: Row, columns: tuple[str, ...]) -> None:
    """SQLite gives integers as int and anything else as another type."""
    check.objects += 1
    for column in columns:
        value = row[column]
        whole = type(value) is int and value >= 0
        check.demand(whole, f"{name}: {column} is {value!r}, which is no amount")
    known = row["currency"] in DECIMALS
    check.demand(known, f"{name}: the currency {row['currency']!r} is not known")


#: Number and wording of each invariant that is checked, with the function that does it.
INVARIANTS: Final[tuple[tuple[int, str, Callable[[Check, Records], None]], ...]] = (
    (1, "At most one successful charge per payment", check_one_charge),
    (2, "Sums agree with the processor; taken is at most authorised", check_sums),
    (3, "Every charge has a payment that terminal, jack and phone signed alike", check_charges),
    (4, "No auth code, counter, nonce or statement id was accepted twice", check_accepted_once),
    (5, "Nothing was confirmed after expiry, revocation or a new pairing", check_in_force),
    (6, "Every history is a path of the life cycle to the present state", check_histories),
    (7, "Confirmed payments have exactly one charge order; none is forgotten", check_outbox),
    (10, "Money is integer minor units of a known currency", check_money),
    (11, "The evidence of every payment holds offline and says what is stored", check_evidence),
    (15, "Every refund was signed, and is what the processor has booked", check_refunds),
    (16, "What a person decided has a name, a reason and that outcome", check_reviews),
    (17, "Nothing was confirmed with what its owner had ended", check_instructions),
    (18, "The journal has every statement once, as the server has signed for it", check_journal),
    (19, "Jacks gave their word for couplings, which were kept to", check_couplings),
)


def audit(records: Records) -> list[Check]:
    """Check every invariant. A check that cannot be finished on these rows is a finding too."""
    checks = []
    for number, title, fill in INVARIANTS:
        check = Check(number, title)
        try:
            fill(check, records)
        except (LookupError, TypeError, ValueError) as error:
            check.findings.append(f"the check broke off on a row that makes no sense: {error}")
        checks.append(check)
    return checks
