"""What Stripe answers and no program may decide: into the queue of reviews, and out by a person."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from server.processors.port import RETRY_MARGIN_S
from server.processors.stripe import StripeProcessor
from tests.server.bench import Bench, Prepared, copied, running
from tests.server.process import command
from tests.server.stripe_peer import KEY, Wire, altered, charged_at_stripe, held_up, instead

#: An answer for every look-up there may be.
MANY: Final = 10_000
CHARGE: Final = "POST /v1/payment_intents"
LOOK_UP: Final = "GET /v1/payment_intents"
BUSY = instead(b'{"error":{"type":"rate_limit_error"}}', "429 Too Many Requests")
_AN_HOUR_S: Final = 3600
_TRIES, _PAUSE_S = 1000, 0.02


@pytest.fixture
async def bench(prepared: Prepared, tmp_path: Path, wire: Wire) -> AsyncIterator[Bench]:
    """A server that charges by Stripe, and a phone with a card that Stripe knows."""
    folder, devices = copied(prepared, tmp_path / "server")
    settings = {"stripe_key": KEY, "stripe_url": wire.url, "processor_timeout_s": 3.0}
    async with running(folder, devices, processor="stripe", **settings) as bench:
        bench.devices.method_id = await bench.add_method("pm_card_visa")
        wire.requests.clear()
        yield bench


async def confirmed(bench: Bench) -> str:
    """A payment whose charge is ordered."""
    payment, _, challenge = await bench.pending()
    confirmation = bench.devices.confirmation(payment, challenge)
    assert (await bench.confirm(payment, confirmation, wait_s=0)).status_code == 200
    return payment


async def until(come: Callable[[], bool]) -> None:
    for _ in range(_TRIES):
        if come():
            return
        await asyncio.sleep(_PAUSE_S)
    raise TimeoutError


async def reviews(bench: Bench, *arguments: str) -> Any:
    """What the command says, in a process of its own."""
    done = await asyncio.to_thread(command, bench.folder.path, "reviews", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def review_of(bench: Bench, payment: str) -> dict[str, Any]:
    """The one that waits, as an operator lists it."""
    query = "SELECT 1 FROM reviews JOIN outbox ON outbox.id = outbox_id WHERE payment_id = ?"
    await until(lambda: bool(bench.rows(query, payment)))
    (review,) = (await reviews(bench, "list"))["items"]
    assert review["payment"] == payment
    found: dict[str, Any] = review
    return found


async def settled(bench: Bench, review: dict[str, Any], *verdict: str) -> dict[str, Any]:
    """The payment after a person has decided; nothing waits any more."""
    by = ("--by", "Mina", "--why", "looked at Stripe")
    await reviews(bench, "settle", str(review["id"]), *verdict, *by)
    assert await reviews(bench, "list") == {"items": []}
    return await bench.payment(review["payment"])


def order(bench: Bench, payment: str) -> Any:
    (row,) = bench.rows("SELECT state, attempts FROM outbox WHERE payment_id = ?", payment)
    return row


def age(bench: Bench, payment: str, by_s: int) -> None:
    """The order was made so much earlier, and is due."""
    sql = "UPDATE outbox SET next_at_ms = 0, created_ms = created_ms - {} WHERE payment_id = '{}'"
    bench.store.write_now(lambda c: c.exec_driver_sql(sql.format(by_s * 1000, payment)))


@pytest.mark.parametrize(
    "changes", [{"amount": 451}, {"currency": "usd"}, {"status": "requires_capture"}]
)
async def test_a_charge_that_is_answered_with_another_waits_until_a_person_says_what_it_is(
    bench: Bench, wire: Wire, stripe: str, changes: dict[str, object]
) -> None:
    wire.faults.append(altered(**changes))
    payment = await confirmed(bench)
    review = await review_of(bench, payment)
    assert (review["operation"], review["undecided"]) == ("charge", True)
    assert "Stripe's pi_" in review["cause"]
    assert (await bench.payment(payment))["status"] == "unknown"
    (intent,) = await charged_at_stripe(stripe, payment)
    paid = await settled(bench, review, "--carried-out", intent["id"])
    assert (paid["status"], paid["captured_minor"]) == ("captured", 450)
    assert wire.requests == [CHARGE]


async def test_a_person_who_found_nothing_wrong_lets_the_server_look_again(
    bench: Bench, wire: Wire, stripe: str
) -> None:
    wire.faults.append(altered(amount=451))
    payment = await confirmed(bench)
    await settled(bench, await review_of(bench, payment), "--look-again")
    await until(lambda: order(bench, payment).state == "done")
    assert (await bench.payment(payment))["status"] == "captured"
    assert len(await charged_at_stripe(stripe, payment)) == 1


async def test_a_late_answer_is_looked_up_and_what_it_says_then_changes_nothing(
    bench: Bench, wire: Wire, stripe: str
) -> None:
    too_late = asyncio.Event()
    wire.faults.append(held_up(too_late))
    payment = await confirmed(bench)
    await until(lambda: order(bench, payment).state == "done")
    too_late.set()
    assert (await bench.payment(payment))["status"] == "captured"
    assert wire.requests.count(CHARGE) == len(await charged_at_stripe(stripe, payment)) == 1
    assert await reviews(bench, "list") == {"items": []}


@pytest.mark.parametrize("answer", [b"{}", b"<html>", b'{"object":"list","data":[{}]}'])
async def test_what_cannot_be_read_is_looked_up_until_stripe_may_have_forgotten_the_order(
    bench: Bench, wire: Wire, stripe: str, answer: bytes
) -> None:
    wire.faults += [instead(answer)] * MANY
    payment = await confirmed(bench)
    await until(lambda: sum(line.startswith(LOOK_UP) for line in wire.requests) > 1)
    assert await reviews(bench, "list") == {"items": []}
    age(bench, payment, StripeProcessor.abilities.retention_s - RETRY_MARGIN_S)
    review = await review_of(bench, payment)
    assert "does not say what became of it" in review["cause"]
    wire.faults.clear()
    (intent,) = await charged_at_stripe(stripe, payment)
    paid = await settled(bench, review, "--carried-out", intent["id"])
    assert paid["status"] == "captured"
    assert wire.requests.count(CHARGE) == 1


async def test_a_charge_is_ordered_again_only_while_stripe_remembers_it(
    bench: Bench, wire: Wire, stripe: str
) -> None:
    """Stripe is busy for a day. What it took on in the meantime it did not say."""
    wire.faults += [BUSY] * MANY
    payment = await confirmed(bench)
    age(bench, payment, StripeProcessor.abilities.retention_s - RETRY_MARGIN_S - _AN_HOUR_S)
    tried = order(bench, payment).attempts
    await until(lambda: order(bench, payment).attempts > tried)
    assert await reviews(bench, "list") == {"items": []}
    age(bench, payment, _AN_HOUR_S)
    review = await review_of(bench, payment)
    assert "may have forgotten" in review["cause"]
    wire.faults.clear()
    asked = list(wire.requests)
    assert set(asked) == {CHARGE}
    (intent,) = await charged_at_stripe(stripe, payment)
    paid = await settled(bench, review, "--carried-out", intent["id"])
    assert paid["status"] == "captured"
    assert wire.requests == asked
