"""``payment-device doctor`` as a process: radio on virtual air, a server over real TLS."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.payment_device.processes import Device, air, jack
from tests.payment_device.scripted_server import ScriptedServer
from tests.twochannel.doctor.reports import Ended, doctor
from twochannel.protocol.wire import base64url

NO_RADIO = "bumble:tcp-client:127.0.0.1:1"


@pytest.fixture
async def device(server: ScriptedServer, tmp_path: Path) -> AsyncIterator[Device]:
    """An enrolled terminal on an air with a jack, not running yet."""
    async with air() as opened, jack(opened):
        found = Device(tmp_path / "state", f"bumble:{opened.transports['terminal']}")
        await found.enrol(server)
        yield found


async def examined(device: Device, *arguments: str) -> Ended:
    environment = {"PAYMENT_DEVICE_RADIO": device.radio}
    return await doctor("payment_device", device.state, *arguments, environment=environment)


async def test_a_fine_terminal(device: Device) -> None:
    ended = await examined(device, "--json")
    assert not ended.failing(), ended.stdout
    assert (ended.report["agent"], ended.report["agent_running"]) == ("payment-device", False)
    assert ended.stderr == ""
    rows = ended.rows
    fine = (
        *("radio.opens", "radio.hears", "radio.blind", "radio.advertises", "radio.interval"),
        *("server.reachable", "server.pin", "server.clock", "clock.source"),
    )
    assert [rows[name] for name in fine if rows[name]["state"] != "ok"] == []
    assert rows["radio.hears"]["value"] > 5
    assert rows["radio.blind"]["value"] < 2
    assert (rows["radio.blind"]["unit"], rows["radio.interval"]["value"]) == ("s", 20)
    assert rows["radio.pair"]["state"] == "not_applicable"
    # This air does not fade, so that its levels tell nothing of their steps.
    assert rows["radio.rssi_step"]["state"] == "unknown"
    assert "wifi.band" not in rows
    assert "clock.trust" not in rows
    assert not list(device.state.glob("doctor-*"))


async def test_a_running_terminal_is_asked_and_keeps_its_radio(device: Device) -> None:
    async with device.running():
        ended = await examined(device, "--json")
        assert (await device.json("status"))["radio_working"]
    assert not ended.failing(), ended.stdout
    assert ended.report["agent_running"]
    rows = ended.rows
    assert rows["radio.agent"]["state"] == "ok"
    assert "heard an advert" in rows["radio.agent"]["found"]
    assert rows["radio.blind"]["state"] == "unknown"
    assert "the agent runs" in rows["radio.blind"]["found"]
    assert rows["server.clock"]["state"] == "ok"


async def test_a_radio_that_is_not_there_is_told_to_people(device: Device) -> None:
    ended = await examined(Device(device.state, NO_RADIO))
    assert ended.exit_code == 1
    assert "Opening the radio (about 2 s) …" in ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0].split() == ["STATE", "CHECK", "FOUND"]
    failing = next(at for at, line in enumerate(lines) if line.startswith("FAILING"))
    assert "Cannot open the radio" in lines[failing]
    assert lines[failing + 1].strip() == "expected: it opens"
    assert lines[failing + 2].strip().startswith("do: check that the adapter is plugged in")
    assert any(line.startswith("n/a: bluetoothd, Kernel and BlueZ") for line in lines)
    assert lines[-1].startswith("1 failing; ")


async def test_a_server_that_is_gone_or_another_one(device: Device) -> None:
    file = device.state / "enrolment.json"
    enrolment = json.loads(file.read_text())
    url = enrolment["pin"]["url"]
    enrolment["pin"]["url"] = "https://127.0.0.1:9"
    file.write_text(json.dumps(enrolment))
    gone = await examined(device, "--quick", "--json")
    assert gone.failing() == {"server.reachable"}
    assert "127.0.0.1:9" in gone.rows["server.reachable"]["found"]

    other = ScriptedServer().pin()
    enrolment["pin"] |= {"url": url, "certificate": base64url(other.certificate)}
    file.write_text(json.dumps(enrolment))
    replaced = await examined(device, "--quick", "--json")
    assert replaced.failing() == {"server.pin"}
    assert replaced.rows["server.clock"]["state"] == "unknown"


async def test_a_server_with_another_clock(device: Device, server: ScriptedServer) -> None:
    server.ahead_s = 120
    row = (await examined(device, "--quick", "--json")).rows["server.clock"]
    assert row["state"] == "warning"
    assert row["value"] == pytest.approx(120, abs=10)


async def test_before_enrolment_and_with_the_radio_of_the_flag(tmp_path: Path) -> None:
    ended = await examined(
        Device(tmp_path, NO_RADIO), "--quick", "--json", "--radio", "bumble:usb:7"
    )
    assert ended.exit_code == 0
    assert "payment-device enroll" in ended.rows["server.pin"]["found"]
    assert "bumble:usb:7" in ended.rows["radio.adapter"]["found"]
    assert ended.rows["radio.hears"]["found"] == "not measured: --quick"


async def test_help_and_wrong_usage(tmp_path: Path) -> None:
    told = await doctor("payment_device", tmp_path, "--help")
    assert told.exit_code == 0
    for words in ("--quick", "--json", "Exit code 0", "docs/doctor.md"):
        assert words in told.stdout
    assert (await doctor("payment_device", tmp_path, "--slow")).exit_code == 2
    settings = await doctor(
        "payment_device", tmp_path, environment={"PAYMENT_DEVICE_MARGIN_DB": "-1"}
    )
    assert (settings.exit_code, settings.stdout) == (1, "")
    assert "margin_db" in settings.stderr
