"""What systemd is told of a terminal whose radio goes away and comes back."""

from __future__ import annotations

from pathlib import Path

from tests.payment_device.processes import Device, air
from tests.payment_device.scripted_server import ScriptedServer
from tests.systemd import UNHURRIED_US, Systemd, alive_only_with_radio


async def test_a_terminal_is_called_alive_only_while_its_radio_is_well(
    server: ScriptedServer, tmp_path: Path, systemd: Systemd
) -> None:
    settings = {"PAYMENT_DEVICE_RADIO_PATIENCE_S": "0", "WATCHDOG_USEC": UNHURRIED_US}
    async with air() as opened:
        radio = f"bumble:{opened.transports['terminal']}"
        device = Device(tmp_path / "state", radio, settings)
        await device.enrol(server)
        async with device.running():
            assert await systemd.message() == "READY=1"
            well = "Listening; the server answers."
            await alive_only_with_radio(systemd, opened, "terminal", well)
        await systemd.up_to("STOPPING=1\nSTATUS=Stopping.")
