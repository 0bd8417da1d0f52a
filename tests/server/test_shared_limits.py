"""Limits of servers that share a database: what is counted at one is refused at the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.postgresql import Postgresql
from tests.server.bench import check_problem
from tests.server.devices import Devices, new_signer
from tests.server.process import command
from tests.server.replicas import replicas
from tests.server.test_limits import check_limit, decline
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.limits import DENIAL_WINDOW_S, FAILURE_WINDOW_S, PROMPT_WINDOW_S
from twochannel.protocol.statements import Role

pytestmark = pytest.mark.postgresql


async def test_an_owner_is_not_asked_anew_at_another_server(
    postgresql: Postgresql, tmp_path: Path
) -> None:
    """By terminals that ask for the first time: what is over its limit is the jack."""
    async with replicas(postgresql, tmp_path, prompts_per_jack=3) as (one, other):
        devices = one.devices
        signers = [await one.enrolled(Role.TERMINAL) for _ in range(5)]
        gang = [Devices(devices.identity, terminal=signer) for signer in signers]
        for bench, member in zip((one, other, one), gang, strict=False):
            request = member.request(code=devices.code())
            answer = await bench.post("/v1/payments", request)
            assert answer.status_code == 201, answer.text
            path = f"/v1/payments/{answer.json()['id']}/cancellation"
            assert (await bench.post(path, member.cancel(request))).status_code == 200
        for bench, member in zip((other, one), gang[3:], strict=True):
            answer = await bench.post("/v1/payments", member.request(code=devices.code()))
            check_limit(answer, ErrorCode.JACK_PROMPTED, PROMPT_WINDOW_S)


async def test_a_terminal_that_is_throttled_at_one_server_is_so_at_the_other(
    postgresql: Postgresql, tmp_path: Path
) -> None:
    async with replicas(postgresql, tmp_path, denials_per_terminal=3, prompts_per_jack=100) as (
        one,
        other,
    ):
        for bench in (one, other, one):
            await decline(bench)
        for bench in (other, one):
            answer = await bench.post("/v1/payments", one.devices.request())
            check_limit(answer, ErrorCode.TERMINAL_THROTTLED, DENIAL_WINDOW_S)
        honest = Devices(one.devices.identity, terminal=await one.enrolled(Role.TERMINAL))
        elsewhere = honest.request(code=one.devices.code())
        assert (await other.post("/v1/payments", elsewhere)).status_code == 201


async def test_codes_are_not_guessed_anew_at_another_server(
    postgresql: Postgresql, tmp_path: Path
) -> None:
    async with replicas(postgresql, tmp_path, unknown_codes_per_terminal=3) as (one, other):
        for bench in (one, other, one):
            guess = one.devices.request(code="00" * 8)
            check_problem(await bench.post("/v1/payments", guess), ErrorCode.CODE_UNKNOWN)
        for bench in (other, one):
            answer = await bench.post("/v1/payments", one.devices.request())
            check_limit(answer, ErrorCode.TOO_MANY_CODES, FAILURE_WINDOW_S)


async def test_an_address_that_guesses_enrolment_codes_waits_at_every_server(
    postgresql: Postgresql, tmp_path: Path
) -> None:
    """Until the operator lets it try again, with a command at any of them."""
    async with replicas(postgresql, tmp_path, failed_enrolments_per_address=3) as (one, other):
        signer, code = new_signer(), one.enrolment_code(Role.PHONE)
        for bench in (one, other, one):
            guess = one.devices.enrolment(new_signer(), Role.PHONE, "A" * 22)
            answer = await bench.post("/v1/enrolments", guess)
            check_problem(answer, ErrorCode.ENROLMENT_CODE_REFUSED)
        good = one.devices.enrolment(signer, Role.PHONE, code)
        for bench in (other, one):
            answer = await bench.post("/v1/enrolments", good)
            check_limit(answer, ErrorCode.TOO_MANY_ENROLMENTS, FAILURE_WINDOW_S)
        assert command(one.folder.path, "limits", "lift", "127.0.0.1").returncode == 0
        assert (await other.post("/v1/enrolments", good)).status_code == 201
