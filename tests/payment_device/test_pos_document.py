"""The till of docs/pos.md, as it stands there, at a real terminal: killed, and its terminal too."""

from __future__ import annotations

import asyncio
import json
import re
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.payment_device.lane import until
from tests.payment_device.processes import Device, air, jack
from tests.payment_device.scripted_server import ScriptedServer
from twochannel.protocol.payment import Status

DOCUMENT = Path(__file__).parents[2] / "docs" / "pos.md"
DEADLINE_S = 60


@pytest.fixture
def script(tmp_path: Path) -> Path:
    text = DOCUMENT.read_text(encoding="utf-8")
    found = re.search(r"<!-- till\.py -->\n```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert found
    file = tmp_path / "till.py"
    file.write_text(found[1], encoding="utf-8")
    return file


@pytest.fixture
async def device(server: ScriptedServer, tmp_path: Path) -> AsyncIterator[Device]:
    async with air() as opened, jack(opened):
        found = Device(tmp_path / "state", f"bumble:{opened.transports['terminal']}")
        await found.enrol(server)
        yield found


async def till(device: Device, script: Path, *order: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        str(device.state / "till.json"),
        *order,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str]:
    async with asyncio.timeout(DEADLINE_S):
        stdout, stderr = await process.communicate()
    return process.returncode or 0, stdout.decode() + stderr.decode()


async def test_it_charges_and_the_file_is_the_terminals_users_alone(
    device: Device, script: Path
) -> None:
    async with device.running():
        assert stat.S_IMODE((device.state / "till.json").stat().st_mode) == 0o600
        paid = await ended(await till(device, script, "4.50", "EUR", "order-17"))
        assert paid == (0, "4.50 EUR: captured\n")
        # Asked for something else under the same name.
        other = await ended(await till(device, script, "4.60", "EUR", "order-17"))
        assert other[0] == 1
        assert "the reference was used for another payment" in other[1]


async def test_a_till_that_is_killed_charges_once(
    device: Device, script: Path, server: ScriptedServer
) -> None:
    server.outcome = None
    order = ("12500", "KRW", "order-18")
    async with device.running():
        first = await till(device, script, *order)
        assert first.stdout is not None
        assert await first.stdout.readline() == b"Match code 42\n"
        first.kill()
        await first.wait()
        second = await till(device, script, *order)
        assert second.stdout is not None
        assert await second.stdout.readline() == b"Match code 42\n"
        (payment,) = server.payments
        await server.decide(payment, Status.CAPTURED)
        assert await ended(second) == (0, "12500 KRW: captured\n")
    assert len(server.payments) == 1


async def test_a_terminal_that_is_killed_in_the_middle_is_waited_for(
    device: Device, script: Path, server: ScriptedServer
) -> None:
    server.outcome = None
    async with device.running() as terminal:
        before = json.loads((device.state / "till.json").read_text())
        asking = await till(device, script, "1.250", "KWD", "order-19")
        await until(lambda: len(server.payments) == 1)
        terminal.kill()
        await terminal.wait()
    (payment,) = server.payments
    async with device.running():
        assert json.loads((device.state / "till.json").read_text()) == before
        await server.decide(payment, Status.CAPTURED)
        code, told = await ended(asking)
        assert code == 0, told
        assert "1.250 KWD: captured" in told
        shown = await device.json("payment", payment)
        assert (shown["match_code"], shown["reference"]) == ("42", "order-19")
    assert len(server.payments) == 1
