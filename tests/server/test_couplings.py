"""Coupling a payment method to a jack: only with its fresh word, and what it means for payments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server.bench import Bench, check_problem, make_folder, running
from tests.server.devices import Devices, new_id, new_signer, now_s, seal
from tests.server.test_endings import release_jack
from twochannel.protocol.envelope import unverified_claims
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.instructions import Coupling, CouplingChallenge


@pytest.fixture
async def bench(tmp_path: Path, database: str) -> AsyncIterator[Bench]:
    folder = make_folder(tmp_path / "server", database=database)
    async with running(folder, database=database) as bench:
        await bench.enrol()
        yield bench


async def asked(bench: Bench, by: Devices | None = None, **changes: str) -> httpx.Response:
    """The server's answer to who wants to couple."""
    chosen = by or bench.devices
    body = {"method": chosen.method_id, "jack": chosen.jack.key.kid} | changes
    proof = chosen.proof(chosen.phone, "POST", "/v1/coupling-challenges")
    headers = {"authorization": f"Bearer {proof}"}
    return await bench.http.post("/v1/coupling-challenges", json=body, headers=headers)


async def challenge_of(bench: Bench, method: str | None = None) -> str:
    answer = await asked(bench, method=method or bench.devices.method_id)
    assert answer.status_code == 200, answer.text
    return answer.text


async def couple(bench: Bench, method: str | None = None) -> dict[str, Any]:
    challenge = await challenge_of(bench, method)
    answer = await bench.post("/v1/couplings", bench.devices.coupling(challenge))
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def paid_with(bench: Bench, method: str) -> httpx.Response:
    payment, _, challenge = await bench.pending()
    compact = bench.devices.confirmation(payment, challenge, payment_method=method)
    answer = await bench.confirm(payment, compact)
    if answer.status_code != 200:
        decline = bench.devices.decline(payment, challenge)
        assert (await bench.confirm(payment, decline)).status_code == 200
    return answer


async def test_once_a_method_is_coupled_the_jack_is_paid_for_with_coupled_ones(
    bench: Bench,
) -> None:
    first, second = bench.devices.method_id, await bench.add_method("tok_success")
    for method in (first, second):
        assert (await paid_with(bench, method)).json()["status"] == "captured"
    assert (await couple(bench, second))["jacks"] == [bench.devices.jack.key.kid]
    check_problem(await paid_with(bench, first), ErrorCode.PAYMENT_METHOD_NOT_COUPLED)
    assert (await paid_with(bench, second)).json()["status"] == "captured"
    await couple(bench, first)
    assert (await paid_with(bench, first)).json()["status"] == "captured"


async def test_a_coupling_is_ended_and_the_last_one_frees_the_jack(bench: Bench) -> None:
    first, second = bench.devices.method_id, await bench.add_method("tok_success")
    await couple(bench, second)
    compact = bench.devices.uncoupling(second)
    for _ in range(2):
        answer = await bench.post("/v1/uncouplings", compact)
        assert (answer.status_code, answer.json()["jacks"]) == (200, [])
    again = bench.devices.uncoupling(second)
    await bench.refused("/v1/uncouplings", again, ErrorCode.PAYMENT_METHOD_NOT_COUPLED)
    foreign = bench.devices.uncoupling(new_id())
    await bench.refused("/v1/uncouplings", foreign, ErrorCode.PAYMENT_METHOD_UNKNOWN)
    assert (await paid_with(bench, first)).json()["status"] == "captured"


async def test_a_coupling_ends_with_its_method_and_its_pairing(bench: Bench) -> None:
    devices = bench.devices
    first, second = devices.method_id, await bench.add_method("tok_success")
    await couple(bench, second)
    removal = devices.method_removal(second)
    assert (await bench.post(f"/v1/payment-methods/{second}/removal", removal)).status_code == 200
    assert (await paid_with(bench, first)).json()["status"] == "captured"
    third = await bench.add_method("tok_success")
    await couple(bench, third)
    await release_jack(bench)
    devices.epoch += 1
    assert (await bench.post("/v1/pairings", devices.acceptance())).status_code == 201
    assert (await paid_with(bench, first)).json()["status"] == "captured"


async def test_the_same_coupling_again_changes_nothing(bench: Bench) -> None:
    challenge = await challenge_of(bench)
    compact = bench.devices.coupling(challenge)
    assert (await bench.post("/v1/couplings", compact)).status_code == 200
    before = bench.row_counts()
    assert (await bench.post("/v1/couplings", compact)).json()["jacks"]
    assert bench.row_counts() == before
    # A new statement over the same challenge is a replay; over a new one it is welcome.
    await bench.refused(
        "/v1/couplings", bench.devices.coupling(challenge), ErrorCode.STATEMENT_REPLAYED
    )
    assert (await couple(bench))["jacks"] == [bench.devices.jack.key.kid]


async def test_it_takes_the_fresh_word_of_this_very_jack(bench: Bench) -> None:
    devices, other = bench.devices, await bench.other_car()
    challenge = await challenge_of(bench)
    claims = unverified_claims(challenge)
    spare = await bench.add_method("tok_success")
    elsewhere = (await asked(bench, other)).text
    forged = seal(claims, new_signer(), CouplingChallenge.TYP)
    for compact, code in (
        (devices.coupling(challenge, answer={"prev": "A" * 43}), ErrorCode.CHAIN_BROKEN),
        (devices.coupling(challenge, answer={"sub": spare}), ErrorCode.CHAIN_BROKEN),
        (devices.coupling(challenge, answer={"phone": "A" * 43}), ErrorCode.CHAIN_BROKEN),
        (devices.coupling(challenge, answer={"epoch": 2}), ErrorCode.EPOCH_OUTDATED),
        (devices.coupling(challenge, sub=spare), ErrorCode.CHAIN_BROKEN),
        (devices.coupling(elsewhere), ErrorCode.CHAIN_BROKEN),
        (_told_by(other, devices, challenge), ErrorCode.CHAIN_BROKEN),
        (devices.coupling(forged), ErrorCode.KEY_UNKNOWN),
        (devices.coupling(devices.coupling_answer(challenge)), ErrorCode.STATEMENT_TYPE_WRONG),
        (devices.coupling(challenge, answer={"iss": "A" * 43}), ErrorCode.ISSUER_WRONG),
        (devices.coupling(challenge, iat=now_s() - 100), ErrorCode.CLOCK_SKEW),
    ):
        await bench.refused("/v1/couplings", compact, code)


def _told_by(other: Devices, devices: Devices, challenge: str) -> str:
    """With the word of another jack."""
    claims = unverified_claims(devices.coupling(challenge))
    word = other.coupling_answer(challenge, answer={"phone": devices.phone.key.kid})
    return seal(claims | {"answer": word}, devices.phone, Coupling.TYP)


async def test_a_challenge_is_good_for_a_minute(bench: Bench) -> None:
    claims = unverified_claims(await challenge_of(bench))
    assert int(str(claims["exp"])) - int(str(claims["iat"])) == 60
    server = bench.folder.keys.signer("signing")
    past = seal(claims | {"iat": now_s() - 61, "exp": now_s() - 1}, server, CouplingChallenge.TYP)
    await bench.refused("/v1/couplings", bench.devices.coupling(past), ErrorCode.STATEMENT_EXPIRED)


async def test_nobody_is_challenged_for_what_is_anothers(bench: Bench) -> None:
    other = await bench.other_car()
    for changes, code in (
        ({"method": other.method_id}, ErrorCode.PAYMENT_METHOD_UNKNOWN),
        ({"method": new_id()}, ErrorCode.PAYMENT_METHOD_UNKNOWN),
        ({"jack": other.jack.key.kid}, ErrorCode.EPOCH_OUTDATED),
        ({"jack": "A" * 43}, ErrorCode.EPOCH_OUTDATED),
        ({"jack": "short"}, ErrorCode.CLAIM_INVALID),
        ({"surprise": "x"}, ErrorCode.CLAIM_INVALID),
    ):
        check_problem(await asked(bench, None, **changes), code)
    await release_jack(bench)
    check_problem(await asked(bench), ErrorCode.EPOCH_OUTDATED)


async def test_racing_a_release_leaves_no_coupling_in_force(bench: Bench) -> None:
    compact = bench.devices.coupling(await challenge_of(bench))
    coupled, _ = await asyncio.gather(bench.post("/v1/couplings", compact), release_jack(bench))
    if coupled.status_code != 200:
        check_problem(coupled, ErrorCode.EPOCH_OUTDATED)
    listed = await bench.get("/v1/payment-methods", bench.devices.phone)
    assert [item["jacks"] for item in listed.json()["items"]] == [[]]
