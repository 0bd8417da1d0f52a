"""``phone-agent doctor`` as a process: a server over real TLS, a jack on real mDNS."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cigarjack.parties import Jack, served
from tests.phone_agent.owners_phone import OwnersPhone
from tests.phone_agent.scripted_server import ScriptedServer
from tests.twochannel.doctor.reports import Ended, doctor


async def examined(state: Path, *arguments: str) -> Ended:
    environment = {"PHONE_AGENT_INTERFACES": "127.0.0.1"}
    return await doctor("phone_agent", state, "--json", *arguments, environment=environment)


async def test_a_fine_phone(server: ScriptedServer, jack: Jack, phone: OwnersPhone) -> None:
    phone.pair(jack, server)
    async with served(jack) as (services, _):
        ended = await examined(phone.state)
        assert ended.rows["network.mdns"]["found"] == f"seen at 127.0.0.1:{services.port}"
    assert not ended.failing(), ended.stdout
    names = ("server.reachable", "server.pin", "server.clock")
    assert {ended.rows[name]["state"] for name in names} == {"ok"}
    assert ended.rows["radio.adapter"]["found"] == "no radio is set"


async def test_a_running_phone_is_examined_beside(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    async with served(jack), phone.running():
        ended = await examined(phone.state)
    assert not ended.failing(), ended.stdout
    assert ended.report["agent_running"]


async def test_a_jack_that_is_not_announced_fails(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    ended = await examined(phone.state)
    assert ended.failing() == {"network.mdns"}
    assert jack.id[:8] in ended.rows["network.mdns"]["found"]
    assert "same Wi-Fi" in ended.rows["network.mdns"]["do"]


async def test_a_server_with_another_clock(server: ScriptedServer, phone: OwnersPhone) -> None:
    server.skew_ms = -90_000
    rows = (await examined(phone.state, "--quick")).rows
    assert rows["server.clock"]["state"] == "warning"
    assert rows["server.clock"]["value"] == pytest.approx(-90, abs=10)
    assert "no jack is paired" in rows["network.mdns"]["found"]


async def test_a_phone_that_is_not_enrolled(tmp_path: Path) -> None:
    ended = await examined(tmp_path / "new", "--quick")
    assert ended.exit_code == 0
    assert "phone-agent enroll" in ended.rows["server.reachable"]["found"]
