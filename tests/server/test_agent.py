"""The server as a process: ready line, signals, sudden death, what its files may not contain."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from server.state import StateFolder
from tests.server.bench import JWT, copied, running
from tests.server.devices import Devices
from tests.server.process import challenge_of, client, command, started, wait_for_end
from tests.systemd import Systemd


@pytest.fixture
def own(prepared: tuple[StateFolder, Devices], tmp_path: Path) -> tuple[StateFolder, Devices]:
    return copied(prepared, tmp_path / "server")


@pytest.fixture
def folder(own: tuple[StateFolder, Devices]) -> StateFolder:
    """Of a server that has stopped, and knows the devices of ``own``."""
    return own[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_when_it_is_ready_and_ends_when_told(
    folder: StateFolder, number: signal.Signals
) -> None:
    with started(folder.path) as process:
        assert process.ready["event"] == "ready"
        with client(folder, process.ready["url"]) as http:
            assert http.get("/healthz").json() == {"ok": True}
        assert process.end(number) == 0


def test_a_second_one_is_refused(folder: StateFolder) -> None:
    with started(folder.path):
        second = command(folder.path, "run")
        assert second.returncode == 1
        assert "already running" in second.stderr


def test_a_taken_port_is_told(
    folder: StateFolder, prepared: tuple[StateFolder, Devices], tmp_path: Path
) -> None:
    other, _ = copied(prepared, tmp_path / "other")
    with started(folder.path) as process:
        port = process.ready["url"].rpartition(":")[2]
        result = command(other.path, "run", "--port", port)
        assert result.returncode == 1
    told = f"cannot listen on 127.0.0.1:{port} (Address already in use)"
    assert result.stderr.startswith(told)
    assert result.stderr.count("\n") == 1


def test_a_payment_survives_the_servers_sudden_death(
    own: tuple[StateFolder, Devices],
) -> None:
    """Killed with a payment pending: after the restart it is confirmed and captured once."""
    folder, devices = own
    request = devices.request()
    with started(folder.path) as process:
        with client(folder, process.ready["url"]) as http:
            made = http.post("/v1/payments", content=request, headers=JWT)
            assert made.status_code == 201
        process.end(signal.SIGKILL)
    payment = made.json()["id"]
    with started(folder.path) as process, client(folder, process.ready["url"]) as http:
        assert http.post("/v1/payments", content=request, headers=JWT).json() == made.json()
        challenge = challenge_of(folder, payment)
        confirmation = devices.confirmation(payment, challenge)
        path = f"/v1/payments/{payment}/confirmation"
        assert http.post(path, content=confirmation, headers=JWT).status_code == 200
        # Killed again, at some point of the charge.
        process.end(signal.SIGKILL)
    with started(folder.path) as process, client(folder, process.ready["url"]) as http:
        assert wait_for_end(http, devices, payment)["status"] == "captured"
    audit = command(folder.path, "audit")
    assert audit.returncode == 0, audit.stdout


async def test_the_trace_tells_each_step_and_no_secret(
    own: tuple[StateFolder, Devices],
) -> None:
    folder, _ = own
    async with running(*own) as bench:
        payment, _, challenge = await bench.pending()
        code = bench.devices.code()
        confirmation = bench.devices.confirmation_claims(payment, challenge)
        compact = bench.devices.confirmation(payment, challenge, counter_free=1)
        refused = await bench.confirm(payment, compact)
        assert refused.status_code == 400
        sealed = bench.devices.confirmation(payment, challenge, **confirmation)
        await bench.confirm(payment, sealed)
    text = (folder.path / "trace.jsonl").read_text()
    events = [json.loads(line) for line in text.splitlines()]
    told = [event["event"] for event in events if event["payment"] == payment]
    assert told == [
        "request_received",
        "challenge_issued",
        "payment_status",
        "confirmation_refused",
        "confirmation_received",
        "payment_confirmed",
        "payment_status",
        "processor_called",
        "processor_answered",
        "payment_status",
    ]
    assert events[0]["event"] == "agent_started"
    for secret in (code, confirmation["auth_code"], "PRIVATE"):
        assert secret not in text


async def test_systemd_is_told_where_it_serves(folder: StateFolder, systemd: Systemd) -> None:
    with started(folder.path, "--port", "0") as server:
        assert await systemd.message() == "READY=1"
        assert await systemd.message() == f"STATUS=Serving {server.ready['url']}."
        await systemd.until("WATCHDOG=1")
        assert server.end() == 0
        await systemd.until("STOPPING=1\nSTATUS=Stopping.")
