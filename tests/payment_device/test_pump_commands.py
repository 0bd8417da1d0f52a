"""Fuelling from the command line: terminal and pump are processes, and both may be killed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.payment_device.processes import Device, air, jack
from tests.payment_device.scripted_server import ScriptedServer
from twochannel.protocol.payment import Status

PREPAY = ("pump", "prepay", "80.00", "EUR", "--reference")


@pytest.fixture
async def device(server: ScriptedServer, tmp_path: Path) -> AsyncIterator[Device]:
    """An enrolled terminal with a pump in its settings, not running yet."""
    async with air() as opened, jack(opened):
        settings = {"PAYMENT_DEVICE_PUMP_PRICE": "1.799 EUR"}
        radio = f"bumble:{opened.transports['terminal']}"
        found = Device(tmp_path / "state", radio, settings)
        await found.enrol(server)
        yield found


async def shown(device: Device, phase: str) -> dict[str, Any]:
    """The fuelling once it is in ``phase``; each look is a command, which takes its time."""
    for _ in range(60):
        fuelling: dict[str, Any] = (await device.json("pump", "status"))["fuelling"]
        if fuelling["phase"] == phase:
            return fuelling
    raise TimeoutError(phase)


async def test_terminal_and_pump_are_killed_while_fuel_runs(
    device: Device, server: ScriptedServer
) -> None:
    server.outcome = Status.AUTHORIZED
    async with device.running("pump") as pump:
        async with device.running() as terminal:
            await device.json(*PREPAY, "fuel-1")
            await shown(device, "open")
            await device.json("pump", "lift")
            await device.json("pump", "fuel", "5")
            while (await device.json("pump", "status"))["fuelling"]["pumped_ml"] < 5000:
                pass
            terminal.kill()
            await terminal.wait()
        pump.kill()
        await pump.wait()
    async with device.running("pump"), device.running():
        again = await device.json(*PREPAY, "fuel-1")
        assert (again["fuelling"]["phase"], again["fuelling"]["pumped_ml"]) == ("open", 5000)
        while not (await device.json("pump", "status"))["released"]:
            pass
        await device.json("pump", "fuel", "5")
        while (await device.json("pump", "status"))["fuelling"]["pumped_ml"] < 10_000:
            pass
        await device.json("pump", "hang-up")
        paid = await shown(device, "paid")
    (held,) = server.payments.values()
    assert (paid["cost_minor"], held.captured_minor, held.status) == (1799, 1799, Status.CAPTURED)


async def test_what_is_wrong_is_told(device: Device, server: ScriptedServer) -> None:
    async with device.running():
        lost = await device.call("pump", "lift", "--json")
        assert (lost.exit_code, lost.error["code"]) == (1, "agent_not_running")
        refused = await device.call("pump", "postpay", "--reference", "x", "--json")
        assert (refused.exit_code, refused.error["code"]) == (1, "not_ready")
        assert "payment-device pump" in refused.error["detail"]
        status = await device.call("pump", "status")
        assert "the pump does not answer" in status.stdout
        wrong = await device.call("pump", "fuel", "much")
        assert wrong.exit_code == 2
    async with device.running("pump"):
        hung = await device.call("pump", "fuel", "5", "--json")
        assert (hung.exit_code, hung.error["code"]) == (1, "payment_state")


async def test_a_price_that_is_none_is_told_at_start(device: Device) -> None:
    device.settings["PAYMENT_DEVICE_PUMP_PRICE"] = "cheap"
    ended = await device.call("run")
    assert ended.exit_code == 1
    assert "PAYMENT_DEVICE_PUMP_PRICE" in ended.stderr
