"""What systemd is told of a phone whose radio goes away and comes back."""

from __future__ import annotations

import pytest

from fieldkit.air import Air, AirPlan, ControllerPlan
from tests.phone_agent.owners_phone import OwnersPhone
from tests.phone_agent.processes import running
from tests.phone_agent.scripted_server import ScriptedServer
from tests.systemd import UNHURRIED_US, Systemd, alive_only_with_radio


async def test_a_phone_is_called_alive_only_while_its_radio_is_well(
    server: ScriptedServer, phone: OwnersPhone, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHONE_AGENT_RADIO_PATIENCE_S", "0")
    monkeypatch.setenv("WATCHDOG_USEC", UNHURRIED_US)
    async with Air(AirPlan(controllers=(ControllerPlan(name="phone"),))) as air:
        monkeypatch.setenv("PHONE_AGENT_RADIO", f"bumble:{air.transports['phone']}")
        async with running(phone.state):
            assert await systemd.message() == "READY=1"
            well = f"Connected to {server.pin.url}."
            await alive_only_with_radio(systemd, air, "phone", well)
        await systemd.up_to("STOPPING=1\nSTATUS=Stopping.")
