"""A database and books with one payment of every kind, and what breaks their refunds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from server.audit_records import Check, read_records
from server.auditor import audit
from server.expiry import sweep
from server.journal import Journal
from server.kinds import ReviewDecision
from server.notifications import OUTBOX
from server.processors.port import ChargeOrder, ContradictionError, Outcome, Refused
from server.review_decisions import Verdict
from server.store import database_url
from tests.server.desk import Desk, answers, never, open_desk, raises
from twochannel.protocol.payment import CaptureMode
from twochannel.protocol.statements import Decision
from twochannel.trace import wall_ms

DB, BOOKS = "server", "processor"


@dataclass(frozen=True)
class Files:
    """A database and its books, nobody having them open."""

    folder: Path
    identity: str

    def audit(self, later_ms: int = 0) -> dict[int, Check]:
        folder, now_ms = self.folder, wall_ms() + later_ms
        records = read_records(
            database_url(folder), folder / "processor.sqlite3", self.identity, now_ms
        )
        return {check.number: check for check in audit(records)}

    def change(self, file: str, *statements: str) -> None:
        """Write what the server itself never would."""
        path = self.folder / f"{file}.sqlite3"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute("DROP INDEX IF EXISTS uq_outbox_not_refused")
            for sql in statements:
                assert connection.execute(sql).rowcount > 0, sql


async def live(folder: Path) -> str:
    """One payment of every kind, through the real transactions and the real worker."""
    async with open_desk(folder) as desk:
        world = desk.world
        world.now_ms -= 61_000
        world.remove_method("tok_spare")
        expired = world.request()
        world.now_ms += 61_000
        world.store.write_now(lambda c: sweep(c, world.now_ms, world.issuer))
        assert world.payment(expired)["status"] == "expired"
        await _charge(desk)
        for decision in (Decision.DECLINE, None):
            payment = world.request()
            if decision is None:
                world.cancel(payment)
            else:
                world.confirm(payment, decision, heard=False)
        async with desk.running(reconciler=False):
            await desk.until(desk.confirmed("tok_lost_answer"), status="unknown")
        world.couple("tok_success")
        world.request()
        Journal(world.store, world.issuer, wall_ms).catch_up()
        return world.identity


async def _charge(desk: Desk) -> None:
    async with desk.running():
        await desk.until(desk.confirmed(), status="captured")
        await desk.until(desk.confirmed("tok_decline"), status="refused")
        await desk.until(desk.confirmed("tok_hang"), status="captured")
        for end, status in ((_capture, "captured"), (_cancel, "voided")):
            payment = desk.confirmed(mode=CaptureMode.MANUAL, value=8000)
            await desk.until(payment, status="authorized")
            end(desk, payment)
            desk.notifications.wake(OUTBOX)
            await desk.until(payment, status=status)
        payment = desk.confirmed(mode=CaptureMode.MANUAL, value=8000)
        await desk.until(payment, status="authorized")
        await _review(desk)
        await _refund(desk)


async def _review(desk: Desk) -> None:
    """Charges that a person found to have been carried out, and not."""

    async def booked(order: ChargeOrder) -> Outcome:
        await desk.processor.inner.charge(order)
        raise ContradictionError("the answer is about something else")

    desk.processor.instead_of_charge = [booked, raises(ContradictionError("nonsense"))]
    for decision, status in (
        (ReviewDecision.CARRIED_OUT, "captured"),
        (ReviewDecision.NOT_CARRIED_OUT, "refused"),
    ):
        payment = desk.confirmed()
        await desk.until(payment, status="unknown")
        outcome = await desk.processor.inner.lookup(desk.job(payment).order)
        verdict = Verdict(decision, "Mina", "looked it up", getattr(outcome, "reference", None))
        desk.decide(payment, verdict)
        assert desk.world.payment(payment)["status"] == status


async def _refund(desk: Desk) -> None:
    """One refund that succeeds, one of the operator's, one that is refused, one to come."""
    payment = desk.confirmed()
    await desk.until(payment, status="captured")
    desk.processor.instead_of_refund = [desk.processor.inner.refund] * 2
    desk.processor.instead_of_refund += [answers(Refused("no")), never]
    for value in (100, 50, 20, 10):
        by_operator = value == 50
        order = desk.world.operator_refund if by_operator else desk.world.refund
        refund = order(payment, value)
        desk.notifications.wake(OUTBOX)
        if value > 10:
            status = "refused" if value == 20 else "succeeded"
            await desk.until_refund(payment, refund, status=status)


def _capture(desk: Desk, payment: str) -> None:
    desk.world.capture(payment, 4217)


def _cancel(desk: Desk, payment: str) -> None:
    desk.world.cancel(payment)


#: The same of what owners have ended.
INSTRUCTIONS: list[tuple[int, str, str, str]] = [
    (19, DB, "UPDATE couplings SET coupled_ms = 1", "was not coupled"),
    (19, DB, "UPDATE couplings SET epoch = 2", "does not verify"),
    (19, DB, "UPDATE couplings SET method_id = 'x'", "does not verify"),
    (19, DB, "UPDATE jacks SET key = (SELECT key FROM phones)", "does not verify"),
    (17, DB, "UPDATE instructions SET at_ms = 1 WHERE typ = 'method-removal+jwt'", "another time"),
    (17, DB, "UPDATE payment_methods SET removed_ms = 1", "another time"),
    (17, DB, "DELETE FROM instructions", "another time"),
    (17, DB, "UPDATE instructions SET subject = 'x'", "filed under another name"),
    (17, DB, "UPDATE instructions SET compact = 'x'", "does not verify"),
    (17, DB, "UPDATE instructions SET phone_id = 'x'", "does not verify"),
    (
        17,
        DB,
        "UPDATE payments SET payment_method_id ="
        " (SELECT subject FROM instructions WHERE typ = 'method-removal+jwt')",
        "after a payment method was removed",
    ),
]
#: The same of reviews.
REVIEWS: list[tuple[int, str, str, str]] = [
    (16, DB, "DELETE FROM reviews WHERE decision = 'not_carried_out'", "nobody said"),
    (16, DB, "UPDATE reviews SET why = ' ' WHERE decision = 'carried_out'", "who decided it or"),
    (16, DB, "UPDATE reviews SET decided_by = NULL WHERE id = 1", "who decided it or why"),
    (16, DB, "UPDATE reviews SET decision = 'carried_out'", "is ('refused'"),
    (16, DB, "UPDATE reviews SET processor_reference = 'sim_9' WHERE id = 1", "says ('succeeded'"),
    (16, DB, "UPDATE reviews SET outbox_id = 99 WHERE id = 1", "which is not there"),
    (16, DB, "UPDATE outbox SET reason = 'needs_review' WHERE state = 'unknown'", "in the queue"),
]
#: The refund that is still to come, as the processor books it before its answer is heard.
LATE_REFUND = (
    "INSERT INTO refunds SELECT 'late', charge, payment, currency, 10 FROM refunds"
    " WHERE amount_minor = 100"
)
#: Invariant, file, what is done to it, and words of the finding.
REFUNDS: list[tuple[int, str, str, str]] = [
    (15, DB, "UPDATE payments SET refunded_minor = 149 WHERE refunded_minor > 0", "and says 149"),
    (15, DB, "UPDATE refunds SET amount_minor = 99 WHERE amount_minor = 100", "stored"),
    (15, DB, "UPDATE refunds SET amount_minor = 450 WHERE status = 'pending'", "promises more"),
    (15, DB, "UPDATE refunds SET requested_by = 'terminal'", "key is not known"),
    (15, DB, "UPDATE refunds SET reference = 'milk' WHERE amount_minor = 100", "stored"),
    (15, DB, "UPDATE refunds SET status = 'pending', receipt = NULL", "its order done"),
    (15, DB, "UPDATE refunds SET status = 'refused' WHERE status = 'pending'", "its order calling"),
    (15, DB, "DELETE FROM outbox WHERE refund_id IS NOT NULL", "no order"),
    (15, DB, "DELETE FROM statements WHERE typ = 'refund+jwt'", "no statement"),
    (15, DB, "UPDATE outbox SET amount_minor = 1 WHERE refund_id IS NOT NULL", "ordered 1"),
    (
        15,
        BOOKS,
        "UPDATE refunds SET amount_minor = 99 WHERE amount_minor = 100",
        "not booked it so",
    ),
    (15, BOOKS, "DELETE FROM refunds", "not booked it so"),
    (
        15,
        BOOKS,
        "INSERT INTO refunds SELECT 'again', charge, 'other', currency, amount_minor FROM refunds"
        " LIMIT 1",
        "is not ours",
    ),
    (
        15,
        BOOKS,
        "INSERT INTO refunds SELECT 'more', charge, payment, currency, 11 FROM refunds LIMIT 1",
        "refund more is not ours",
    ),
    (
        15,
        BOOKS,
        f"{LATE_REFUND} UNION ALL SELECT 'twice', charge, payment, currency, 10 FROM refunds"
        " WHERE amount_minor = 100",
        "refund twice is not ours",
    ),
    (
        15,
        DB,
        "UPDATE refunds SET processor_reference = 'simr_00000001' WHERE status = 'succeeded'",
        "2 refunds name the booking",
    ),
    (10, DB, "UPDATE refunds SET amount_minor = 4.5", "amount_minor is 4.5"),
]
