"""Payments over HTTPS: from the request to the receipt, and every way to end one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.dialects.sqlite import dialect

from server.answers import PaymentAnswer, PaymentList
from server.payment_list import Page, page_query
from tests.server.bench import Bench, check_problem, make_folder
from tests.server.devices import now_s, payment_id_of, seal
from tests.server.sql import execute
from twochannel.keystore.file import FileSigner
from twochannel.protocol.envelope import digest, unverified_claims, verify
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.statements import Challenge, PaymentRequest, Receipt, Role

pytestmark = pytest.mark.asyncio(loop_scope="module")


def receipt_of(shared: Bench, answer: dict[str, object]) -> Receipt:
    return verify(str(answer["receipt"]), Receipt, shared.folder.keys.signer("signing").key)


async def test_coffee_is_captured(shared: Bench) -> None:
    payment, request, challenge = await shared.pending()
    sealed = verify(challenge, Challenge, shared.folder.keys.signer("signing").key)
    assert sealed.prev == digest(request)
    assert sealed.merchant.name == "Blue Bottle"

    confirmation = shared.devices.confirmation(payment, challenge)
    answer = await shared.confirm(payment, confirmation)

    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait=20"
    settled = PaymentAnswer.model_validate_json(answer.text)
    assert (settled.status, settled.captured_minor) == ("captured", 450)
    assert receipt_of(shared, answer.json()).prev == digest(confirmation)
    assert shared.statement_types(payment) == [
        "payment-request+jwt",
        "challenge+jwt",
        "auth-code+jwt",
        "confirmation+jwt",
        "receipt+jwt",
    ]


async def test_fuel_is_held_and_captured_for_less(shared: Bench) -> None:
    payment, request = await shared.held(8000)
    held = await shared.payment(payment)
    assert (held["authorized_minor"], held["captured_minor"]) == (8000, 0)

    capture = shared.devices.capture(request, 4217)
    answer = await shared.post(f"/v1/payments/{payment}/captures", capture, prefer="wait=20")

    assert answer.status_code == 200
    settled = answer.json()
    assert settled["status"] == "captured"
    assert (settled["authorized_minor"], settled["captured_minor"]) == (8000, 4217)
    assert receipt_of(shared, settled).prev == digest(capture)

    again = await shared.post(f"/v1/payments/{payment}/captures", capture)
    assert (again.status_code, again.json()) == (200, settled)


async def test_post_pay_fuel_is_asked_for_after_fuelling(shared: Bench) -> None:
    """The car is recognised on arrival; when the tank is full the jack has another code."""
    devices, arrived_s = shared.devices, now_s() - 15 * 60
    on_arrival = devices.code(arrived_s)
    assert on_arrival != devices.code()
    amount = {"value": 4217, "currency": "EUR"}
    stale = devices.request(code=on_arrival, amount=amount, reference="pump-3")
    await shared.refused("/v1/payments", stale, ErrorCode.CODE_UNKNOWN)

    payment, _, challenge = await shared.pending(amount=amount, reference="pump-3")
    answer = await shared.confirm(payment, devices.confirmation(payment, challenge))

    paid = answer.json()
    assert (paid["status"], paid["capture"]) == ("captured", "automatic")
    assert (paid["authorized_minor"], paid["captured_minor"]) == (4217, 4217)


async def listed(shared: Bench, query: str, signer: FileSigner | None = None) -> list[str]:
    answer = await shared.get(f"/v1/payments?{query}", signer or shared.devices.terminal)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


async def test_payments_are_found_by_the_merchants_reference(shared: Bench) -> None:
    reference = f"order-{now_s()}:a.b"
    payment, _, challenge = await shared.pending(reference=reference)
    await shared.confirm(payment, shared.devices.confirmation(payment, challenge))
    again, _, challenge = await shared.pending(reference=reference)
    await shared.confirm(again, shared.devices.decline(again, challenge))
    assert await listed(shared, f"reference={reference}") == [again, payment]
    assert await listed(shared, f"reference={reference}", shared.devices.phone) == [again, payment]
    assert await listed(shared, "reference=order-nobody") == []
    other = await shared.enrolled(Role.TERMINAL)
    assert await listed(shared, f"reference={reference}", other) == []


async def test_what_is_active_on_this_terminal(shared: Bench) -> None:
    # Those of other tests may end meanwhile.
    before = await listed(shared, "active=true")

    async def active() -> list[str]:
        return [one for one in await listed(shared, "active=true") if one not in before]

    held, request = await shared.held(8000)
    pending, _, challenge = await shared.pending()
    assert await active() == [pending, held]
    await shared.confirm(pending, shared.devices.confirmation(pending, challenge))
    assert await active() == [held]
    cancel = shared.devices.cancel(request)
    await shared.post(f"/v1/payments/{held}/cancellation", cancel, prefer="wait=20")
    assert await active() == []


@pytest.mark.parametrize("query", ["reference=", "reference=a%20b", "active=", "active=false"])
async def test_a_question_that_makes_no_sense_is_refused(shared: Bench, query: str) -> None:
    answer = await shared.get(f"/v1/payments?{query}", shared.devices.terminal)
    check_problem(answer, ErrorCode.MESSAGE_MALFORMED)


async def test_lookups_read_no_payments_but_those_that_they_show(tmp_path: Path) -> None:
    """However many payments there are: SQLite tells which index it would use."""
    steps = {
        "ix_payments_terminal_reference": Page(reference="order-17"),
        "ix_payments_terminal_active": Page(active=True),
        "ix_payments_terminal_created": Page(),
    }
    store = make_folder(tmp_path / "server").open_store()
    for index, page in steps.items():
        query = page_query(Role.TERMINAL, "terminal", page)
        text = str(query.compile(dialect=dialect(), compile_kwargs={"literal_binds": True}))
        plan = store.read_now(partial(_explained, sql=text))
        assert [row for row in plan if f"USING INDEX {index} " in row.detail], plan
    store.close_now()


def _explained(connection: Connection, sql: str) -> list[Any]:
    return list(execute(connection, f"EXPLAIN QUERY PLAN {sql}"))


async def test_a_hold_can_be_voided(shared: Bench) -> None:
    payment, request = await shared.held()
    cancel = shared.devices.cancel(request)
    answer = await shared.post(f"/v1/payments/{payment}/cancellation", cancel, prefer="wait=20")
    settled = answer.json()
    assert (settled["status"], settled["captured_minor"]) == ("voided", 0)
    assert receipt_of(shared, settled).prev == digest(cancel)


async def test_while_an_operation_is_under_way_no_other_begins(shared: Bench) -> None:
    payment, request = await shared.held()
    capture = shared.post(f"/v1/payments/{payment}/captures", shared.devices.capture(request, 1))
    cancel = shared.post(f"/v1/payments/{payment}/cancellation", shared.devices.cancel(request))
    answers = await asyncio.gather(capture, cancel)
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert refused.json()["code"] == "payment_state"


async def test_the_owner_declines(shared: Bench) -> None:
    payment, _, challenge = await shared.pending()
    decline = shared.devices.decline(payment, challenge)
    answer = (await shared.confirm(payment, decline)).json()
    assert (answer["status"], answer["reason"]) == ("declined", "owner")
    assert receipt_of(shared, answer).prev == digest(decline)
    assert shared.orders(payment) == 0


async def test_a_decline_keeps_the_auth_code_as_evidence(shared: Bench) -> None:
    payment, _, challenge = await shared.pending()
    claims = shared.devices.confirmation_claims(payment, challenge, auth={"lane_nonce": None})
    decline = shared.devices.decline(payment, challenge, auth_code=claims["auth_code"])
    assert (await shared.confirm(payment, decline)).json()["status"] == "declined"
    assert "auth-code+jwt" in shared.statement_types(payment)
    (last_counter,) = shared.rows("SELECT last_counter FROM jacks")[0]
    assert last_counter == unverified_claims(claims["auth_code"])["counter"]


async def test_the_terminal_cancels_what_is_pending(shared: Bench) -> None:
    payment, request, challenge = await shared.pending()
    cancel = shared.devices.cancel(request)
    answer = await shared.post(f"/v1/payments/{payment}/cancellation", cancel)
    assert answer.json()["status"] == "canceled"
    assert receipt_of(shared, answer.json()).prev == digest(cancel)
    late = await shared.confirm(payment, shared.devices.confirmation(payment, challenge))
    assert late.json()["code"] == "payment_state"


async def test_what_nobody_answers_expires(shared: Bench) -> None:
    request = shared.devices.request(exp=now_s() + 3)
    answer = await shared.post("/v1/payments", request, prefer="wait=20")
    assert (answer.status_code, answer.json()["status"]) == (201, "expired")
    challenge = shared.statement(payment_id_of(request), "challenge+jwt")
    assert receipt_of(shared, answer.json()).prev == digest(challenge)


async def test_a_refused_card_ends_the_payment(shared: Bench) -> None:
    method = await shared.add_method("tok_decline")
    payment, _, challenge = await shared.pending()
    confirmation = shared.devices.confirmation(payment, challenge, payment_method=method)
    answer = (await shared.confirm(payment, confirmation)).json()
    assert answer["status"] == "refused"
    assert answer["reason"]
    assert receipt_of(shared, answer).captured_minor == 0


@pytest.mark.parametrize("token", ["tok_hang", "tok_lost_answer"])
async def test_a_lost_answer_is_reconciled(shared: Bench, token: str) -> None:
    method = await shared.add_method(token)
    payment, _, challenge = await shared.pending()
    confirmation = shared.devices.confirmation(payment, challenge, payment_method=method)
    assert (await shared.confirm(payment, confirmation)).json()["status"] == "captured"


async def test_the_same_request_is_the_same_payment(shared: Bench) -> None:
    request = shared.devices.request()
    before = shared.row_counts()["payments"]
    first, second = await asyncio.gather(
        shared.post("/v1/payments", request), shared.post("/v1/payments", request)
    )
    assert sorted((first.status_code, second.status_code)) == [200, 201]
    assert first.json() == second.json()
    assert shared.row_counts()["payments"] == before + 1


async def test_the_same_confirmation_is_answered_as_before(shared: Bench) -> None:
    payment, _, challenge = await shared.pending()
    confirmation = shared.devices.confirmation(payment, challenge)
    first = await shared.confirm(payment, confirmation)
    counts = shared.row_counts()
    second = await shared.confirm(payment, confirmation)
    assert (second.status_code, second.json()) == (200, first.json())
    assert shared.row_counts() == counts


async def test_waiting_ends_with_the_outcome(shared: Bench) -> None:
    payment, request, challenge = await shared.pending()
    devices, path = shared.devices, f"/v1/payments/{payment}"
    waiting = [
        asyncio.create_task(shared.get(path, devices.terminal, prefer="wait=55")),
        asyncio.create_task(shared.get(path, devices.phone, prefer="wait=55")),
        asyncio.create_task(shared.post("/v1/payments", request, prefer="wait=55")),
    ]
    await shared.confirm(payment, devices.confirmation(payment, challenge), wait_s=0)
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*waiting)
    assert [answer.json()["status"] for answer in answers] == ["captured"] * 3


async def test_waiting_ends_when_the_time_is_over(shared: Bench) -> None:
    answer = await shared.post("/v1/payments", shared.devices.request(), prefer="wait=1")
    assert answer.json()["status"] == "pending"
    assert answer.headers["preference-applied"] == "wait=1"


async def test_payments_are_listed_newest_first_in_pages(shared: Bench) -> None:
    made = []
    for _ in range(3):
        payment, _, challenge = await shared.pending()
        made.append(payment)
        await shared.confirm(payment, shared.devices.decline(payment, challenge))
    first = await shared.get("/v1/payments?limit=2", shared.devices.terminal)
    page = PaymentList.model_validate_json(first.text)
    assert [item.id for item in page.items] == [made[2], made[1]]
    path = f"/v1/payments?limit=2&cursor={page.next_cursor}"
    page = PaymentList.model_validate_json((await shared.get(path, shared.devices.phone)).text)
    assert page.items[0].id == made[0]
    while page.next_cursor is not None:
        path = f"/v1/payments?limit=100&cursor={page.next_cursor}"
        page = PaymentList.model_validate_json((await shared.get(path, shared.devices.phone)).text)
    assert page.items[-1].id == shared.rows("SELECT id FROM payments ORDER BY created_ms, id")[0][0]


@pytest.fixture
def strict(shared: Bench) -> Iterator[Bench]:
    """The server while its merchant requires presence."""
    change = "UPDATE merchants SET presence = ?"
    shared.store.write_now(lambda c: execute(c, change, "require"))
    yield shared
    shared.store.write_now(lambda c: execute(c, change, "prefer"))


async def test_presence_is_demanded_where_the_merchant_wants_it(strict: Bench) -> None:
    payment, _, challenge = await strict.pending()
    for lane_nonce in (None, "A" * 16):
        absent = strict.devices.confirmation(payment, challenge, auth={"lane_nonce": lane_nonce})
        answer = await strict.confirm(payment, absent)
        assert (answer.status_code, answer.json()["code"]) == (422, "presence_missing")
    present = strict.devices.confirmation(payment, challenge)
    assert (await strict.confirm(payment, present)).json()["status"] == "captured"


async def test_presence_may_be_absent_where_it_is_preferred(shared: Bench) -> None:
    payment, _, challenge = await shared.pending()
    absent = shared.devices.confirmation(payment, challenge, auth={"lane_nonce": None})
    assert (await shared.confirm(payment, absent)).json()["status"] == "captured"


async def test_nobody_is_charged_unasked_without_presence(shared: Bench) -> None:
    payment, _, challenge = await shared.pending()
    unheard = {"lane_nonce": None}
    unasked = shared.devices.confirmation(payment, challenge, auth=unheard, decided_by="policy")
    before = shared.row_counts()
    check_problem(await shared.confirm(payment, unasked), ErrorCode.PRESENCE_MISSING)
    assert shared.row_counts() == before
    asked = shared.devices.confirmation(payment, challenge, auth=unheard, decided_by="owner")
    assert (await shared.confirm(payment, asked)).json()["status"] == "captured"
    payment, _, challenge = await shared.pending()
    heard = shared.devices.confirmation(payment, challenge, decided_by="policy")
    assert (await shared.confirm(payment, heard)).json()["status"] == "captured"


async def test_a_lane_nonce_serves_one_payment(shared: Bench) -> None:
    """Also for another terminal: it cannot borrow what a jack heard of this one."""
    first = shared.devices.request_claims()
    assert (
        await shared.post("/v1/payments", seal(first, shared.devices.terminal, PaymentRequest.TYP))
    ).is_success
    await shared.clear()
    other = await shared.enrolled(Role.TERMINAL)
    for terminal in (shared.devices.terminal, other):
        claims = shared.devices.request_claims(iss=terminal.key.kid)
        claims["lane_digest"] = first["lane_digest"]
        sealed = seal(claims, terminal, PaymentRequest.TYP)
        await shared.refused("/v1/payments", sealed, ErrorCode.STATEMENT_REPLAYED)


async def test_many_payments_at_once_each_end_once(shared: Bench) -> None:
    """Requests and confirmations race; jack and terminal have one open payment at a time."""
    answers = await asyncio.gather(
        *(shared.post("/v1/payments", shared.devices.request()) for _ in range(8))
    )
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [201] + [409] * 7
    busy = {answer.json().get("code") for answer in answers if answer.status_code == 409}
    assert busy == {"terminal_busy"}
    payment = next(answer.json()["id"] for answer in answers if answer.status_code == 201)
    challenge = shared.statement(payment, "challenge+jwt")
    confirmations = [shared.devices.confirmation(payment, challenge) for _ in range(4)]
    outcomes = await asyncio.gather(*(shared.confirm(payment, one) for one in confirmations))
    assert sorted(answer.status_code for answer in outcomes) == [200, 409, 409, 409]
    assert shared.orders(payment) == 1
