"""A terminal whose signing key lives in a token (SoftHSM): enrolled and charging as processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.payment_device.processes import Device, air, jack
from tests.payment_device.scripted_server import ScriptedServer
from tests.softhsm import SoftHsm


@pytest.mark.softhsm
async def test_a_terminal_with_its_key_in_a_token_charges(
    softhsm: SoftHsm, server: ScriptedServer, tmp_path: Path
) -> None:
    softhsm.make_token("lane")
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "config.toml").write_text(f'keys = "{softhsm.uri("lane")}"\n', encoding="utf-8")
    async with air() as opened, jack(opened):
        device = Device(state, f"bumble:{opened.transports['terminal']}")
        await device.enrol(server)
        assert {path.name for path in (state / "keys").iterdir()} == {"token-prefix"}
        async with device.running():
            paid = await device.json("charge", "4.50", "EUR", "--reference", "coffee-1")
            assert paid["paid"]
