"""Several phones of one jack: who is asked, who decides, and who does not any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from server import evidence_chain
from server.audit_records import read_records
from server.auditor import audit
from server.dashboard.figures import list_jacks
from server.evidence import gather
from tests.server.bench import Bench, check_problem, make_folder, running
from tests.server.devices import Devices, new_id
from tests.server.test_endings import sell_jack
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.statements import Role
from twochannel.trace import wall_ms

REMOVALS = "/v1/member-removals"


@pytest.fixture
async def bench(tmp_path: Path, database: str) -> AsyncIterator[Bench]:
    folder = make_folder(tmp_path / "server", database=database)
    async with running(folder, database=database) as bench:
        await bench.enrol()
        yield bench


async def a_member(bench: Bench) -> Devices:
    """Another phone with the same jack, and a card of its own."""
    member = await a_phone(bench)
    answer = await bench.post("/v1/pairings", joining(bench, member))
    assert answer.status_code == 201, answer.text
    method = await bench.post("/v1/payment-methods", member.method())
    member.method_id = method.json()["id"]
    return member


async def a_phone(bench: Bench) -> Devices:
    phone = copy(bench.devices)
    phone.phone = await bench.enrolled(Role.PHONE)
    return phone


def joining(bench: Bench, phone: Devices, **changes: Any) -> str:
    pairing = {"owner": bench.devices.phone.key.kid} | changes
    return phone.acceptance(pairing=pairing)


def removal(by: Devices, member: Devices, **changes: Any) -> str:
    return by.member_removal(member.phone.key.kid, **changes)


def findings(bench: Bench, database: str) -> list[str]:
    books, identity = bench.folder.path / "processor.sqlite3", bench.folder.identity()
    records = read_records(database, books, identity, wall_ms())
    return [finding for check in audit(records) for finding in check.findings]


def challenge_of(bench: Bench, payment: str, who: Devices) -> str:
    query = "SELECT compact FROM challenges WHERE payment_id = ? AND phone_id = ?"
    return str(bench.rows(query, payment, who.phone.key.kid)[0][0])


def confirmation(bench: Bench, payment: str, who: Devices, counter: int, **changes: Any) -> str:
    challenge = challenge_of(bench, payment, who)
    return who.confirmation(payment, challenge, auth={"counter": counter}, **changes)


async def test_each_phone_pays_with_its_own_card_and_the_evidence_names_it(
    bench: Bench, database: str
) -> None:
    owner, member = bench.devices, await a_member(bench)
    for counter, who in enumerate((member, owner), start=1):
        payment, _, _ = await bench.pending()
        answer = await bench.confirm(payment, confirmation(bench, payment, who, counter))
        assert answer.json()["status"] == "captured", answer.text
        query = "SELECT phone_id, payment_method_id, created_ms FROM payments WHERE id = ?"
        ((*paid_by, began_ms),) = bench.rows(query, payment)
        assert paid_by == [who.phone.key.kid, who.method_id]
        (listed,) = bench.store.read_now(list_jacks).newest
        assert (listed.heard_ms, listed.members) == (began_ms, 1)
        identity = bench.folder.identity()
        collect = partial(gather, payment_id=payment, identity=identity)
        verdict = evidence_chain.verify_evidence(bench.store.read_now(collect))
        told = " ".join(step.text for step in verdict.steps)
        assert f"Phone {who.phone.key.kid[:8]}" in told
        assert ("invited it as a member" in told) == (who is member)
    assert findings(bench, database) == []


async def test_of_two_confirmations_at_once_one_wins_and_the_other_is_told_so(
    bench: Bench, database: str
) -> None:
    owner, member = bench.devices, await a_member(bench)
    for counter in range(1, 11, 2):
        payment, _, _ = await bench.pending()
        answers = await asyncio.gather(
            *(
                bench.confirm(payment, confirmation(bench, payment, who, counter + place))
                for place, who in enumerate((owner, member))
            )
        )
        won = [answer for answer in answers if answer.status_code == 200]
        assert [answer.json()["status"] for answer in won] == ["captured"]
        assert bench.orders(payment) == 1
        (lost,) = (answer for answer in answers if answer.status_code != 200)
        check_problem(lost, ErrorCode.SETTLED_BY_OTHER_PHONE)
    assert findings(bench, database) == []


async def test_a_removed_member_is_not_asked_and_cannot_confirm_what_it_was_asked(
    bench: Bench, database: str
) -> None:
    owner, member = bench.devices, await a_member(bench)
    payment, _, _ = await bench.pending()
    kept = confirmation(bench, payment, member, 1)
    compact = removal(owner, member)
    for _ in range(2):
        answer = await bench.post(REMOVALS, compact)
        assert [phone["owner"] for phone in answer.json()["phones"]] == [True], answer.text
    check_problem(await bench.confirm(payment, kept), ErrorCode.EPOCH_OUTDATED)
    await bench.clear()
    payment, _, _ = await bench.pending()
    asked = bench.rows(
        "SELECT kind FROM phone_events WHERE payment_id = ? AND phone_id = ?",
        payment,
        member.phone.key.kid,
    )
    assert asked == []
    listed = await bench.get("/v1/jacks", member.phone)
    assert listed.json()["items"] == []
    stale = member.confirmation(payment, bench.statement(payment, "challenge+jwt"))
    check_problem(await bench.confirm(payment, stale), ErrorCode.PAYMENT_UNKNOWN)
    approved = owner.confirmation(
        payment, bench.statement(payment, "challenge+jwt"), auth={"counter": 5}
    )
    assert (await bench.confirm(payment, approved)).json()["status"] == "captured"
    assert findings(bench, database) == []


async def test_only_the_owner_removes_and_nobody_removes_the_owner(bench: Bench) -> None:
    owner, member = bench.devices, await a_member(bench)
    other, stranger = await a_member(bench), await a_phone(bench)
    for who, whom in ((member, owner), (member, other), (stranger, member), (owner, owner)):
        await bench.refused(REMOVALS, removal(who, whom), ErrorCode.EPOCH_OUTDATED)
    forged = removal(owner, member, epoch=2)
    await bench.refused(REMOVALS, forged, ErrorCode.EPOCH_OUTDATED)
    left = await bench.post("/v1/releases", member.release())
    assert left.json()["released_ms"] is not None, left.text
    (jack,) = (await bench.get("/v1/jacks", owner.phone)).json()["items"]
    phones = [(phone["phone"], phone["owner"]) for phone in jack["phones"]]
    assert phones == [(owner.phone.key.kid, True), (other.phone.key.kid, False)]
    (jack,) = (await bench.get("/v1/jacks", other.phone)).json()["items"]
    assert [phone["phone"] for phone in jack["phones"]] == [other.phone.key.kid]


async def test_who_had_a_jack_is_not_told_who_has_it_now(bench: Bench) -> None:
    owner, member = bench.devices, await a_member(bench)
    removed, released = removal(owner, member), owner.release()
    for path, compact in ((REMOVALS, removed), ("/v1/releases", released)):
        assert (await bench.post(path, compact)).status_code == 200
    await sell_jack(bench)
    for path, compact in ((REMOVALS, removed), ("/v1/releases", released)):
        await bench.refused(path, compact, ErrorCode.EPOCH_OUTDATED)


async def test_who_joins_anew_is_told_of_no_other_phone_by_an_old_release(bench: Bench) -> None:
    member = await a_member(bench)
    left = member.release()
    assert (await bench.post("/v1/releases", left)).status_code == 200
    bench.devices.epoch = member.epoch = 2
    assert (await bench.post("/v1/pairings", bench.devices.acceptance())).status_code == 201
    assert (await bench.post("/v1/pairings", joining(bench, member))).status_code == 201
    jack = (await bench.post("/v1/releases", left)).json()
    assert (jack["epoch"], [phone["owner"] for phone in jack["phones"]]) == (1, [False])


async def test_an_owner_who_was_a_member_before_lets_go_of_the_jack(
    bench: Bench, database: str
) -> None:
    former = await a_member(bench)
    former.epoch = 2
    assert (await bench.post("/v1/pairings", former.acceptance())).status_code == 201
    compact = former.release()
    first = await bench.post("/v1/releases", compact)
    assert first.json()["released_ms"] is not None, first.text
    assert (await bench.post("/v1/releases", compact)).json() == first.json()
    assert (await bench.get("/v1/jacks", former.phone)).json()["items"] == []
    await bench.refused("/v1/payments", former.request(), ErrorCode.CODE_UNKNOWN)
    assert findings(bench, database) == []


async def test_who_leaves_a_jack_is_still_asked_for_another(bench: Bench) -> None:
    owner, member, second = bench.devices, await a_member(bench), await bench.other_car()
    second.terminal = await bench.enrolled(Role.TERMINAL)
    guest = copy(second)
    guest.phone = member.phone
    joined = guest.acceptance(pairing={"owner": second.phone.key.kid})
    assert (await bench.post("/v1/pairings", joined)).status_code == 201
    asked = {}
    for who in (owner, second):
        answer = await bench.post("/v1/payments", who.request())
        asked[str(answer.json()["id"])] = who
    assert (await bench.post("/v1/releases", member.release())).status_code == 200
    away = {"decision": "decline", "auth_code": None, "payment_method": None}
    statuses = []
    for payment, who in asked.items():
        late = confirmation(bench, payment, who, 1, **away, decided_by="timeout")
        statuses.append((await bench.confirm(payment, late, wait_s=0)).json()["status"])
    assert statuses == ["declined", "pending"]


async def test_what_makes_no_member(bench: Bench) -> None:
    phone, stranger = await a_phone(bench), await a_phone(bench)
    path = "/v1/pairings"
    by_another = joining(bench, phone, owner=stranger.phone.key.kid)
    await bench.refused(path, by_another, ErrorCode.EPOCH_OUTDATED)
    await bench.refused(path, joining(bench, phone, epoch=2), ErrorCode.EPOCH_OUTDATED)
    await bench.refused(path, joining(bench, bench.devices), ErrorCode.EPOCH_OUTDATED)
    word = new_id()
    joined = joining(bench, phone, jti=word)
    assert (await bench.post(path, joined)).status_code == 201
    assert (await bench.post(REMOVALS, removal(bench.devices, phone))).status_code == 200
    assert (await bench.post(path, joined)).status_code == 200, "it is answered as before"
    assert (await bench.get("/v1/jacks", phone.phone)).json()["items"] == []
    again = joining(bench, phone, jti=word)
    await bench.refused(path, again, ErrorCode.STATEMENT_REPLAYED)


async def test_pairing_anew_ends_all_memberships(bench: Bench) -> None:
    member = await a_member(bench)
    payment, _, _ = await bench.pending()
    kept = confirmation(bench, payment, member, 1)
    bench.devices.epoch = 2
    assert (await bench.post("/v1/pairings", bench.devices.acceptance())).status_code == 201
    check_problem(await bench.confirm(payment, kept), ErrorCode.EPOCH_OUTDATED)
    await bench.clear()
    payment, _, _ = await bench.pending()
    assert bench.rows("SELECT asked FROM payments WHERE id = ?", payment)[0][0] is None
    assert (await bench.get("/v1/jacks", member.phone)).json()["items"] == []


async def test_a_phone_that_declines_unasked_leaves_it_to_the_others(
    bench: Bench, database: str
) -> None:
    owner, member = bench.devices, await a_member(bench)
    payment, _, _ = await bench.pending()
    away = {"decision": "decline", "auth_code": None, "payment_method": None}
    late = confirmation(bench, payment, owner, 1, **away, decided_by="timeout")
    answer = await bench.confirm(payment, late, wait_s=0)
    assert answer.json()["status"] == "pending", answer.text
    answer = await bench.confirm(payment, confirmation(bench, payment, member, 2))
    assert answer.json()["status"] == "captured"
    payment, _, _ = await bench.pending()
    for counter, who, status in ((3, owner, "pending"), (4, member, "declined")):
        late = confirmation(bench, payment, who, counter, **away, decided_by="timeout")
        answer = await bench.confirm(payment, late, wait_s=0)
        assert answer.json()["status"] == status
    payment, _, _ = await bench.pending()
    said = {"decision": "decline", "payment_method": None}
    answer = await bench.confirm(payment, confirmation(bench, payment, member, 5, **said))
    assert answer.json()["status"] == "declined"
    lost = confirmation(bench, payment, owner, 6)
    check_problem(await bench.confirm(payment, lost), ErrorCode.SETTLED_BY_OTHER_PHONE)
    assert findings(bench, database) == []


async def test_a_phone_of_the_jack_reads_the_payment_and_a_strangers_does_not(
    bench: Bench,
) -> None:
    member, stranger = await a_member(bench), await a_phone(bench)
    payment, _, _ = await bench.pending()
    path = f"/v1/payments/{payment}"
    assert (await bench.get(path, member.phone)).status_code == 200
    check_problem(await bench.get(path, stranger.phone), ErrorCode.PAYMENT_UNKNOWN)
