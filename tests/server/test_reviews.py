"""Orders that no program may decide: how they come to a person, and what the person can say."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from server.calls import queue_again, take
from server.cli import main
from server.evidence import gather
from server.evidence_chain import verify_evidence
from server.kinds import ReviewDecision
from server.notifications import OUTBOX
from server.processors.port import (
    RETRY_MARGIN_S,
    Approved,
    ContradictionError,
    OutcomeUnknownError,
    Refused,
    carry_out,
)
from server.review_decisions import Verdict
from server.reviews import ReviewError, list_reviews
from server.state import StateFolder
from tests.server.audited import Files
from tests.server.desk import Desk, answers, open_desk, raises
from twochannel.protocol.payment import CaptureMode
from twochannel.trace import wall_ms

CONTRADICTION = raises(ContradictionError("the answer is about pi_9"))
NOT_DONE = Verdict(ReviewDecision.NOT_CARRIED_OUT, "Mina", "it is not in the processor's list")


@pytest.fixture
async def desk(tmp_path: Path, database: str) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, database) as desk:
        yield desk


def carried_out(reference: str) -> Verdict:
    return Verdict(ReviewDecision.CARRIED_OUT, "Mina", "it is there", reference)


async def waiting(desk: Desk) -> str:
    """A payment whose charge waits for a person."""
    desk.processor.instead_of_charge = [CONTRADICTION]
    async with desk.running():
        payment = desk.confirmed()
        await desk.until(payment, status="unknown")
    return payment


async def held(desk: Desk) -> str:
    payment = desk.confirmed(mode=CaptureMode.MANUAL, value=8000)
    async with desk.running():
        await desk.until(payment, status="authorized")
    return payment


async def test_what_contradicts_its_order_waits_with_its_cause(desk: Desk) -> None:
    review = desk.review(await waiting(desk))
    assert (review["cause"], review["undecided"]) == ("the answer is about pi_9", True)
    assert (review["operation"], review["amount"]["value"]) == ("charge", 450)
    assert desk.processor.lookups == []


async def test_a_charge_that_was_found_is_taken_with_a_receipt(desk: Desk) -> None:
    payment = await waiting(desk)
    decided = desk.decide(payment, carried_out("sim_7"))
    row = desk.world.payment(payment)
    assert (row["status"], row["processor_reference"]) == ("captured", "sim_7")
    assert (decided["decided_by"], decided["why"]) == ("Mina", "it is there")
    world = desk.world
    evidence = world.store.read_now(lambda c: gather(c, payment, world.identity))
    assert verify_evidence(evidence).captured_minor == 450
    assert world.store.read_now(list_reviews) == []
    (shown,) = world.store.read_now(lambda c: list_reviews(c, decided=True))
    assert shown["decision"] == "carried_out"


async def test_a_charge_that_is_not_there_is_refused_for_good(desk: Desk) -> None:
    payment = await waiting(desk)
    desk.decide(payment, NOT_DONE)
    async with desk.running():
        row = await desk.until(payment, status="refused")
    assert row["reason"] == "not_carried_out"
    assert desk.processor.calls == [f"{payment}:charge:1"]


async def test_a_review_is_decided_once(desk: Desk) -> None:
    payment = await waiting(desk)
    review = desk.review(payment)["id"]
    desk.decide(payment, NOT_DONE)
    with pytest.raises(ReviewError, match="decided by Mina"):
        desk.decide_review(review, carried_out("sim_7"))
    with pytest.raises(ReviewError, match="there is no review 99"):
        desk.decide_review(99, NOT_DONE)
    assert desk.world.payment(payment)["status"] == "refused"


async def test_to_look_again_gives_it_back_to_the_reconciler(desk: Desk) -> None:
    payment = await waiting(desk)
    await carry_out(desk.processor.inner, desk.job(payment).order)
    desk.decide(payment, Verdict(ReviewDecision.LOOK_AGAIN, "Mina", "they had an outage"))
    async with desk.running():
        await desk.until(payment, status="captured")
    assert desk.processor.calls == [f"{payment}:charge:1"]


async def test_a_capture_that_was_not_carried_out_leaves_the_hold(desk: Desk) -> None:
    payment = await held(desk)
    desk.processor.instead_of_capture = [CONTRADICTION]
    desk.world.capture(payment, 4217)
    async with desk.running():
        await desk.until_outbox(payment, "capture", reason="needs_review")
    with pytest.raises(ReviewError, match="keeps the processor's reference sim_"):
        desk.decide(payment, carried_out("sim_other"))
    desk.decide(payment, NOT_DONE)
    row = desk.world.payment(payment)
    assert (row["status"], row["operation"], row["reason"]) == (
        "authorized",
        None,
        "not_carried_out",
    )
    desk.world.capture(payment, 4217)
    async with desk.running():
        await desk.until(payment, status="captured")


async def test_a_refund_is_decided_like_a_charge(desk: Desk) -> None:
    async with desk.running():
        payment = desk.confirmed()
        await desk.until(payment, status="captured")
        desk.processor.instead_of_refund = [CONTRADICTION]
        refund = desk.world.refund(payment, 100)
        desk.notifications.wake(OUTBOX)
        await desk.until_refund(payment, refund, status="unknown")
    assert desk.review(payment)["refund"] == refund
    desk.decide(payment, carried_out("simr_7"))
    assert desk.world.payment(payment)["refunded_minor"] == 100


async def test_a_late_answer_that_says_otherwise_is_for_a_person_and_moves_nothing(
    desk: Desk,
) -> None:
    payment = desk.confirmed("tok_decline")
    async with desk.running():
        await desk.until(payment, status="refused")
    job = desk.job(payment)
    await desk.clearing.finish(job, Refused("card_declined"))
    assert desk.world.store.read_now(list_reviews) == []
    await desk.clearing.finish(job, Approved("sim_9", 450))
    await desk.clearing.finish(job, Approved("sim_9", 451))
    review = desk.review(payment)
    assert (review["cause"], review["undecided"]) == ("a late answer says succeeded sim_9", False)
    for verdict in (NOT_DONE, carried_out("sim_9")):
        with pytest.raises(ReviewError, match="is done by now"):
            desk.decide(payment, verdict)
    assert desk.world.payment(payment)["status"] == "refused"
    desk.decide(payment, Verdict(ReviewDecision.NOTED, "Mina", "gave it back there"))
    assert desk.world.store.read_now(list_reviews) == []


async def test_what_nobody_knows_cannot_be_noted(desk: Desk) -> None:
    payment = await waiting(desk)
    with pytest.raises(ReviewError, match="nobody knows"):
        desk.decide(payment, Verdict(ReviewDecision.NOTED, "Mina", "whatever"))


def age(desk: Desk, payment: str) -> None:
    """The order was made just before the processor may forget it."""
    lived_ms = (desk.processor.abilities.retention_s - RETRY_MARGIN_S) * 1000
    sql = f"UPDATE outbox SET created_ms = created_ms - {lived_ms}, next_at_ms = 0"
    desk.world.store.write_now(lambda c: c.exec_driver_sql(f"{sql} WHERE payment_id = '{payment}'"))


async def test_an_order_is_not_repeated_when_its_key_may_be_forgotten(desk: Desk) -> None:
    """It was answered "busy" for a day, and nobody knows whether each of these answers was true."""
    payment, now_ms = desk.confirmed(), wall_ms()
    (job,) = await desk.world.store.write(lambda c: take(c, now_ms, now_ms + 60_000, 10))
    assert await desk.world.store.write(lambda c: queue_again(c, job, now_ms))
    age(desk, payment)
    async with desk.running():
        await desk.until_outbox(payment, state="unknown", reason="needs_review")
    assert desk.world.payment(payment)["status"] == "unknown"
    assert desk.processor.calls == []
    assert "may have forgotten" in desk.review(payment)["cause"]


async def test_an_order_that_was_never_called_is_called_however_old_it_is(desk: Desk) -> None:
    payment = desk.confirmed()
    age(desk, payment)
    async with desk.running():
        await desk.until(payment, status="captured")


@pytest.mark.parametrize(
    ("found", "cause"),
    [
        (answers(None), "the processor does not know the order"),
        (raises(OutcomeUnknownError("HTTP 500")), "what became of it: HTTP 500"),
    ],
)
async def test_after_an_outage_longer_than_its_memory_a_person_asks_the_processor(
    desk: Desk, found: Any, cause: str
) -> None:
    payment = desk.confirmed()
    desk.processor.instead_of_charge = [raises(OutcomeUnknownError("cut"))]
    async with desk.running(reconciler=False):
        await desk.until_outbox(payment, state="unknown")
    age(desk, payment)
    desk.processor.instead_of_lookup = [found]
    async with desk.running():
        await desk.until_outbox(payment, reason="needs_review")
    assert cause in desk.review(payment)["cause"]
    assert desk.processor.calls == [f"{payment}:charge:1"]


def run(state: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--state", str(state), "reviews", *arguments])


@pytest.fixture
async def queue(tmp_path: Path) -> tuple[Path, str]:
    """The state folder of a server in whose queue one payment waits, and the payment."""
    state = tmp_path / "state"
    assert CliRunner().invoke(main, ["--state", str(state), "init"]).exit_code == 0
    folder = StateFolder(state)
    (state / "server.sqlite3").unlink()
    folder.migrate()
    async with open_desk(state) as desk:
        payment = await waiting(desk)
    return state, payment


def settle(state: Path, *arguments: str) -> Result:
    return run(state, "settle", "1", "--by", "Mina", "--why", "not there", *arguments)


def test_the_commands_lead_through_the_queue(queue: tuple[Path, str]) -> None:
    state, payment = queue
    listed = run(state, "list")
    assert (payment in listed.stdout, "about pi_9" in listed.stdout) == (True, True)
    shown = run(state, "show", "1")
    assert f"{payment}:charge:1" in shown.stdout
    assert f"Look for {payment} at the processor" in shown.stderr
    for wrong in ([], ["--noted", "--look-again"], ["--carried-out", "x", "--not-carried-out"]):
        result = settle(state, *wrong)
        assert (result.exit_code, "one of" in result.stderr) == (1, True)
    assert settle(state, "--carried-out", " ").exit_code == 1
    assert settle(state, "--noted").exit_code == 1
    done = settle(state, "--not-carried-out", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["status"] == "refused"
    assert json.loads(run(state, "list", "--json").stdout) == {"items": []}
    assert "Nothing waits" in run(state, "list").stderr
    assert payment in run(state, "list", "--decided").stdout
    assert "not_carried_out by Mina" in run(state, "show", "1").stdout
    assert run(state, "show", "2").exit_code == 1
    assert Files(state, StateFolder(state).identity()).audit()[16].findings == []
