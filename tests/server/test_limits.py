"""Limits at the doors of a running server: 429 with Retry-After, and honest devices go on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner
from starlette.requests import Request

from payment_device.cli import main as payment_device
from phone_agent.cli import main as phone_agent
from server.cli import main
from server.routes.enrolments import address_of
from server.store import database_url
from tests.adversaries.scene import findings
from tests.server.bench import Bench, Prepared, check_problem, copied, running, running_on
from tests.server.devices import Devices, new_signer, now_s, seal
from twochannel.protocol.envelope import unverified_claims
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.limits import FAILURE_WINDOW_S
from twochannel.protocol.statements import AuthCode, Confirmation, Role


@pytest.fixture
async def strict(database: str, prepared: Prepared, tmp_path: Path) -> AsyncIterator[Bench]:
    """A server that lets little through, on either kind of database."""
    async with running_on(
        database,
        prepared,
        tmp_path / "server",
        prompts_per_jack=3,
        denials_per_terminal=5,
        unknown_codes_per_terminal=4,
        failed_confirmations_per_phone=3,
        failed_enrolments_per_address=3,
    ) as bench:
        yield bench
    assert findings(bench.folder) == []


def check_limit(answer: httpx.Response, code: ErrorCode, window_s: int = 900) -> None:
    check_problem(answer, code)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= window_s


async def decline(bench: Bench, devices: Devices | None = None) -> None:
    device = devices or bench.devices
    answer = await bench.post("/v1/payments", device.request())
    assert answer.status_code == 201, answer.text
    payment = answer.json()["id"]
    challenge = bench.statement(payment, "challenge+jwt")
    answer = await bench.confirm(payment, device.decline(payment, challenge))
    assert answer.json()["status"] == "declined"


async def test_an_owner_is_asked_three_times_and_others_go_on_paying(strict: Bench) -> None:
    for _ in range(3):
        await decline(strict)
    check_limit(
        await strict.post("/v1/payments", strict.devices.request()), ErrorCode.JACK_PROMPTED, 300
    )
    car = await strict.other_car()
    assert (await strict.post("/v1/payments", car.request())).status_code == 201


async def test_a_burst_of_prompts_from_many_terminals_reaches_the_owner_three_times(
    strict: Bench,
) -> None:
    """Each of them acts as if it were the only one; the jack's limit is the server's."""
    signers = [await strict.enrolled(Role.TERMINAL) for _ in range(6)]
    gang = [Devices(strict.devices.identity, terminal=signer) for signer in signers]
    asked = 0
    for member in gang:
        request = member.request(code=strict.devices.code())
        answer = await strict.post("/v1/payments", request)
        if answer.status_code == 201:
            asked += 1
            path = f"/v1/payments/{answer.json()['id']}/cancellation"
            assert (await strict.post(path, member.cancel(request))).status_code == 200
        else:
            check_limit(answer, ErrorCode.JACK_PROMPTED, 300)
    assert asked == 3


async def test_a_terminal_that_is_declined_again_and_again_is_throttled(strict: Bench) -> None:
    first, second = await strict.other_car(), await strict.other_car()
    for car in (first, first, first, second, second):
        await decline(strict, car)
    request = strict.devices.request()
    check_limit(await strict.post("/v1/payments", request), ErrorCode.TERMINAL_THROTTLED)
    other = Devices(strict.devices.identity, terminal=await strict.enrolled(Role.TERMINAL))
    elsewhere = other.request(code=strict.devices.code())
    assert (await strict.post("/v1/payments", elsewhere)).status_code == 201


async def test_codes_are_not_guessed_for_long(strict: Bench) -> None:
    for guess in ("00" * 8, "11" * 8, "zz", "22" * 8):
        answer = await strict.post("/v1/payments", strict.devices.request(code=guess))
        check_problem(answer, ErrorCode.CODE_UNKNOWN)
    for code in ("33" * 8, strict.devices.code()):
        answer = await strict.post("/v1/payments", strict.devices.request(code=code))
        check_limit(answer, ErrorCode.TOO_MANY_CODES, FAILURE_WINDOW_S)
    assert len(strict.rows("SELECT * FROM failures")) == 4
    strict.store.write_now(lambda c: c.exec_driver_sql("UPDATE failures SET at_ms = 1"))
    assert (await strict.post("/v1/payments", strict.devices.request())).status_code == 201


async def test_a_stranger_cannot_use_up_the_allowance_of_a_terminal(strict: Bench) -> None:
    claims = strict.devices.request_claims(code="00" * 8)
    forged = seal(claims, new_signer(), "payment-request+jwt", kid=strict.devices.terminal.key.kid)
    for _ in range(6):
        check_problem(await strict.post("/v1/payments", forged), ErrorCode.SIGNATURE_INVALID)
    assert strict.rows("SELECT * FROM failures") == []


async def test_a_phone_with_wrong_confirmations_approves_nothing_for_a_while(
    strict: Bench,
) -> None:
    payment, _, challenge = await strict.pending()
    path = f"/v1/payments/{payment}/confirmation"
    for counter in (10**6, 10**6 + 1, 10**6 + 2):
        wrong = strict.devices.confirmation(
            payment, challenge, auth={"counter": counter, "prev": "A" * 43}
        )
        check_problem(await strict.post(path, wrong), ErrorCode.CHAIN_BROKEN)
    good = strict.devices.confirmation(payment, challenge)
    check_limit(await strict.post(path, good), ErrorCode.TOO_MANY_CONFIRMATIONS, FAILURE_WINDOW_S)
    # What its owner does not want, it can still say.
    declined = strict.devices.decline(payment, challenge)
    assert (await strict.post(path, declined)).json()["status"] == "declined"


async def test_somebody_else_cannot_block_a_phone(strict: Bench) -> None:
    payment, _, challenge = await strict.pending()
    path = f"/v1/payments/{payment}/confirmation"
    claims = strict.devices.confirmation_claims(payment, challenge)
    forged = seal(claims, new_signer(), Confirmation.TYP, kid=strict.devices.phone.key.kid)
    stranger = await strict.enrolled(Role.PHONE)
    other = seal(claims | {"iss": stranger.key.kid}, stranger, Confirmation.TYP)
    for _ in range(4):
        check_problem(await strict.post(path, forged), ErrorCode.SIGNATURE_INVALID)
        await strict.post(path, other)
    answer = await strict.confirm(payment, strict.devices.confirmation(payment, challenge))
    assert answer.json()["status"] == "captured"


async def test_sending_a_phones_confirmations_again_does_not_block_it(strict: Bench) -> None:
    devices = strict.devices
    used, _, challenge = await strict.pending()
    genuine = devices.confirmation(used, challenge)
    assert (await strict.confirm(used, genuine)).json()["status"] == "captured"
    payment, _, challenge = await strict.pending()
    past: dict[str, Any] = {"iat": now_s() - 3600, "exp": now_s() - 3500}
    strange: dict[str, Any] = {
        "auth_code": seal(
            devices.auth_code_claims({"sub": payment}, challenge), new_signer(), AuthCode.TYP
        )
    }
    late = devices.confirmation(payment, challenge, **past, **strange)
    for number in range(4):
        unknown = f"/v1/payments/{number:036}/confirmation"
        check_problem(await strict.post(unknown, genuine), ErrorCode.PAYMENT_UNKNOWN)
        path = f"/v1/payments/{payment}/confirmation"
        check_problem(await strict.post(path, genuine), ErrorCode.CHAIN_BROKEN)
        check_problem(await strict.post(path, late), ErrorCode.KEY_UNKNOWN)
        assert (await strict.confirm(used, genuine)).json()["status"] == "captured"
    assert strict.rows("SELECT * FROM failures") == []
    answer = await strict.confirm(payment, devices.confirmation(payment, challenge))
    assert answer.json()["status"] == "captured"


async def test_an_address_that_guesses_enrolment_codes_waits(strict: Bench) -> None:
    devices = strict.devices
    for _ in range(3):
        guess = devices.enrolment(new_signer(), Role.PHONE, "A" * 22)
        check_problem(await strict.post("/v1/enrolments", guess), ErrorCode.ENROLMENT_CODE_REFUSED)
    code = strict.enrolment_code(Role.PHONE)
    signer = new_signer()
    answer = await strict.post("/v1/enrolments", devices.enrolment(signer, Role.PHONE, code))
    check_limit(answer, ErrorCode.TOO_MANY_ENROLMENTS, FAILURE_WINDOW_S)
    lifted = command(strict, "lift", "127.0.0.1")
    assert lifted.exit_code == 0, lifted.stderr
    answer = await strict.post("/v1/enrolments", devices.enrolment(signer, Role.PHONE, code))
    assert answer.status_code == 201


async def test_where_limits_stand_in_the_order_of_refusals(strict: Bench) -> None:
    """As docs/protocol.md has it: each refusal here has a second reason that comes later."""
    devices = strict.devices
    await decline(strict)
    await decline(strict)
    payment, request, challenge = await strict.pending()  # the third prompt
    await strict.refused("/v1/payments", devices.request(), ErrorCode.TERMINAL_BUSY)
    other = Devices(devices.identity, terminal=await strict.enrolled(Role.TERMINAL))
    elsewhere = other.request(code=devices.code())
    await strict.refused("/v1/payments", elsewhere, ErrorCode.JACK_BUSY)
    await strict.confirm(payment, devices.decline(payment, challenge))
    used = {"lane_digest": unverified_claims(request)["lane_digest"]}
    await strict.refused("/v1/payments", devices.request(**used), ErrorCode.JACK_PROMPTED)

    for _ in range(4):
        guess = devices.request(code="00" * 8)
        await strict.refused("/v1/payments", guess, ErrorCode.CODE_UNKNOWN)
    await strict.refused("/v1/payments", guess, ErrorCode.TOO_MANY_CODES)
    strange = devices.request(code="00" * 8, lane="Lane 9")
    await strict.refused("/v1/payments", strange, ErrorCode.CLAIM_INVALID)


async def test_a_throttled_terminal_is_not_told_which_codes_are_in_use(strict: Bench) -> None:
    cars = [await strict.other_car() for _ in range(3)]
    for car in (*cars, *cars[:2]):
        await decline(strict, car)
    for code in ("00" * 8, strict.devices.code()):
        guess = strict.devices.request(code=code)
        await strict.refused("/v1/payments", guess, ErrorCode.TERMINAL_THROTTLED)


async def test_a_phone_over_its_limit_is_not_told_how_a_payment_stands(strict: Bench) -> None:
    devices = strict.devices
    payment, _, challenge = await strict.pending()
    path = f"/v1/payments/{payment}/confirmation"
    for _ in range(3):
        wrong = devices.confirmation(payment, challenge, auth={"prev": "A" * 43})
        await strict.refused(path, wrong, ErrorCode.CHAIN_BROKEN)
    await strict.post(path, devices.decline(payment, challenge))
    late: dict[str, Any] = {"iat": now_s() - 3600, "exp": now_s() - 3500}
    slow = devices.confirmation(payment, challenge, **late)
    await strict.refused(path, slow, ErrorCode.CLOCK_SKEW)
    good = devices.confirmation(payment, challenge)
    await strict.refused(path, good, ErrorCode.TOO_MANY_CONFIRMATIONS)


async def test_replicas_count_together(prepared: Prepared, tmp_path: Path) -> None:
    """A failure at one server of a database counts at the other, and outlives both."""
    first, second = (copied(prepared, tmp_path / name) for name in ("first", "second"))
    database = database_url(first[0].path)
    async with (
        running(*first, database=database, unknown_codes_per_terminal=4) as one,
        running(*second, database=database, unknown_codes_per_terminal=4) as other,
    ):
        for bench in (one, other, one, other):
            guess = one.devices.request(code="00" * 8)
            check_problem(await bench.post("/v1/payments", guess), ErrorCode.CODE_UNKNOWN)
        for bench in (one, other):
            check_limit(
                await bench.post("/v1/payments", one.devices.request()), ErrorCode.TOO_MANY_CODES
            )
    async with running(*first, unknown_codes_per_terminal=4) as again:
        request = again.devices.request()
        check_limit(await again.post("/v1/payments", request), ErrorCode.TOO_MANY_CODES)


@pytest.mark.parametrize("party", [phone_agent, payment_device])
async def test_who_enrols_is_told_when_to_come_back(
    strict: Bench, tmp_path: Path, party: click.Command
) -> None:
    code = f"CE1:{strict.folder.keys.signer('signing').key.kid}:{'A' * 22}"
    arguments = ["--state", str(tmp_path / "device"), "enroll", strict.url, code]
    for _ in range(4):
        result = await asyncio.to_thread(CliRunner().invoke, party, arguments)
        assert result.exit_code == 1
    told = re.fullmatch(
        "Too many wrong enrolment codes came from this address; try again in ([0-9]+) s\n"
        "Wait as long as the answer says, then copy the code whole.\n",
        result.stderr,
    )
    assert told is not None, result.stderr
    assert 0 < int(told[1]) <= FAILURE_WINDOW_S


def command(bench: Bench, *arguments: str) -> Any:
    return CliRunner().invoke(main, ["--state", str(bench.folder.path), "limits", *arguments])


async def test_the_operator_sees_whose_failures_count(strict: Bench) -> None:
    assert "Nobody" in command(strict, "list").stderr
    await strict.post("/v1/payments", strict.devices.request(code="00" * 8))
    terminal = strict.devices.terminal.key.kid
    assert terminal in command(strict, "list").stdout
    assert '"count": 1' in command(strict, "list", "--json").stdout
    assert '"forgotten": 1' in command(strict, "lift", terminal, "--json").stdout
    assert command(strict, "lift", terminal).exit_code == 1


async def test_the_sweeper_forgets_what_counts_no_more(strict: Bench) -> None:
    await strict.post("/v1/payments", strict.devices.request(code="00" * 8))
    strict.store.write_now(lambda c: c.exec_driver_sql("UPDATE failures SET at_ms = 1"))
    async with asyncio.timeout(20):
        while strict.rows("SELECT * FROM failures"):
            await strict.http.get("/healthz")


async def test_a_device_that_asks_without_end_is_told_when_to_come_back(bench: Bench) -> None:
    device, path = bench.devices.terminal, f"/v1/payments/{'0' * 36}"
    for _ in range(1000):
        answer = await bench.get(path, device)
        if answer.status_code == 429:
            break
    else:
        answer = await bench.get(path, device)
    check_limit(answer, ErrorCode.TOO_MANY_REQUESTS, 121)
    assert (await bench.get("/v1/payments", bench.devices.phone)).status_code == 200


@pytest.mark.parametrize(
    ("host", "subject"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:f::6", "2001:db8:1:2::/64"),
        ("2001:db8:1:3:3:4:5:6", "2001:db8:1:3::/64"),
        ("fe80::1", "fe80::1"),
        ("fe80::2%eth0", "fe80::2%eth0"),
        ("testclient", "testclient"),
        (None, "local"),
    ],
)
def test_an_address_stands_for_a_household(host: str | None, subject: str) -> None:
    client = (host, 1234) if host else None
    scope: dict[str, Any] = {
        "type": "http",
        "client": client,
        "headers": [],
        "method": "POST",
        "path": "/",
    }
    assert address_of(Request(scope)) == subject
