"""Enrolment, pairing and payment methods: who is let in, once, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.bench import MERCHANT, Bench
from tests.server.devices import new_id, new_signer, seal
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.statements import Enrolment, Identity, Role

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_enrolment_codes_work_once_for_their_role_and_in_time(shared: Bench) -> None:
    devices, signer, path = shared.devices, new_signer(), "/v1/enrolments"
    code = shared.enrolment_code(Role.PHONE)
    as_terminal = devices.enrolment(signer, Role.TERMINAL, code)
    await shared.refused(path, as_terminal, ErrorCode.ENROLMENT_CODE_REFUSED)
    good = devices.enrolment(signer, Role.PHONE, code)
    first = await shared.post(path, good)
    assert (first.status_code, first.json()["id"]) == (201, signer.key.kid)
    again = await shared.post(path, good)
    assert (again.status_code, again.json()) == (200, first.json())
    other = devices.enrolment(new_signer(), Role.PHONE, code)
    await shared.refused(path, other, ErrorCode.ENROLMENT_CODE_REFUSED)
    late = shared.enrolment_code(Role.PHONE)
    shared.store.write_now(
        lambda c: c.exec_driver_sql(
            "UPDATE enrolment_codes SET expires_ms = 1 WHERE used_ms IS NULL"
        )
    )
    compact = devices.enrolment(new_signer(), Role.PHONE, late)
    await shared.refused(path, compact, ErrorCode.ENROLMENT_CODE_REFUSED)


@pytest.mark.parametrize("role", ["jack", "server"])
async def test_only_terminals_and_phones_enrol(shared: Bench, role: str) -> None:
    compact = shared.devices.enrolment(new_signer(), Role(role), "A" * 22)
    await shared.refused("/v1/enrolments", compact, ErrorCode.CLAIM_INVALID)


async def test_an_enrolment_key_must_be_on_the_curve(shared: Bench) -> None:
    signer = new_signer()
    jwk = signer.key.jwk.model_dump() | {"y": "A" * 43}
    claims = {"iss": signer.key.kid, "key": jwk}
    compact = seal(claims, signer, Enrolment.TYP)
    await shared.refused("/v1/enrolments", compact, ErrorCode.KEY_INVALID)


async def test_a_terminal_learns_its_lane_and_merchant(shared: Bench) -> None:
    signer = new_signer()
    code = shared.enrolment_code(Role.TERMINAL, MERCHANT)
    compact = shared.devices.enrolment(signer, Role.TERMINAL, code)
    answer = await shared.post("/v1/enrolments", compact)
    assert answer.json() == {
        "id": signer.key.kid,
        "role": "terminal",
        "server": shared.devices.server_id,
        "lane": "Lane 1",
        "merchant": {"id": MERCHANT, "name": "Blue Bottle"},
    }


async def test_pairings(shared: Bench) -> None:
    car, path = await shared.other_car(), "/v1/pairings"
    cases = (
        (car.acceptance(), ErrorCode.EPOCH_OUTDATED),
        (car.acceptance(pairing={"epoch": 2, "sub": "A" * 43}), ErrorCode.ISSUER_WRONG),
        (car.acceptance(pairing={"epoch": 2, "aud": "A" * 43}), ErrorCode.AUDIENCE_WRONG),
        (car.acceptance(pairing={"epoch": 2, "iss": "A" * 43}), ErrorCode.ISSUER_WRONG),
        (car.acceptance(pairing={"epoch": 2, "identity": "a.b.c"}), ErrorCode.MESSAGE_MALFORMED),
        (car.acceptance(pairing={"epoch": 2, "identity": None}), ErrorCode.CLAIM_INVALID),
        (car.acceptance(pairing={"epoch": 0}), ErrorCode.CLAIM_INVALID),
        (car.acceptance(sub="A" * 43, pairing={"epoch": 2}), ErrorCode.ISSUER_WRONG),
    )
    for compact, code in cases:
        await shared.refused(path, compact, code)


async def test_a_pairing_carries_the_jacks_own_identity(shared: Bench) -> None:
    car = await shared.other_car()

    def identity(**changes: Any) -> str:
        claims = {
            "iss": car.jack.key.kid,
            "jti": new_id(),
            "role": "jack",
            "key": car.jack.key.jwk.model_dump(),
            "beacon_key": car.jack_beacon.key.jwk.model_dump(),
            "tls_sha256": "0" * 64,
            "rotation_exponent": None,
        }
        return seal(claims | changes, car.jack, Identity.TYP)

    off_curve = car.jack_beacon.key.jwk.model_dump() | {"y": "A" * 43}
    for changes, code in (
        ({"role": "phone"}, ErrorCode.ISSUER_WRONG),
        ({"iss": "A" * 43}, ErrorCode.ISSUER_WRONG),
        ({"beacon_key": off_curve}, ErrorCode.KEY_INVALID),
    ):
        compact = car.acceptance(pairing={"epoch": 2, "identity": identity(**changes)})
        await shared.refused("/v1/pairings", compact, code)


async def test_a_beacon_key_is_one_jacks_alone(shared: Bench) -> None:
    """Two jacks would have the same codes, and neither could be charged."""
    car = await shared.other_car()
    car.jack = new_signer()
    await shared.refused("/v1/pairings", car.acceptance(), ErrorCode.ISSUER_WRONG)


async def test_the_same_acceptance_is_answered_as_before(shared: Bench) -> None:
    car = await shared.other_car()
    car.epoch = 2
    compact = car.acceptance()
    first = await shared.post("/v1/pairings", compact)
    again = await shared.post("/v1/pairings", compact)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()


async def test_the_same_payment_method_is_answered_as_before(shared: Bench) -> None:
    compact = shared.devices.method()
    first = await shared.post("/v1/payment-methods", compact)
    again = await shared.post("/v1/payment-methods", compact)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    listed = await shared.get("/v1/payment-methods", shared.devices.phone)
    assert first.json() in listed.json()["items"]
    assert "tok_success" not in listed.text
    other = shared.devices.method_claims(jti=first.json()["id"], label="Other")
    path, typ = "/v1/payment-methods", "payment-method+jwt"
    sealed = seal(other, shared.devices.phone, typ)
    await shared.refused(path, sealed, ErrorCode.STATEMENT_REPLAYED)
