"""Whoever rewrites history: merchant, owner, operator, or all of them with keys of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
import pytest_asyncio

from server.evidence import gather
from server.evidence_chain import Verdict, verify_evidence
from server.evidence_file import Evidence, EvidenceError
from tests.server.bench import Bench, make_folder, running
from tests.server.devices import new_id, new_signer, seal
from twochannel.protocol.envelope import unverified_claims
from twochannel.protocol.payment import Status

pytestmark = pytest.mark.asyncio(loop_scope="module")


def exported(server: Bench, payment: str) -> Evidence:
    identity = server.folder.identity()
    return server.store.read_now(lambda c: gather(c, payment, identity))


async def paid(server: Bench, value: int) -> Evidence:
    amount = {"value": value, "currency": "EUR"}
    payment, _, challenge = await server.pending(amount=amount)
    answer = await server.confirm(payment, server.devices.confirmation(payment, challenge))
    assert answer.json()["captured_minor"] == value
    return exported(server, payment)


@dataclass(frozen=True)
class Case:
    """Two true payments at one server, and one at a server of the forger's own."""

    coffee: Evidence
    cake: Evidence
    forged: Evidence
    trusted: str


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def case(attacked: Bench, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Case]:
    async with running(make_folder(tmp_path_factory.mktemp("forger"))) as forger:
        await forger.enrol()
        forged = await paid(forger, 99_900)
        coffee, cake = await paid(attacked, 450), await paid(attacked, 700)
        yield Case(coffee, cake, forged, attacked.devices.server_id)


def holds(evidence: Evidence, case: Case) -> Verdict:
    return verify_evidence(evidence, case.trusted)


def fails(evidence: Evidence, case: Case) -> str:
    with pytest.raises(EvidenceError) as failure:
        verify_evidence(evidence, case.trusted)
    return failure.value.place


def changed(evidence: Evidence, **members: object) -> Evidence:
    return Evidence.model_validate(evidence.model_dump() | members)


async def test_a_server_of_ones_own_convinces_nobody_who_knows_the_true_one(case: Case) -> None:
    """Flawless in itself: without the thumbprint from elsewhere it holds, and says so."""
    verdict = verify_evidence(case.forged)
    assert (verdict.status, verdict.captured_minor) == (Status.CAPTURED, 99_900)
    assert verdict.steps[0].warning
    assert "file's own word" in verdict.steps[0].text
    assert fails(case.forged, case) == "server"


async def test_its_true_name_over_another_key_does_not_help(case: Case, attacked: Bench) -> None:
    """A server's id outlives its keys: the id alone is no proof, the key is what is trusted."""
    signer = new_signer()
    claims = unverified_claims(attacked.folder.identity()) | {"key": signer.key.jwk.model_dump()}
    identity = seal(claims, signer, "identity+jwt")
    assert fails(changed(case.coffee, server=identity), case) == "server"


async def test_receipts_of_two_payments_cannot_be_swapped(case: Case) -> None:
    coffee, cake = case.coffee.statements, case.cake.statements
    swapped = changed(case.coffee, statements=[*coffee[:-1], cake[-1]])
    assert fails(swapped, case) == "statement 4 (receipt)"
    renamed = changed(case.coffee, payment=case.cake.payment)
    assert fails(renamed, case) == "statement 1 (payment request)"


@pytest.mark.parametrize("position", range(3))
async def test_no_statement_can_be_left_out(case: Case, position: int) -> None:
    rest = [s for n, s in enumerate(case.coffee.statements) if n != position]
    assert fails(changed(case.coffee, statements=rest), case).startswith("statement")


async def test_cut_off_at_the_end_it_says_no_more_than_it_shows(case: Case) -> None:
    """A true beginning is true: without its receipt the payment is confirmed, and nothing taken."""
    verdict = holds(changed(case.coffee, statements=case.coffee.statements[:-1]), case)
    assert (verdict.status, verdict.captured_minor) == (Status.CONFIRMED, 0)
    assert holds(case.coffee, case).captured_minor == 450


@pytest.mark.parametrize("order", [(1, 0, 2, 3), (0, 2, 1, 3), (0, 1, 3, 2), (3, 2, 1, 0)])
async def test_the_order_is_part_of_the_story(case: Case, order: tuple[int, ...]) -> None:
    statements = [case.coffee.statements[n] for n in order]
    assert fails(changed(case.coffee, statements=statements), case).startswith("statement")


async def test_nothing_is_told_twice(case: Case) -> None:
    for position in range(4):
        statements = [*case.coffee.statements, case.coffee.statements[position]]
        assert fails(changed(case.coffee, statements=statements), case).startswith("statement 5")


async def test_the_pairing_of_another_car_does_not_fit(case: Case, attacked: Bench) -> None:
    assert fails(changed(case.coffee, pairing=case.forged.pairing), case) == "pairing"
    keys = case.forged.keys.model_dump()
    assert fails(changed(case.coffee, keys=keys), case) == "pairing"
    swapped = {"phone": keys["phone"], "terminal": case.coffee.keys.terminal.model_dump()}
    assert fails(changed(case.coffee, keys=swapped), case) == "pairing"
    assert attacked.devices.server_id == case.trusted


Rewrite = Callable[[dict[str, object]], dict[str, object]]
REWRITES: dict[int, tuple[str, Rewrite]] = {
    0: ("terminal", lambda c: c | {"amount": {"value": 1, "currency": "EUR"}}),
    2: ("phone", lambda c: c | {"decision": "decline", "payment_method": None}),
}


@pytest.mark.parametrize("position", REWRITES)
async def test_a_device_that_signs_again_breaks_the_chain(
    case: Case, attacked: Bench, position: int
) -> None:
    """With its own good key it can sign another story, and the others have signed the first."""
    who, rewrite = REWRITES[position]
    statements = list(case.coffee.statements)
    claims = rewrite(unverified_claims(statements[position])) | {"jti": new_id()}
    if position == 0:
        claims |= {"jti": case.coffee.payment}
    typ = {"terminal": "payment-request+jwt", "phone": "confirmation+jwt"}[who]
    statements[position] = seal(claims, getattr(attacked.devices, who), typ)
    assert fails(changed(case.coffee, statements=statements), case).startswith("statement")


async def test_an_owner_cannot_deny_with_another_auth_code(case: Case, attacked: Bench) -> None:
    """The jack's word is inside what the phone has signed, and about this very challenge."""
    statements = list(case.coffee.statements)
    claims = unverified_claims(statements[2])
    other = unverified_claims(case.cake.statements[2])["auth_code"]
    statements[2] = seal(claims | {"auth_code": other}, attacked.devices.phone, "confirmation+jwt")
    assert fails(changed(case.coffee, statements=statements), case).startswith("statement 3")
