"""Commands as a person or a till calls them: real processes, radio on virtual air, real HTTPS."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.payment_device.processes import CODE, Device, air, jack
from tests.payment_device.scripted_server import LANE, ScriptedServer
from twochannel.protocol.errors import ErrorCode, LimitError
from twochannel.protocol.payment import Status

CHARGE = ("charge", "4.50", "EUR", "--reference")


@pytest.fixture
async def device(server: ScriptedServer, tmp_path: Path) -> AsyncIterator[Device]:
    """An enrolled terminal on an air with a jack, not running yet."""
    async with air() as opened, jack(opened):
        found = Device(tmp_path / "state", f"bumble:{opened.transports['terminal']}")
        await found.enrol(server)
        yield found


async def test_a_day_at_the_lane(device: Device, server: ScriptedServer) -> None:
    async with device.running():
        paid = await device.json(*CHARGE, "coffee-1")
        assert (paid["status"], paid["paid"], paid["amount_text"]) == ("captured", True, "4.50 EUR")
        assert await device.json(*CHARGE, "coffee-1") == paid

        server.outcome = Status.AUTHORIZED
        hold = await device.json("charge", "80", "EUR", "--reference", "pump-1", "--manual")
        taken = await device.json("capture", hold["id"], "42.17", "EUR")
        assert (taken["status"], taken["captured_minor"]) == ("captured", 4217)
        hold = await device.json("charge", "80", "EUR", "--reference", "pump-2", "--manual")
        assert (await device.json("cancel", hold["id"]))["status"] == "voided"

        refund = ("refund", paid["id"], "1.00", "EUR")
        given_back = await device.json(*refund)
        assert (given_back["refunded_minor"], given_back["refund"]["phase"]) == (100, "done")
        assert (await device.json(*refund))["refund"] == given_back["refund"]
        again = await device.json(*refund, "--reference", "milk", "--reason", "sour")
        assert again["refunded_minor"] == 200

        (found,) = (await device.json("payments", "--reference", "pump-1"))["items"]
        assert found["id"] == taken["id"]
        held = await device.json("charge", "5", "EUR", "--reference", "pump-3", "--manual")
        (active,) = (await device.json("payments", "--active"))["items"]
        assert active["id"] == held["id"]
        await device.json("cancel", held["id"])

        listed = (await device.json("payments", "--limit", "3"))["items"][1:]
        assert [item["reference"] for item in listed] == ["pump-2", "pump-1"]
        assert (await device.json("payment", paid["id"]))["status"] == "captured"
        for_people = await device.call("receipt", paid["id"], "--language", "ko")
        assert "결제 완료" in for_people.stdout
        assert "€2.00" in for_people.stdout
        (heard,) = (await device.json("jacks"))["items"]
        assert (heard["handle"], heard["state"]) == (CODE.hex()[:4], "chosen")
        status = await device.json("status")
        assert (status["lane"], status["radio_working"], status["payment"]) == (LANE, True, None)
        assert status["server_reachable"]


async def test_what_people_read(device: Device, server: ScriptedServer) -> None:
    async with device.running():
        text = (await device.call(*CHARGE, "coffee-1")).stdout
        assert re.match(
            r"captured  4\.50 EUR  payment [0-9a-f-]{36}\nMatch code 42\.\nIt took \d+ ms\.", text
        )
        assert "captured" in (await device.call("payments")).stdout
        payment = (await device.json("payments"))["items"][0]["id"]
        text = (await device.call("refund", payment, "1", "EUR")).stdout
        assert re.match(r"refunded  1\.00 EUR  refund [0-9a-f-]{36}\ncaptured  4\.50 EUR", text)
        assert "Given back: 1.00 EUR." in text
        assert re.search(r"0123\s+-\d\d dBm\s+\d+ ms  chosen", (await device.call("jacks")).stdout)
        assert "Blue Bottle" in (await device.call("status")).stdout


async def test_the_match_code_is_shown_while_the_owner_decides(
    device: Device, server: ScriptedServer
) -> None:
    server.outcome = None
    async with device.running():
        charging = asyncio.create_task(device.call(*CHARGE, "coffee-1"))
        (payment,) = await server.wait_for_looks(1)
        busy = await device.call(*CHARGE, "coffee-2", "--json")
        assert (busy.exit_code, busy.error["code"]) == (1, "terminal_busy")
        await server.decide(payment, Status.DECLINED)
        ended = await charging
    assert ended.exit_code == 3
    assert ended.stdout.startswith("Match code 42: the owner's phone shows the same.")
    assert "declined  4.50 EUR" in ended.stdout


async def test_without_waiting_a_charge_ends_when_the_server_has_it(
    device: Device, server: ScriptedServer
) -> None:
    server.outcome = None
    async with device.running():
        payment = await device.json(*CHARGE, "coffee-1", "--no-wait")
        assert (payment["phase"], payment["match_code"]) == ("pending", "42")
        assert (await device.json("cancel", payment["id"]))["status"] == "canceled"


async def test_errors_are_sentences_with_a_next_step(
    device: Device, server: ScriptedServer
) -> None:
    stopped = await device.call(*CHARGE, "coffee-1")
    assert (stopped.exit_code, stopped.stderr) == (
        1,
        "payment-device is not running here; start it with: payment-device run\n",
    )
    again = await device.call("enroll", server.pin().url, f"CE1:{server.id}:{'A' * 22}")
    assert (again.exit_code, again.stderr.split(";")[0]) == (1, "this terminal is enrolled already")
    async with device.running():
        second = await device.call("run")
        assert (second.exit_code, second.stdout) == (1, "")
        assert "already running" in second.stderr
        server.faults.append(ErrorCode.CODE_UNKNOWN)
        refused = await device.call(*CHARGE, "coffee-1", "--json")
        assert (refused.exit_code, refused.error["code"]) == (1, "code_unknown")
        assert refused.error["next_step"] == "Listen again and use the newest code."
        wrong = await device.call("charge", "4.505", "EUR", "--reference", "r")
        assert (wrong.exit_code, wrong.stderr.splitlines()[0]) == (
            1,
            "an amount in EUR is a number with at most 2 decimals, such as 4.50",
        )
        missing = await device.call("payment", "none", "--json")
        assert missing.error["code"] == "payment_unknown"
    assert (await device.call("charge", "4.50", "EUR")).exit_code == 2


async def test_a_terminal_that_is_not_enrolled_says_how(tmp_path: Path) -> None:
    ended = await Device(tmp_path, "bumble:tcp-client:127.0.0.1:1").call("run")
    assert ended.exit_code == 1
    assert "payment-device enroll URL CODE" in ended.stderr


async def test_wrong_settings_are_told_all_at_once(device: Device) -> None:
    (device.state / "config.toml").write_text('margin_db = -1\nlane = "1"\n')
    ended = await device.call("run")
    assert ended.exit_code == 1
    assert "margin_db" in ended.stderr
    assert "lane" in ended.stderr


async def test_a_radio_that_is_not_there_ends_the_start(device: Device) -> None:
    ended = await Device(device.state, "bumble:tcp-client:127.0.0.1:1").call("run")
    assert ended.exit_code == 1
    assert "Cannot open the radio" in ended.stderr


async def test_a_wrong_enrolment_code_is_refused(server: ScriptedServer, tmp_path: Path) -> None:
    device = Device(tmp_path, "bumble:usb:0")
    other = await device.call("enroll", server.pin().url, f"CE1:{'A' * 43}:{'A' * 22}", "--json")
    assert (other.exit_code, other.error["code"]) == (1, "key_unknown")
    short = await device.call("enroll", server.pin().url, "CE1:x:y", "--json")
    assert (short.exit_code, short.error["code"]) == (1, "enrolment_code_refused")
    assert not server.received


async def test_an_enrolment_whose_answer_was_lost_is_sent_again_as_it_was(
    server: ScriptedServer, tmp_path: Path
) -> None:
    device = Device(tmp_path, "bumble:usb:0")
    server.faults.append("lose")
    lost = await device.call("enroll", server.pin().url, f"CE1:{server.id}:{'A' * 22}")
    assert lost.exit_code == 1
    await device.enrol(server)
    first, second = (compact for path, compact in server.received if path == "/v1/enrolments")
    assert first == second


async def test_a_killed_terminal_finishes_its_payment_after_the_restart(
    device: Device, server: ScriptedServer
) -> None:
    server.outcome = None
    async with device.running() as process:
        payment = (await device.json(*CHARGE, "coffee-1", "--no-wait"))["id"]
        process.send_signal(signal.SIGKILL)
        await process.wait()
    await server.decide(payment, Status.CAPTURED)
    async with device.running():
        paid = await device.json(*CHARGE, "coffee-1")
        assert (paid["id"], paid["paid"]) == (payment, True)
        lines = (device.state / "trace.jsonl").read_text().splitlines()
        trace = [json.loads(line) for line in lines]
        assert payment in {line["payment"] for line in trace if line["event"] == "intent_swept"}
    assert len(set(server.requests())) == 1


async def test_the_agent_stops_when_it_is_told_to(device: Device) -> None:
    async with device.running() as process:
        assert (device.state / "control.sock").stat().st_mode & 0o777 == 0o600
        process.send_signal(signal.SIGTERM)
        _, stderr = await process.communicate()
        assert process.returncode == 0
    assert CODE.hex() not in stderr.decode()
    assert not (device.state / "control.sock").exists()


def test_help_loads_nothing_heavy() -> None:
    program = "import sys, payment_device.cli; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()
    heavy = {"pydantic", "cryptography", "httpx", "starlette", "bumble", "asyncio", "sqlite3"}
    assert heavy.isdisjoint(loaded)


async def test_an_attendant_is_told_that_an_owner_was_asked_too_often(
    device: Device, server: ScriptedServer
) -> None:
    server.faults.append(LimitError(ErrorCode.JACK_PROMPTED, 300))
    async with device.running():
        refused = await device.call(*CHARGE, "coffee-1")
    assert (refused.exit_code, refused.stderr.splitlines()) == (
        1,
        [
            "The owner of this jack was asked too often; try again in 300 s",
            "Wait as long as the answer says; let the owner come to the till.",
        ],
    )
