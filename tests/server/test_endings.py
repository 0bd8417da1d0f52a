"""What ends while a payment would use it: each end is judged inside that payment's transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from server.audit_records import read_records
from server.auditor import audit
from server.registry import add_merchant, revoke
from tests.server.bench import Bench, check_problem, make_folder, running
from tests.server.devices import Devices, new_signer
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.statements import Presence, Role
from twochannel.trace import wall_ms


@pytest.fixture
async def bench(tmp_path: Path, database: str) -> AsyncIterator[Bench]:
    """A server on either kind of database."""
    folder = make_folder(tmp_path / "server", database=database)
    async with running(folder, database=database) as bench:
        bench.store.write_now(
            lambda c: add_merchant(c, "other", "Other", Presence.PREFER, wall_ms())
        )
        await bench.enrol()
        yield bench


async def remove_method(bench: Bench) -> None:
    method = bench.devices.method_id
    compact = bench.devices.method_removal(method)
    answer = await bench.post(f"/v1/payment-methods/{method}/removal", compact)
    assert answer.status_code == 200, answer.text


async def release_jack(bench: Bench) -> None:
    answer = await bench.post("/v1/releases", bench.devices.release())
    assert answer.status_code == 200, answer.text


async def sell_jack(bench: Bench) -> None:
    """The buyer, who has it at hand, pairs it with a phone of their own."""
    devices = bench.devices
    buyer = Devices(devices.identity, jack=devices.jack, phone=await bench.enrolled(Role.PHONE))
    buyer.jack_beacon, buyer.epoch = devices.jack_beacon, devices.epoch + 1
    answer = await bench.post("/v1/pairings", buyer.acceptance())
    assert answer.status_code == 201, answer.text


async def move_terminal(bench: Bench) -> None:
    """It enrols again, with a code of another merchant."""
    terminal = bench.devices.terminal
    code = bench.enrolment_code(Role.TERMINAL, "other")
    compact = bench.devices.enrolment(terminal, Role.TERMINAL, code)
    answer = await bench.post("/v1/enrolments", compact)
    assert answer.status_code == 200, answer.text


def revoking(role: Role) -> Callable[[Bench], Awaitable[None]]:
    async def end(bench: Bench) -> None:
        devices = bench.devices
        device = {Role.JACK: devices.jack, Role.PHONE: devices.phone}.get(role, devices.terminal)
        await asyncio.to_thread(
            bench.store.write_now, lambda c: revoke(c, role, device.key.kid, wall_ms())
        )

    return end


#: What ends, and why a confirmation that comes after it is refused.
ENDS = [
    pytest.param(remove_method, ErrorCode.PAYMENT_METHOD_UNKNOWN, id="method removed"),
    pytest.param(release_jack, ErrorCode.EPOCH_OUTDATED, id="jack released"),
    pytest.param(sell_jack, ErrorCode.EPOCH_OUTDATED, id="jack sold"),
    pytest.param(move_terminal, ErrorCode.DEVICE_REVOKED, id="terminal moved"),
    pytest.param(revoking(Role.JACK), ErrorCode.DEVICE_REVOKED, id="jack revoked"),
    pytest.param(revoking(Role.PHONE), ErrorCode.DEVICE_REVOKED, id="phone revoked"),
    pytest.param(revoking(Role.TERMINAL), ErrorCode.DEVICE_REVOKED, id="terminal revoked"),
]

End = Callable[[Bench], Awaitable[None]]


@pytest.mark.parametrize(("end", "code"), ENDS)
async def test_nothing_is_confirmed_with_what_has_ended(
    bench: Bench, end: End, code: ErrorCode
) -> None:
    payment, _, challenge = await bench.pending()
    confirmation = bench.devices.confirmation(payment, challenge)
    await end(bench)
    check_problem(await bench.confirm(payment, confirmation), code)
    assert bench.orders(payment) == 0


@pytest.mark.parametrize(("end", "code"), ENDS)
async def test_racing_an_end_has_one_winner(bench: Bench, end: End, code: ErrorCode) -> None:
    payment, _, challenge = await bench.pending()
    confirmation = bench.devices.confirmation(payment, challenge)
    ending = asyncio.ensure_future(end(bench))
    confirmed = await asyncio.gather(*(bench.confirm(payment, confirmation) for _ in range(2)))
    await ending
    statuses = {answer.status_code for answer in confirmed}
    if 200 in statuses:
        # Confirmed first; the other one was answered likewise, or came too late for its phone.
        assert bench.orders(payment) == 1
    else:
        for answer in confirmed:
            check_problem(answer, code)
        assert bench.orders(payment) == 0
    books = bench.folder.path / "processor.sqlite3"
    url = bench.folder.settings().database_at(bench.folder.path)
    records = read_records(url, books, bench.folder.identity(), wall_ms())
    findings = {check.number: check.findings for check in audit(records) if check.findings}
    assert findings == {}


async def test_a_moved_terminal_does_nothing_more_about_what_it_held(bench: Bench) -> None:
    payment, request = await bench.held()
    await move_terminal(bench)
    devices = bench.devices
    for path, compact in (
        ("captures", devices.capture(request, 1)),
        ("cancellation", devices.cancel(request)),
    ):
        await bench.refused(f"/v1/payments/{payment}/{path}", compact, ErrorCode.DEVICE_REVOKED)


async def test_a_jack_that_was_released_is_charged_once_it_is_paired_anew(bench: Bench) -> None:
    devices = bench.devices
    await release_jack(bench)
    await bench.refused("/v1/payments", devices.request(), ErrorCode.CODE_UNKNOWN)
    devices.epoch += 1
    assert (await bench.post("/v1/pairings", devices.acceptance())).status_code == 201
    payment, _, challenge = await bench.pending()
    answer = await bench.confirm(payment, devices.confirmation(payment, challenge))
    assert answer.json()["status"] == "captured"


async def test_a_phone_lists_its_jacks_and_lets_go_of_its_own_alone(bench: Bench) -> None:
    devices, other = bench.devices, await bench.other_car()
    second = Devices(devices.identity, phone=devices.phone)
    assert (await bench.post("/v1/pairings", second.acceptance())).status_code == 201
    items = (await bench.get("/v1/jacks", devices.phone)).json()["items"]
    assert [item["jack"] for item in items] == [devices.jack.key.kid, second.jack.key.kid]
    for changes in (
        {"sub": other.jack.key.kid},
        {"sub": new_signer().key.kid},
        {"epoch": devices.epoch + 1},
    ):
        compact = devices.release(**changes)
        await bench.refused("/v1/releases", compact, ErrorCode.EPOCH_OUTDATED)
    compact = devices.release()
    first = await bench.post("/v1/releases", compact)
    assert first.json()["released_ms"]
    assert (await bench.post("/v1/releases", compact)).json() == first.json()
    await bench.refused("/v1/releases", devices.release(), ErrorCode.EPOCH_OUTDATED)
    items = (await bench.get("/v1/jacks", devices.phone)).json()["items"]
    assert [item["jack"] for item in items] == [second.jack.key.kid]
