"""Who is revoked while its look-up waits is told no more (docs/decisions/0028)."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from click.testing import CliRunner

from server.cli import main
from tests.ports import free_port
from tests.server.bench import DEADLINE_S, Bench, Prepared, check_problem, running
from tests.server.sql import execute
from tests.server.test_operating import figures
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.statements import Role


async def told_though_revoked(bench: Bench, port: int, path: str, role: Role) -> httpx.Response:
    """What a device is told that waits for an outcome, is revoked, and hears its wait's end.

    ``port``: where the server tells how many wait.
    """
    signer = getattr(bench.devices, role.value)
    answer = asyncio.create_task(bench.get(path, signer, prefer="wait=10"))
    async with asyncio.timeout(DEADLINE_S):
        while (await asyncio.to_thread(figures, port))["cigarjack_waits"] != 1:
            assert not answer.done()
    operate(bench, "revoke", role.value, signer.key.kid)
    if "refunds" not in path:
        operate(bench, "payments", "cancel", path.rpartition("/")[2])
    return await answer


def operate(bench: Bench, *arguments: str) -> None:
    result = CliRunner().invoke(main, ["--state", str(bench.folder.path), *arguments])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("role", [Role.TERMINAL, Role.PHONE])
async def test_who_is_revoked_while_it_waits_is_not_told_of_the_payment(
    stopped: Prepared, role: Role
) -> None:
    port = free_port()
    async with running(*stopped, database=stopped[0].settings().database, metrics_port=port) as own:
        payment, _, _ = await own.pending()
        told = await told_though_revoked(own, port, f"/v1/payments/{payment}", role)
    check_problem(told, ErrorCode.DEVICE_REVOKED)


async def test_who_is_revoked_while_it_waits_is_not_told_of_the_refund(stopped: Prepared) -> None:
    port = free_port()
    async with running(*stopped, database=stopped[0].settings().database, metrics_port=port) as own:
        payment, request, challenge = await own.pending()
        await own.confirm(payment, own.devices.confirmation(payment, challenge))
        path = f"/v1/payments/{payment}/refunds"
        refund = (await own.post(path, own.devices.refund(request, 1), prefer="wait=20")).json()
        under_way = "UPDATE refunds SET status = 'pending', receipt = NULL"
        own.store.write_now(lambda c: execute(c, under_way))
        told = await told_though_revoked(own, port, f"{path}/{refund['id']}", Role.TERMINAL)
    check_problem(told, ErrorCode.DEVICE_REVOKED)
