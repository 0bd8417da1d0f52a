"""A jack that cheats, or one that somebody has made up: the server takes any key for a jack's."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adversaries.scene import nothing_charged
from tests.server.bench import MERCHANT, Bench, check_problem
from tests.server.devices import Devices, new_id, new_signer, seal
from twochannel.keystore.file import FileSigner
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.keys import Jwk
from twochannel.protocol.statements import Identity, PairingAcceptance, Role
from twochannel.protocol.wire import base64url, from_base64url

pytestmark = pytest.mark.asyncio(loop_scope="module")


def door(payment: str) -> str:
    return f"/v1/payments/{payment}/confirmation"


async def test_a_counter_that_goes_back_or_stands_still_is_refused(server: Bench) -> None:
    devices = server.devices
    payment, _, challenge = await server.pending()
    decline = {"decision": "decline", "payment_method": None}
    compact = devices.confirmation(payment, challenge, auth={"counter": 50}, **decline)
    assert (await server.confirm(payment, compact)).status_code == 200
    devices.counter = 50
    payment, _, challenge = await server.pending()
    with nothing_charged(server):
        for counter in (50, 49, 1):
            compact = devices.confirmation(payment, challenge, auth={"counter": counter})
            await server.refused(door(payment), compact, ErrorCode.COUNTER_REUSED)
        for odd in (0, -1, 2**53, 2**63, 1.5, True, "51"):
            compact = devices.confirmation(payment, challenge, auth={"counter": odd})
            answer = await server.post(door(payment), compact)
            assert answer.json()["code"] in ("claim_invalid", "message_malformed"), odd


async def test_a_clone_is_found_out_by_its_counter(server: Bench) -> None:
    """Original and copy count for themselves: whoever comes second with a number is refused."""
    devices = server.devices
    payment, _, challenge = await server.pending()
    original = devices.confirmation(payment, challenge)
    assert (await server.confirm(payment, original)).json()["status"] == "captured"
    payment, _, challenge = await server.pending()
    with nothing_charged(server):
        copy = devices.confirmation(payment, challenge, auth={"counter": devices.counter})
        await server.refused(door(payment), copy, ErrorCode.COUNTER_REUSED)


WRONG: dict[str, tuple[dict[str, Any], ErrorCode]] = {
    "another challenge": ({"prev": "A" * 43}, ErrorCode.CHAIN_BROKEN),
    "another payment": ({"sub": new_id()}, ErrorCode.CHAIN_BROKEN),
    "another phone": ({"phone": "A" * 43}, ErrorCode.CHAIN_BROKEN),
    "another server": ({"aud": "A" * 43}, ErrorCode.AUDIENCE_WRONG),
    "another epoch": ({"epoch": 2}, ErrorCode.EPOCH_OUTDATED),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_signature_over_something_else_is_worth_nothing(server: Bench, case: str) -> None:
    changes, code = WRONG[case]
    payment, _, challenge = await server.pending()
    with nothing_charged(server):
        compact = server.devices.confirmation(payment, challenge, auth=changes)
        await server.refused(door(payment), compact, code)


async def test_it_cannot_claim_to_have_heard_the_lane(server: Bench) -> None:
    """It knows the digest from the challenge, and that is not the nonce."""
    set_policy(server, "require")
    try:
        payment, _, challenge = await server.pending()
        with nothing_charged(server):
            for nonce in (None, base64url(bytes(12)), "A" * 16):
                compact = server.devices.confirmation(
                    payment, challenge, auth={"lane_nonce": nonce}
                )
                await server.refused(door(payment), compact, ErrorCode.PRESENCE_MISSING)
    finally:
        set_policy(server, "prefer")


def set_policy(server: Bench, presence: str) -> None:
    change = "UPDATE merchants SET presence = ? WHERE id = ?"
    server.store.write_now(lambda c: c.exec_driver_sql(change, (presence, MERCHANT)))


async def impostor(server: Bench) -> Devices:
    """Someone with an enrolled phone and a jack of his own making."""
    return Devices(
        server.devices.identity,
        terminal=server.devices.terminal,
        phone=await server.enrolled(Role.PHONE),
    )


async def test_a_made_up_jack_cannot_share_anothers_codes(server: Bench) -> None:
    """The beacon key is in the identity that every jack shows while it is paired. With it in the
    registry twice, the codes of both would be ambiguous and the victim could not pay."""
    evil = await impostor(server)
    evil.jack_beacon = server.devices.jack_beacon
    await server.refused("/v1/pairings", evil.acceptance(), ErrorCode.ISSUER_WRONG)
    payment, _, challenge = await server.pending()
    answer = await server.confirm(payment, server.devices.confirmation(payment, challenge))
    assert answer.json()["status"] == "captured"


async def test_the_mirror_image_of_a_beacon_key_has_codes_of_its_own(server: Bench) -> None:
    """The negative point gives the same shared secret; the salt of the codes has both points."""
    evil = await impostor(server)
    honest = server.devices.jack_beacon.key.jwk
    prime = 2**256 - 2**224 + 2**192 + 2**96 - 1
    mirrored = (prime - int.from_bytes(from_base64url(honest.y))).to_bytes(32)
    key = Jwk(x=honest.x, y=base64url(mirrored))
    assert (await server.post("/v1/pairings", acceptance(evil, beacon_key=key))).status_code == 201
    payment, _, _ = await server.pending()
    assert (await server.payment(payment))["status"] == "pending"


def acceptance(devices: Devices, **changes: Any) -> str:
    """With a jack's identity that says something else."""
    identity: dict[str, Any] = {
        "iss": devices.jack.key.kid,
        "jti": new_id(),
        "role": "jack",
        "key": devices.jack.key.jwk,
        "beacon_key": devices.jack_beacon.key.jwk,
        "tls_sha256": "0" * 64,
    } | changes
    members = {k: v.model_dump() if isinstance(v, Jwk) else v for k, v in identity.items()}
    sealed = seal(members, devices.jack, Identity.TYP)
    claims = devices.acceptance_claims(pairing={"identity": sealed})
    return seal(claims, devices.phone, PairingAcceptance.TYP)


OFF_CURVE = {"crv": "P-256", "kty": "EC", "x": base64url(bytes(31) + b"\1"), "y": "A" * 43}
IDENTITIES: dict[str, tuple[dict[str, Any], ErrorCode]] = {
    "a server's": ({"role": "server"}, ErrorCode.ISSUER_WRONG),
    "another jack's": ({"iss": "A" * 43}, ErrorCode.ISSUER_WRONG),
    "a beacon key off the curve": ({"beacon_key": OFF_CURVE}, ErrorCode.KEY_INVALID),
    "a key off the curve": ({"key": OFF_CURVE}, ErrorCode.KEY_INVALID),
    "a foreign key": ({"key": new_signer().key.jwk}, ErrorCode.KEY_UNKNOWN),
}


@pytest.mark.parametrize("case", IDENTITIES)
async def test_an_identity_is_a_jacks_own(server: Bench, case: str) -> None:
    changes, code = IDENTITIES[case]
    evil = await impostor(server)
    await server.refused("/v1/pairings", acceptance(evil, **changes), code)


async def test_a_key_has_one_role(server: Bench) -> None:
    """Otherwise revoking the terminal would leave the jack, or the other way round."""
    evil = await impostor(server)
    evil.jack = evil.phone
    await server.refused("/v1/pairings", evil.acceptance(), ErrorCode.ISSUER_WRONG)
    for signer, role in (
        (server.devices.phone, Role.TERMINAL),
        (server.devices.terminal, Role.PHONE),
        (server.devices.jack, Role.PHONE),
        (server.devices.jack, Role.TERMINAL),
    ):
        await refused_enrolment(server, signer, role)


async def refused_enrolment(server: Bench, signer: FileSigner, role: Role) -> None:
    merchant = MERCHANT if role is Role.TERMINAL else None
    code = server.enrolment_code(role, merchant)
    enrolment = server.devices.enrolment(signer, role, code)
    await server.refused("/v1/enrolments", enrolment, ErrorCode.ISSUER_WRONG)
    # The code is not burnt by that: it still serves the device that it was made for.
    honest = server.devices.enrolment(new_signer(), role, code)
    assert (await server.post("/v1/enrolments", honest)).status_code == 201


async def test_a_challenge_is_no_auth_code_and_an_auth_code_no_confirmation(server: Bench) -> None:
    payment, _, challenge = await server.pending()
    devices = server.devices
    auth_code = devices.confirmation_claims(payment, challenge)["auth_code"]
    with nothing_charged(server):
        await server.refused(door(payment), auth_code, ErrorCode.STATEMENT_TYPE_WRONG)
        await server.refused(door(payment), challenge, ErrorCode.STATEMENT_TYPE_WRONG)
        claims = devices.auth_code_claims({"sub": payment}, challenge)
        renamed = seal(claims, devices.jack, "confirmation+jwt")
        await server.refused(door(payment), renamed, ErrorCode.KEY_UNKNOWN)
        by_phone = devices.confirmation(
            payment, challenge, auth_code=seal(claims, devices.jack, "x")
        )
        await server.refused(door(payment), by_phone, ErrorCode.STATEMENT_TYPE_WRONG)


async def test_a_jack_cannot_prove_itself_at_any_door(server: Bench) -> None:
    for path in ("/v1/payments", "/v1/events", f"/v1/payments/{new_id()}"):
        answer = await server.get(path, server.devices.jack)
        check_problem(answer, ErrorCode.KEY_UNKNOWN)
