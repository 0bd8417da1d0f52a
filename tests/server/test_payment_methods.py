"""Payment methods: one is the default, one is removed, and the transaction that pays knows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.registry import revoke
from server.state import StateFolder
from tests.server.bench import Bench, check_problem, copied, running
from tests.server.devices import Devices, new_id, now_s, seal
from tests.server.stripe_peer import KEY, Wire, lost
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.statements import Role
from twochannel.trace import wall_ms


async def listed(bench: Bench) -> list[tuple[str, bool]]:
    """Each method, and whether it is the default."""
    answer = await bench.get("/v1/payment-methods", bench.devices.phone)
    return [(item["id"], item["default"]) for item in answer.json()["items"]]


def path(method: str, what: str) -> str:
    return f"/v1/payment-methods/{method}/{what}"


async def removed(bench: Bench, method: str) -> None:
    answer = await bench.post(path(method, "removal"), bench.devices.method_removal(method))
    assert answer.status_code == 200, answer.text
    assert answer.json()["removed_ms"]


async def test_the_first_is_the_default_until_another_is_chosen(bench: Bench) -> None:
    first = bench.devices.method_id
    second = await bench.add_method("tok_success")
    assert await listed(bench) == [
        (first, True),
        (second, False),
    ]
    answer = await bench.post(path(second, "default"), bench.devices.method_default(second))
    assert (answer.status_code, answer.json()["default"]) == (200, True)
    assert await listed(bench) == [
        (second, True),
        (first, False),
    ]
    await removed(bench, second)
    assert await listed(bench) == [(first, True)]


@pytest.mark.parametrize(
    "changes",
    [
        {"token": "4242424242424242"},
        {"token": "tok_success_3782-822463-10005"},
        {"label": "5555555555554444"},
        {"label": "Visa 4242 4242 4242 4242"},
    ],
)
async def test_what_looks_like_a_card_number_is_not_stored(
    bench: Bench, changes: dict[str, str]
) -> None:
    compact = seal(
        bench.devices.method_claims(**changes), bench.devices.phone, "payment-method+jwt"
    )
    await bench.refused("/v1/payment-methods", compact, ErrorCode.CLAIM_INVALID)
    (name,) = changes
    answer = await bench.post("/v1/payment-methods", compact)
    assert answer.json()["detail"] == f"claim {name}: card_number"


async def test_nothing_is_paid_with_a_method_that_was_removed(bench: Bench) -> None:
    payment, _, challenge = await bench.pending()
    await removed(bench, bench.devices.method_id)
    confirmation = bench.devices.confirmation(payment, challenge)
    answer = await bench.confirm(payment, confirmation)
    check_problem(answer, ErrorCode.PAYMENT_METHOD_UNKNOWN)
    assert bench.orders(payment) == 0
    bench.devices.method_id = await bench.add_method("tok_success")
    answer = await bench.confirm(payment, bench.devices.confirmation(payment, challenge))
    assert answer.json()["status"] == "captured"


async def test_what_is_held_is_captured_after_its_method_was_removed(bench: Bench) -> None:
    payment, request = await bench.held()
    await removed(bench, bench.devices.method_id)
    capture = bench.devices.capture(request, 4217)
    answer = await bench.post(f"/v1/payments/{payment}/captures", capture, prefer="wait=20")
    assert answer.json()["status"] == "captured", answer.text


@pytest.mark.parametrize("what", ["default", "removal"])
async def test_the_same_statement_again_is_answered_and_changes_nothing(
    bench: Bench, what: str
) -> None:
    method, devices = bench.devices.method_id, bench.devices
    make = devices.method_default if what == "default" else devices.method_removal
    compact = make(method)
    first = await bench.post(path(method, what), compact)
    await bench.add_method("tok_success")
    before = bench.row_counts()
    again = await bench.post(path(method, what), compact)
    assert (again.status_code, again.json()) == (200, first.json())
    assert bench.row_counts() == before


@pytest.mark.parametrize("what", ["default", "removal"])
async def test_what_is_refused(bench: Bench, what: str) -> None:
    devices, method = bench.devices, bench.devices.method_id
    make = devices.method_default if what == "default" else devices.method_removal
    foreign = (await bench.other_car()).method_id
    for unknown in (foreign, new_id()):
        await bench.refused(path(unknown, what), make(unknown), ErrorCode.PAYMENT_METHOD_UNKNOWN)
    for changes, code in (
        ({"iat": now_s() - 100}, ErrorCode.CLOCK_SKEW),
        ({"iat": now_s() - 2, "exp": now_s() - 1}, ErrorCode.STATEMENT_EXPIRED),
        ({"sub": "x"}, ErrorCode.CLAIM_INVALID),
        ({"sub": foreign}, ErrorCode.CHAIN_BROKEN),
        ({"aud": devices.phone.key.kid}, ErrorCode.AUDIENCE_WRONG),
        ({"iss": devices.jack.key.kid}, ErrorCode.ISSUER_WRONG),
    ):
        await bench.refused(path(method, what), make(method, **changes), code)
    other = devices.method_removal if what == "default" else devices.method_default
    await bench.refused(path(method, what), other(method), ErrorCode.STATEMENT_TYPE_WRONG)
    used = new_id()
    assert (await bench.post(path(method, what), make(method, jti=used))).status_code == 200
    second = await bench.add_method("tok_success")
    again = make(second, jti=used)
    await bench.refused(path(second, what), again, ErrorCode.STATEMENT_REPLAYED)
    bench.store.write_now(lambda c: revoke(c, Role.PHONE, devices.phone.key.kid, wall_ms()))
    await bench.refused(path(second, what), make(second), ErrorCode.DEVICE_REVOKED)


async def test_a_method_that_was_removed_cannot_be_chosen(bench: Bench) -> None:
    method = bench.devices.method_id
    await removed(bench, method)
    for what, make in (
        ("default", bench.devices.method_default),
        ("removal", bench.devices.method_removal),
    ):
        await bench.refused(path(method, what), make(method), ErrorCode.PAYMENT_METHOD_UNKNOWN)


async def test_stripe_forgets_what_was_removed_and_need_not_answer(
    prepared: tuple[StateFolder, Devices], tmp_path: Path, wire: Wire
) -> None:
    folder, devices = copied(prepared, tmp_path / "server")
    async with running(
        folder, devices, processor="stripe", stripe_key=KEY, stripe_url=wire.url
    ) as bench:
        for faults in ([], [lost]):
            method = await bench.add_method("pm_card_visa")
            wire.requests.clear()
            wire.faults += faults
            await removed(bench, method)
            (request,) = wire.requests
            assert request.startswith("POST /v1/payment_methods/pm_")
            assert request.endswith("/detach")
