"""``owners``: what the operator sees of those who call, on either kind of database."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from click.testing import CliRunner, Result

from server.cli import main
from server.registry import revoke
from server.schema.parties import phones
from server.schema.payments import payments
from tests.server.bench import Bench, make_folder, running
from tests.server.devices import Devices, seal
from tests.server.test_couplings import couple
from tests.server.test_endings import release_jack, sell_jack
from tests.server.test_members import REMOVALS, a_member, confirmation, removal
from twochannel.protocol.statements import Method, Role
from twochannel.trace import wall_ms

WIDTH = 80
LONGEST = "Mina " * 12 + "Mina"
#: Of a member's label that has its id behind it on one line, with all that is between them.
FITTING = WIDTH - len("  member: ") - len(", ") - 43 - len(",")


@pytest.fixture
async def bench(tmp_path: Path, database: str) -> AsyncIterator[Bench]:
    folder = make_folder(tmp_path / "server", database=database)
    async with running(folder, database=database) as bench:
        await bench.enrol()
        yield bench


def run(bench: Bench, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--state", str(bench.folder.path), "owners", *arguments])


def told(bench: Bench, *arguments: str) -> str:
    result = run(bench, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def listed(bench: Bench) -> dict[str, Any]:
    return {row["id"]: row for row in json.loads(told(bench, "list", "--json"))["items"]}


def shown(bench: Bench, who: Devices) -> Any:
    return json.loads(told(bench, "show", who.phone.key.kid, "--json"))


def called(bench: Bench, who: Devices, label: str) -> None:
    update = phones.update().where(phones.c.id == who.phone.key.kid).values(label=label)
    bench.store.write_now(lambda c: c.execute(update))


def test_without_owners_it_is_told_who_becomes_one(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "server")
    result = CliRunner().invoke(main, ["--state", str(folder.path), "owners", "list"])
    assert (result.exit_code, result.stdout) == (0, "")
    assert "once it has paired with a jack, or has joined one" in result.stderr


async def test_who_never_had_a_jack_nor_joined_one_is_no_owner(bench: Bench) -> None:
    assert set(listed(bench)) == {bench.devices.phone.key.kid}
    await bench.enrolled(Role.PHONE)
    assert set(listed(bench)) == {bench.devices.phone.key.kid}
    member = await a_member(bench)
    assert set(listed(bench)) == {bench.devices.phone.key.kid, member.phone.key.kid}


async def test_the_list_counts_what_is_in_force(bench: Bench) -> None:
    owner, member = bench.devices, await a_member(bench)
    other = await bench.other_car()
    spare = await bench.add_method("tok_success")
    assert _counts(bench, owner) == (1, 1, 2)
    assert _counts(bench, member) == (0, 0, 1)
    assert _counts(bench, other) == (1, 0, 1)
    await bench.post(f"/v1/payment-methods/{spare}/removal", owner.method_removal(spare))
    await bench.post(REMOVALS, removal(owner, member))
    assert _counts(bench, owner) == (1, 0, 1)
    await release_jack(bench)
    assert _counts(bench, owner) == (0, 0, 1)


def _counts(bench: Bench, who: Devices) -> tuple[int, int, int]:
    row = listed(bench)[who.phone.key.kid]
    return row["jacks"], row["members"], row["methods"]


async def test_of_a_revoked_owner_nothing_is_in_force(bench: Bench) -> None:
    owner, member = bench.devices, await a_member(bench)
    bench.store.write_now(lambda c: revoke(c, Role.PHONE, owner.phone.key.kid, wall_ms()))
    assert _counts(bench, owner) == (0, 0, 0)
    assert _counts(bench, member) == (0, 0, 1)


async def test_an_owner_is_shown_with_members_and_methods(bench: Bench) -> None:
    owner, member = bench.devices, await a_member(bench)
    called(bench, member, "Ben")
    await couple(bench, await bench.add_method("tok_success"))
    found = shown(bench, owner)
    (jack,) = found["jacks"]
    assert (jack["jack"], jack["state"], jack["epoch"]) == (owner.jack.key.kid, "owned", 1)
    assert [(one["phone"], one["label"]) for one in jack["members"]] == [
        (member.phone.key.kid, "Ben")
    ]
    methods = [(one["default"], one["jacks"]) for one in found["methods"]]
    assert methods == [(True, []), (False, [owner.jack.key.kid])]
    text = told(bench, "show", owner.phone.key.kid)
    assert "  member: Ben, " in text
    assert "method: Test card, default, not coupled\n" in text
    assert f"coupled to jack {owner.jack.key.kid}" in text


async def test_a_member_is_shown_with_whose_jack_it_is(bench: Bench) -> None:
    owner, member = bench.devices, await a_member(bench)
    called(bench, owner, "Ada")
    assert _membership(bench, member) == (owner.jack.key.kid, "member", "Ada")
    assert "member of: Ada, " in told(bench, "show", member.phone.key.kid)
    bench.store.write_now(lambda c: revoke(c, Role.PHONE, owner.phone.key.kid, wall_ms()))
    assert _membership(bench, member) == (owner.jack.key.kid, "owner_revoked", "Ada")


async def test_of_a_membership_it_is_told_that_it_has_ended(bench: Bench) -> None:
    owner, member = bench.devices, await a_member(bench)
    called(bench, owner, "Ada")
    await sell_jack(bench)
    assert _membership(bench, member) == (owner.jack.key.kid, "ended", "Ada")
    assert shown(bench, owner)["jacks"][0]["members"] == []


def _membership(bench: Bench, who: Devices) -> tuple[str, str, str]:
    (one,) = shown(bench, who)["memberships"]
    return one["jack"], one["state"], one["owner"]["label"]


async def test_it_is_told_what_has_become_of_a_jack(bench: Bench) -> None:
    owner = bench.devices
    await release_jack(bench)
    assert _jack(bench, owner) == ("released", 1)
    owner.epoch = 2
    await bench.post("/v1/pairings", owner.acceptance())
    assert _jack(bench, owner) == ("owned", 2)
    await sell_jack(bench)
    assert _jack(bench, owner) == ("passed_on", 2)
    bench.store.write_now(lambda c: revoke(c, Role.JACK, owner.jack.key.kid, wall_ms()))
    assert _jack(bench, owner) == ("passed_on", 2), "the next owner's revocation is not told"
    (now,) = (row["id"] for row in listed(bench).values() if row["id"] != owner.phone.key.kid)
    (jack,) = json.loads(told(bench, "show", now, "--json"))["jacks"]
    assert (jack["state"], jack["epoch"]) == ("revoked", 3)
    assert "passed on, epoch 2" in told(bench, "show", owner.phone.key.kid)


async def test_a_released_jack_that_is_revoked_was_released(bench: Bench) -> None:
    owner = bench.devices
    await release_jack(bench)
    ((released,),) = bench.rows("SELECT released_ms FROM jacks")
    bench.store.write_now(lambda c: revoke(c, Role.JACK, owner.jack.key.kid, released + 100))
    (jack,) = shown(bench, owner)["jacks"]
    assert (jack["state"], jack["ended_ms"]) == ("released", released)


def _jack(bench: Bench, who: Devices) -> tuple[str, int]:
    (jack,) = shown(bench, who)["jacks"]
    assert (jack["ended_ms"] is None) == (jack["state"] == "owned")
    return jack["state"], jack["epoch"]


async def test_open_payments_are_those_that_a_phone_is_asked_about(bench: Bench) -> None:
    owner, member = bench.devices, await a_member(bench)
    payment, _, _ = await bench.pending()
    for who in (owner, member):
        assert _payments(shown(bench, who)["open_payments"]) == [(payment, "pending")]
        assert f"open payment: {payment}, pending" in told(bench, "show", who.phone.key.kid)
    answer = await bench.confirm(payment, confirmation(bench, payment, member, 1))
    assert answer.json()["status"] == "captured", answer.text
    assert [shown(bench, who)["open_payments"] for who in (owner, member)] == [[], []]
    assert shown(bench, owner)["recent_payments"] == []
    assert _payments(shown(bench, member)["recent_payments"]) == [(payment, "captured")]
    assert f"last payment: {payment}, captured, 4.50 EUR" in told(
        bench, "show", member.phone.key.kid
    )


def _payments(items: Any) -> list[tuple[str, str]]:
    return [(payment["id"], payment["status"]) for payment in items]


async def test_the_last_payments_are_five_and_an_open_one_is_told_once(bench: Bench) -> None:
    for _ in range(5):
        payment, _, challenge = await bench.pending()
        await bench.confirm(payment, bench.devices.decline(payment, challenge))
    held, _ = await bench.held()
    found = shown(bench, bench.devices)
    assert _payments(found["open_payments"]) == [(held, "authorized")]
    assert len(found["recent_payments"]) == 5
    assert found["payments"] == {"authorized": 1, "declined": 5}
    text = told(bench, "show", bench.devices.phone.key.kid)
    assert (text.count(held), text.count("last payment: ")) == (1, 4)


async def test_a_phone_was_last_heard_when_it_signed_something(bench: Bench) -> None:
    owner, member = bench.devices, await a_member(bench)
    paired = shown(bench, owner)["heard_ms"]
    found = shown(bench, member)
    joined = found["heard_ms"]
    assert joined == found["methods"][0]["created_ms"] >= found["memberships"][0]["joined_ms"]
    payment, _, _ = await bench.pending()
    assert shown(bench, owner)["heard_ms"] == paired, "it was asked, and has said nothing"
    said = {"decision": "decline", "payment_method": None}
    await bench.confirm(payment, confirmation(bench, payment, owner, 1, **said))
    query = "SELECT at_ms FROM payment_events WHERE payment_id = ?"
    ((declined,),) = bench.rows(query, payment)
    assert shown(bench, owner)["heard_ms"] == declined
    assert shown(bench, member)["heard_ms"] == joined
    await release_jack(bench)
    ((released,),) = bench.rows("SELECT at_ms FROM instructions")
    assert shown(bench, owner)["heard_ms"] == released


async def test_nothing_that_a_card_can_be_charged_by_is_printed(bench: Bench) -> None:
    owner, token = bench.devices, f"tok_{token_hex(12)}"
    claims = owner.method_claims(token, label="Visa of Mina")
    answer = await bench.post("/v1/payment-methods", seal(claims, owner.phone, Method.TYP))
    assert answer.status_code == 201, answer.text
    payment, _, challenge = await bench.pending()
    await bench.confirm(payment, owner.confirmation(payment, challenge))
    ((compact,),) = bench.rows("SELECT compact FROM payment_methods WHERE token = ?", token)
    ((receipt, charge),) = bench.rows("SELECT receipt, processor_reference FROM payments")
    for arguments in (["list"], ["show", owner.phone.key.kid]):
        for form in ([], ["--json"]):
            text = told(bench, *arguments, *form)
            never = (token, "tok_", compact, receipt, charge, "processor_reference")
            assert [one for one in never if one in text] == []
    assert "method: Visa of Mina, not coupled\n" in told(bench, "show", owner.phone.key.kid)


async def test_an_unknown_owner_is_refused_as_an_unknown_phone_is(bench: Bench) -> None:
    jack = bench.devices.jack.key.kid
    for unknown in ("nobody", jack):
        plain = run(bench, "show", unknown)
        assert (plain.exit_code, plain.stderr) == (1, f"there is no phone {unknown!r}\n")
        error = json.loads(run(bench, "show", unknown, "--json").stderr)["error"]
        phone = CliRunner().invoke(
            main, ["--state", str(bench.folder.path), "phones", "show", unknown, "--json"]
        )
        assert error == json.loads(phone.stderr)["error"]
        assert error["code"] == "failed"


async def test_a_revoked_owner_is_said_to_be_revoked(bench: Bench) -> None:
    owner = bench.devices
    assert listed(bench)[owner.phone.key.kid]["state"] == "enrolled"
    assert "state: enrolled\n" in told(bench, "show", owner.phone.key.kid)
    bench.store.write_now(lambda c: revoke(c, Role.PHONE, owner.phone.key.kid, wall_ms()))
    assert listed(bench)[owner.phone.key.kid]["state"] == "revoked"
    assert "state: revoked, since 2" in told(bench, "show", owner.phone.key.kid)


async def test_eighty_columns_hold_the_longest_names_and_break_no_id(bench: Bench) -> None:
    owner, member = bench.devices, await a_member(bench)
    called(bench, owner, LONGEST)
    claims = owner.method_claims(label=LONGEST)
    answer = await bench.post("/v1/payment-methods", seal(claims, owner.phone, Method.TYP))
    await couple(bench, answer.json()["id"])
    await bench.pending()
    long = payments.update().values(lane=LONGEST, merchant_name=LONGEST)
    bench.store.write_now(lambda c: c.execute(long))
    ids = [owner.phone.key.kid, member.phone.key.kid, owner.jack.key.kid]
    for length in (FITTING, FITTING + 1, len(LONGEST)):
        called(bench, member, LONGEST[:length])
        for expected, arguments in (
            (ids[:2], ["list"]),
            (ids, ["show", owner.phone.key.kid]),
            (ids, ["show", member.phone.key.kid]),
        ):
            text = told(bench, *arguments)
            assert [line for line in text.splitlines() if len(line) > WIDTH] == []
            assert [one for one in (LONGEST, *expected) if one not in text] == []
    called(bench, member, LONGEST[:FITTING])
    assert f"{LONGEST[:FITTING]}, {member.phone.key.kid}," in told(bench, "show", ids[0])
