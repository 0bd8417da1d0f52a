"""A statement with two faults is refused for the one that comes first (docs/protocol.md, 6)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from httpx import Response

from server.registry import add_merchant
from tests.server.bench import MERCHANT, Bench, check_problem
from tests.server.devices import Devices, new_id, now_s, seal
from tests.server.doors import DOORS, Door, Scene
from tests.server.sql import execute
from tests.server.test_couplings import asked
from tests.server.test_members import challenge_of
from tests.server.test_proofs import tell_time
from twochannel.protocol.envelope import digest, unverified_claims
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.instructions import CouplingChallenge
from twochannel.protocol.statements import Presence, Role
from twochannel.trace import wall_ms

pytestmark = pytest.mark.asyncio(loop_scope="module")

Claims = dict[str, Any]
Rungs = list[tuple[Claims, ErrorCode]]

LATE: Claims = {"iat": now_s() - 3600, "exp": now_s() - 3500}
OTHER_REQUEST: Claims = {"prev": "A" * 43}
TOO_MUCH: Claims = {"amount": {"value": 9999, "currency": "EUR"}}
OTHER_CURRENCY: Claims = {"amount": {"value": 9999, "currency": "USD"}}

#: Faults of a capture or refund of a payment that is still pending, which is a fault by itself.
PENDING = [
    (LATE | OTHER_REQUEST | TOO_MUCH, ErrorCode.CLOCK_SKEW),
    (OTHER_REQUEST | TOO_MUCH, ErrorCode.CHAIN_BROKEN),
    (OTHER_CURRENCY, ErrorCode.PAYMENT_STATE),
    (TOO_MUCH, ErrorCode.PAYMENT_STATE),
]
#: The same of one that could be captured or refunded; ``jti`` None: one that was used before.
READY: list[tuple[Claims, ErrorCode]] = [
    (OTHER_CURRENCY, ErrorCode.CHAIN_BROKEN),
    (TOO_MUCH | {"jti": None}, ErrorCode.AMOUNT_EXCEEDED),
    ({"jti": None}, ErrorCode.STATEMENT_REPLAYED),
]


@pytest.mark.parametrize("kind", ["captures", "refunds"])
@pytest.mark.parametrize(("faults", "code"), PENDING)
async def test_of_a_pending_payment(
    shared: Bench, kind: str, faults: Claims, code: ErrorCode
) -> None:
    payment, request, _ = await shared.pending()
    make = shared.devices.capture if kind == "captures" else shared.devices.refund
    await shared.refused(f"/v1/payments/{payment}/{kind}", make(request, 1, **faults), code)
    stranger = Devices(shared.devices.identity, terminal=await shared.enrolled(Role.TERMINAL))
    by_stranger = stranger.capture if kind == "captures" else stranger.refund
    compact = by_stranger(request, 1, **faults)
    await shared.refused(f"/v1/payments/{payment}/{kind}", compact, ErrorCode.PAYMENT_UNKNOWN)


@pytest.mark.parametrize("kind", ["captures", "refunds"])
@pytest.mark.parametrize(("faults", "code"), READY)
async def test_of_a_payment_that_is_ready(
    shared: Bench, kind: str, faults: Claims, code: ErrorCode
) -> None:
    if kind == "captures":
        payment, request = await shared.held(8000)
    else:
        payment, request, challenge = await shared.pending()
        await shared.confirm(payment, shared.devices.confirmation(payment, challenge))
    make = shared.devices.capture if kind == "captures" else shared.devices.refund
    used = {"jti": payment} if "jti" in faults else {}
    compact = make(request, 1, **(faults | used))
    await shared.refused(f"/v1/payments/{payment}/{kind}", compact, code)


async def test_a_used_id_comes_before_a_used_reference(shared: Bench) -> None:
    payment, request, challenge = await shared.pending()
    await shared.confirm(payment, shared.devices.confirmation(payment, challenge))
    path = f"/v1/payments/{payment}/refunds"
    first = shared.devices.refund(request, 1, reference="milk")
    assert (await shared.post(path, first, prefer="wait=20")).status_code == 201
    both = shared.devices.refund(request, 1, reference="milk", jti=payment)
    await shared.refused(path, both, ErrorCode.STATEMENT_REPLAYED)
    reference = shared.devices.refund(request, 1, reference="milk")
    await shared.refused(path, reference, ErrorCode.PAYMENT_CONFLICT)


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        (LATE | {"lane": "Lane 9", "code": "00" * 8}, ErrorCode.CLOCK_SKEW),
        ({"lane": "Lane 9", "code": "00" * 8}, ErrorCode.CLAIM_INVALID),
        ({"code": "00" * 8}, ErrorCode.CODE_UNKNOWN),
        ({}, ErrorCode.TERMINAL_BUSY),
    ],
)
async def test_of_a_request_while_the_terminal_is_busy(
    shared: Bench, faults: Claims, code: ErrorCode
) -> None:
    payment, _, _ = await shared.pending()
    await shared.refused("/v1/payments", shared.devices.request(**faults), code)
    conflict = shared.devices.request(jti=payment, sub=payment, **faults)
    await shared.refused("/v1/payments", conflict, ErrorCode.PAYMENT_CONFLICT)


@pytest.mark.parametrize(
    ("faults", "auth", "code"),
    [
        (LATE | OTHER_REQUEST, {"epoch": 9}, ErrorCode.CLOCK_SKEW),
        (OTHER_REQUEST, {"epoch": 9}, ErrorCode.CHAIN_BROKEN),
        ({"payment_method": new_id()}, {"epoch": 9}, ErrorCode.EPOCH_OUTDATED),
        ({"payment_method": new_id(), "decided_by": "policy"}, None, ErrorCode.PRESENCE_MISSING),
        ({"payment_method": new_id(), "jti": None}, {}, ErrorCode.PAYMENT_METHOD_UNKNOWN),
    ],
)
async def test_of_a_confirmation(
    shared: Bench, faults: Claims, auth: Claims | None, code: ErrorCode
) -> None:
    """``auth`` None: the jack did not hear the lane."""
    payment, _, challenge = await shared.pending()
    used = {"jti": payment} if "jti" in faults else {}
    unheard = {"lane_nonce": None} if auth is None else auth
    compact = shared.devices.confirmation(payment, challenge, auth=unheard, **(faults | used))
    await shared.refused(f"/v1/payments/{payment}/confirmation", compact, code)


#: Faults of a statement from the last that is told on: each comes on top of all those before.
TERMINALS: dict[str, Rungs] = {
    "captures": [
        (TOO_MUCH, ErrorCode.AMOUNT_EXCEEDED),
        (OTHER_CURRENCY, ErrorCode.CHAIN_BROKEN),
    ],
    "cancellation": [],
    "refunds": [
        (TOO_MUCH, ErrorCode.AMOUNT_EXCEEDED),
        (OTHER_CURRENCY, ErrorCode.CHAIN_BROKEN),
    ],
}
OTHER_METHOD: Claims = {"sub": new_id()}
OWNERS: dict[str, Rungs] = {
    "default": [(OTHER_METHOD, ErrorCode.PAYMENT_METHOD_UNKNOWN)],
    "removal": [(OTHER_METHOD, ErrorCode.PAYMENT_METHOD_UNKNOWN)],
    "uncouplings": [
        ({"jack": "A" * 43}, ErrorCode.PAYMENT_METHOD_NOT_COUPLED),
        (OTHER_METHOD, ErrorCode.PAYMENT_METHOD_UNKNOWN),
    ],
    "releases": [({"epoch": 9}, ErrorCode.EPOCH_OUTDATED)],
    "member-removals": [({"epoch": 9}, ErrorCode.EPOCH_OUTDATED)],
}
OTHER_PHONE: Claims = {"phone": "A" * 43}
#: The same of a coupling: of the server's challenge, and of the jack's answer to it.
COUPLING: list[tuple[Claims, Claims, ErrorCode]] = [
    ({}, {}, ErrorCode.STATEMENT_REPLAYED),
    ({}, {"epoch": 9}, ErrorCode.EPOCH_OUTDATED),
    (OTHER_METHOD, {}, ErrorCode.PAYMENT_METHOD_UNKNOWN),
    (LATE, {}, ErrorCode.STATEMENT_EXPIRED),
    (OTHER_PHONE, OTHER_PHONE, ErrorCode.CHAIN_BROKEN),
]
#: What ends a device: a column, its value then, and its value before.
REVOKED = ("revoked_ms", 1, None)
MOVED = ("merchant_id", "other", MERCHANT)
#: What is told of a terminal's orders then.
ENDED: Rungs = [({}, ErrorCode.DEVICE_REVOKED), (LATE, ErrorCode.CLOCK_SKEW)]
#: What a jack's phone asks the time for.
A_JACK = json.dumps({"jack": "A" * 43, "nonce": "A" * 22}).encode()
#: What moves money: a refusal would say that it has not.
OF_PAYMENTS = ("payments", "confirmation", *TERMINALS)
#: What a device that was revoked is told if it sends the same again; None: the same answer.
SENT_AGAIN = [(name, None if name in OF_PAYMENTS else ErrorCode.DEVICE_REVOKED) for name in DOORS]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def scene(module_bench: Bench) -> Scene:
    module_bench.store.write_now(
        lambda c: add_merchant(c, "other", "Other", Presence.PREFER, wall_ms())
    )
    scene = Scene(module_bench)
    await scene.prepare()
    return scene


@contextmanager
def ended(bench: Bench, device: str, end: tuple[str, object, object] = REVOKED) -> Iterator[None]:
    """A device is revoked, or a terminal serves another merchant, while the block runs."""
    column, then, before = end
    tables = ("phones", "jacks", "terminals")
    table = next(t for t in tables if bench.rows(f"SELECT id FROM {t} WHERE id = ?", device))
    change = f"UPDATE {table} SET {column} = ? WHERE id = ?"
    bench.store.write_now(lambda c: execute(c, change, then, device))
    try:
        yield
    finally:
        bench.store.write_now(lambda c: execute(c, change, before, device))


async def climbed(bench: Bench, door: Door, rungs: Rungs) -> Door:
    """The door with all faults of ``rungs``, the newest of which was told each time."""
    for faults, code in rungs:
        claims = door.claims | faults
        path = door.path.replace(door.claims["sub"], claims["sub"])
        door = replace(door, path=path, claims=claims)
        await bench.refused(door.path, door.sealed(), code)
    return door


@pytest.mark.parametrize("end", [REVOKED, MOVED])
@pytest.mark.parametrize("name", TERMINALS)
async def test_of_what_a_terminal_orders(
    scene: Scene, name: str, end: tuple[str, object, object]
) -> None:
    bench, door = scene.bench, await scene.door(name)
    payment, request = scene.held if name == "refunds" else scene.paid
    rungs: Rungs = [
        ({"jti": payment}, ErrorCode.STATEMENT_REPLAYED),
        *TERMINALS[name],
        ({"sub": payment, "prev": digest(request)}, ErrorCode.PAYMENT_STATE),
        (OTHER_REQUEST, ErrorCode.CHAIN_BROKEN),
    ]
    door = await climbed(bench, door, rungs)
    with ended(bench, door.claims["iss"], end):
        door = await climbed(bench, door, ENDED)
    stranger = await bench.enrolled(Role.TERMINAL)
    with ended(bench, stranger.key.kid, end):
        door = replace(door, signer=stranger)
        await climbed(bench, door, [({"iss": stranger.key.kid}, ErrorCode.PAYMENT_UNKNOWN)])


@pytest.mark.parametrize("name", OWNERS)
async def test_of_what_an_owner_orders(scene: Scene, name: str) -> None:
    bench, door = scene.bench, await scene.door(name)
    rungs: Rungs = [({"jti": used_by(scene)}, ErrorCode.STATEMENT_REPLAYED), *OWNERS[name]]
    door = await climbed(bench, door, [*rungs, (LATE, ErrorCode.CLOCK_SKEW)])
    with ended(bench, door.claims["iss"]):
        await climbed(bench, door, [({}, ErrorCode.DEVICE_REVOKED)])


def used_by(scene: Scene) -> str:
    """The id of a statement that has taken effect."""
    return str(scene.bench.rows("SELECT id FROM instructions")[0][0])


@pytest.mark.parametrize("name", ["default", "removal"])
async def test_another_method_in_the_address_comes_before_all(scene: Scene, name: str) -> None:
    door = await scene.door(name)
    compact = door.sealed(LATE | OTHER_METHOD)
    await scene.bench.refused(door.path, compact, ErrorCode.CHAIN_BROKEN)


async def test_of_a_coupling(scene: Scene) -> None:
    bench, car, path = scene.bench, scene.car, "/v1/couplings"
    challenge = dict(unverified_claims((await asked(bench, car)).text))
    server, answer, jti = bench.folder.keys.signer("signing"), dict[str, Any](), used_by(scene)
    for faults, answered, code in COUPLING:
        challenge, answer = challenge | faults, answer | answered
        compact = seal(challenge, server, CouplingChallenge.TYP)
        await bench.refused(path, car.coupling(compact, answer=answer, jti=jti), code)
    late = car.coupling(compact, answer=answer, jti=jti, **LATE)
    await bench.refused(path, late, ErrorCode.CLOCK_SKEW)
    with ended(bench, car.phone.key.kid):
        await bench.refused(path, late, ErrorCode.DEVICE_REVOKED)
        other = car.coupling(compact, answer=answer | OTHER_REQUEST, jti=jti, **LATE)
        await bench.refused(path, other, ErrorCode.CHAIN_BROKEN)


async def test_a_members_release_once_the_owner_is_revoked(scene: Scene) -> None:
    door = replace(await scene.door("releases"), signer=scene.member)
    with ended(scene.bench, scene.car.phone.key.kid):
        by_member = {"iss": scene.member.key.kid, "jti": used_by(scene)}
        rungs: Rungs = [
            (by_member, ErrorCode.DEVICE_REVOKED),
            ({"epoch": 9}, ErrorCode.EPOCH_OUTDATED),
        ]
        await climbed(scene.bench, door, rungs)


async def taken(scene: Scene, name: str) -> tuple[Door, str, Response]:
    """A door, a statement that has taken effect there, and how it was answered."""
    bench = scene.bench
    await bench.clear()
    door = await scene.door(name)
    code = {"code": bench.enrolment_code(Role.PHONE)} if name == "enrolments" else {}
    compact, wait_s = door.sealed(code), 0 if name == "payments" else 20
    answer = await bench.post(door.path, compact, prefer=f"wait={wait_s}")
    assert answer.is_success, answer.text
    return door, compact, answer


@pytest.mark.parametrize(("name", "code"), SENT_AGAIN)
async def test_a_revoked_device_that_sends_the_same_again_is_told_of_payments_alone(
    scene: Scene, name: str, code: ErrorCode | None
) -> None:
    bench = scene.bench
    door, compact, first = await taken(scene, name)
    before = bench.row_counts()
    with ended(bench, door.signer.key.kid):
        revoked = await bench.post(door.path, compact)
    again = await bench.post(door.path, compact)
    assert (again.status_code, again.json()) == (200, first.json())
    if code is None:
        assert (revoked.status_code, revoked.json()) == (200, first.json())
    else:
        check_problem(revoked, code)
    assert bench.row_counts() == before
    await bench.clear()
    await scene.mend(name)


async def test_a_pairing_that_is_sent_again_is_refused_once_its_jack_is_revoked(
    scene: Scene,
) -> None:
    door, compact, _ = await taken(scene, "pairings")
    with ended(scene.bench, door.claims["sub"]):
        await scene.bench.refused(door.path, compact, ErrorCode.DEVICE_REVOKED)
    await scene.mend("pairings")


@pytest.mark.parametrize("faults", [{}, LATE, OTHER_REQUEST])
async def test_a_revoked_phone_does_not_learn_from_a_new_decline_how_a_payment_stands(
    scene: Scene, faults: Claims
) -> None:
    bench, owner, member = scene.bench, scene.car, copy(scene.car)
    member.phone = scene.member
    payment = (await bench.post("/v1/payments", owner.request())).json()["id"]
    await declines_once_revoked(bench, payment, member, faults)
    approval = owner.confirmation(payment, challenge_of(bench, payment, owner))
    assert (await bench.confirm(payment, approval)).json()["status"] == "captured"
    for phone in (owner, member):
        await declines_once_revoked(bench, payment, phone, faults)


async def declines_once_revoked(bench: Bench, payment: str, who: Devices, faults: Claims) -> None:
    decline = who.decline(payment, challenge_of(bench, payment, who), **faults)
    with ended(bench, who.phone.key.kid):
        path = f"/v1/payments/{payment}/confirmation"
        await bench.refused(path, decline, ErrorCode.DEVICE_REVOKED)


@pytest.mark.parametrize("faults", [{}, LATE])
async def test_a_revoked_terminal_does_not_learn_which_payments_others_have(
    shared: Bench, faults: Claims
) -> None:
    payment, _, _ = await shared.pending()
    other = Devices(shared.devices.identity, terminal=await shared.enrolled(Role.TERMINAL))
    other.jack_beacon = shared.devices.jack_beacon
    with ended(shared, other.terminal.key.kid):
        for jti in (payment, new_id()):
            request = other.request(jti=jti, sub=jti, **faults)
            await shared.refused("/v1/payments", request, ErrorCode.DEVICE_REVOKED)


@pytest.mark.parametrize("role", [Role.TERMINAL, Role.PHONE])
async def test_a_revoked_device_looks_nothing_up(scene: Scene, role: Role) -> None:
    bench, payment = scene.bench, f"/v1/payments/{scene.paid[0]}"
    signer = getattr(bench.devices, role.value)
    paths = ["/v1/payments", payment, f"{payment}/refunds", f"{payment}/refunds/{new_id()}"]
    if role is Role.PHONE:
        paths += ["/v1/payment-methods", "/v1/jacks", "/v1/events"]
    with ended(bench, signer.key.kid):
        for path in paths:
            check_problem(await bench.get(path, signer), ErrorCode.DEVICE_REVOKED)
        if role is Role.PHONE:
            check_problem(await tell_time(bench, A_JACK), ErrorCode.DEVICE_REVOKED)
            check_problem(await asked(bench), ErrorCode.DEVICE_REVOKED)
