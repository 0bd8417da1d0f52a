"""Webhooks of the processor: who may send them, and that they move nothing."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import stripe as library

from server.outbox import UNKNOWN
from server.processor_events import (
    EVENT_LIFETIME_MS,
    ProcessorEvent,
    note_event,
    outdated_events,
    purge_events,
)
from server.processors.port import OutcomeUnknownError, carry_out
from server.reviews import list_reviews
from tests.server.bench import Bench, check_problem
from tests.server.desk import Desk, answers, open_desk, raises
from tests.server.devices import new_id
from tests.server.stripe_hooks import HOOKS, event, of_payment, told
from tests.server.stripe_peer import SECRET, Wire
from twochannel.protocol.errors import ErrorCode
from twochannel.trace import wall_ms


@pytest.fixture
async def desk(tmp_path: Path, database: str) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, database) as desk:
        yield desk


async def test_what_localstripe_sends_is_taken_once(hearing: Bench, wire: Wire) -> None:
    payment, _, challenge = await hearing.pending()
    await hearing.confirm(payment, hearing.devices.confirmation(payment, challenge))
    body, signature = await of_payment(wire, payment)
    before = await hearing.payment(payment)
    for _ in range(2):
        answer = await told(hearing, body, signature)
        assert (answer.status_code, answer.json()) == (200, {"received": json.loads(body)["id"]})
    rows = hearing.rows("SELECT kind FROM processor_events WHERE payment_id = ?", payment)
    assert [tuple(row) for row in rows] == [("payment_intent.succeeded",)]
    assert await hearing.payment(payment) == before


@pytest.mark.parametrize(
    "kind",
    ["payment_intent.canceled", "payment_intent.payment_failed", "refund.failed", "never.heard.of"],
)
async def test_an_event_that_contradicts_what_is_known_moves_nothing(
    hearing: Bench, kind: str
) -> None:
    payment, _, challenge = await hearing.pending()
    await hearing.confirm(payment, hearing.devices.confirmation(payment, challenge))
    before = await hearing.payment(payment)
    assert before["status"] == "captured"
    assert (await told(hearing, event(payment, type=kind))).status_code == 200
    assert await hearing.payment(payment) == before
    assert hearing.store.read_now(list_reviews) == []


async def test_an_event_of_nobodys_payment_is_taken(hearing: Bench) -> None:
    for body in (event(), event(new_id()), event(data={"object": {"id": "x"}})):
        assert (await told(hearing, body)).status_code == 200


async def test_what_stripe_has_not_signed_is_refused(hearing: Bench) -> None:
    body, now_s = event(), int(time.time())
    sign = library.WebhookSignature.generate_signature_header
    bad = [
        "",
        "rubbish",
        "t=1",
        "t=x,v1=y",
        f"t={'9' * 5000},v1=0",
        f"t={now_s},v1=\u00e9",
        sign(body.decode(), "whsec_of_another"),
        sign(event().decode(), SECRET),
        sign(body.decode(), SECRET, now_s - 301),
        sign(body.decode(), SECRET).replace("v1", "v0"),
    ]
    before = hearing.row_counts()
    for signature in bad:
        headers = {"content-type": "application/json"}
        answer = await hearing.http.post(
            HOOKS,
            content=body,
            headers=httpx.Headers(headers | {"stripe-signature": signature}, encoding="latin-1"),
        )
        check_problem(answer, ErrorCode.SIGNATURE_INVALID)
    check_problem(await hearing.http.post(HOOKS, json={}), ErrorCode.SIGNATURE_INVALID)
    assert hearing.row_counts() == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b"[" * 30_000,
        event(id=7),
        event(id="a b"),
        event(type=None),
        event(data={}),
        event(data={"object": {"metadata": {"payment": "not an id"}}}),
        event(data={"object": {"metadata": []}}),
    ],
)
async def test_what_is_signed_and_no_event_is_refused(hearing: Bench, body: bytes) -> None:
    before = hearing.row_counts()
    check_problem(await told(hearing, body), ErrorCode.MESSAGE_MALFORMED)
    assert hearing.row_counts() == before


async def test_bodies_of_another_kind_are_refused(hearing: Bench) -> None:
    check_problem(await told(hearing, b"\xff", "t=1,v1=0"), ErrorCode.MESSAGE_MALFORMED)
    check_problem(await told(hearing, event(), kind="text/plain"), ErrorCode.MEDIA_TYPE_UNSUPPORTED)
    check_problem(await told(hearing, b"x" * 70_000, "t=1,v1=0"), ErrorCode.MESSAGE_TOO_LARGE)


async def test_a_server_without_the_secret_hears_nothing(bench: Bench) -> None:
    check_problem(await told(bench, event()), ErrorCode.NOT_FOUND)


async def lost_for_an_hour(desk: Desk) -> str:
    """A charge that was carried out, whose outcome is unknown and not to be looked up yet."""
    desk.processor.instead_of_charge = [raises(OutcomeUnknownError("cut"))]
    async with desk.running(reconciler=False):
        payment = desk.confirmed()
        await desk.until(payment, status="unknown")
    await carry_out(desk.processor.inner, desk.job(payment).order)
    later = f"UPDATE outbox SET next_at_ms = {wall_ms() + 3_600_000}"
    desk.world.store.write_now(lambda c: c.exec_driver_sql(later))
    return payment


async def note(desk: Desk, payment: str | None, name: str = "evt_1") -> bool:
    told = ProcessorEvent(name, "payment_intent.succeeded", payment)
    return await desk.world.store.write(lambda c: note_event(c, told, wall_ms()))


async def test_an_event_makes_the_reconciler_look_at_once(desk: Desk) -> None:
    payment = await lost_for_an_hour(desk)
    async with desk.running():
        assert await note(desk, payment)
        desk.notifications.wake(UNKNOWN)
        await desk.until(payment, status="captured")
    assert desk.processor.lookups == [f"{payment}:charge:1"]


async def test_an_event_is_no_answer(desk: Desk) -> None:
    """It says that the charge succeeded; the processor, asked, says that it did not."""
    payment = await lost_for_an_hour(desk)
    desk.processor.instead_of_lookup = [answers(None)]
    async with desk.running():
        await note(desk, payment)
        desk.notifications.wake(UNKNOWN)
        await desk.until_outbox(payment, state="done")
    assert desk.processor.calls == [f"{payment}:charge:1"] * 2


async def test_an_event_that_is_known_wakes_nobody(desk: Desk) -> None:
    payment = await lost_for_an_hour(desk)
    assert await note(desk, payment)
    assert not await note(desk, payment)
    assert not await note(desk, None, "evt_2")
    assert not await note(desk, "nobody", "evt_3")


async def test_what_waits_for_a_person_goes_on_waiting(desk: Desk) -> None:
    payment = await lost_for_an_hour(desk)
    await desk.clearing.review(desk.job(payment), "nonsense")
    assert not await note(desk, payment)
    assert desk.review(payment)["cause"] == "nonsense"


async def test_old_events_are_forgotten(desk: Desk) -> None:
    await note(desk, None)
    store, now_ms = desk.world.store, wall_ms()
    later_ms = now_ms + EVENT_LIFETIME_MS + 1000
    assert not store.read_now(lambda c: outdated_events(c, now_ms))
    assert store.read_now(lambda c: outdated_events(c, later_ms))
    store.write_now(lambda c: purge_events(c, now_ms))
    assert desk.world.rows("SELECT id FROM processor_events") == [{"id": "evt_1"}]
    store.write_now(lambda c: purge_events(c, later_ms))
    assert desk.world.rows("SELECT id FROM processor_events") == []
