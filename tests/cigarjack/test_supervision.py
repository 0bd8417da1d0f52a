"""What systemd is told of a jack whose radio goes away and comes back."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from fieldkit.air import Air, AirPlan, ControllerPlan
from tests.systemd import DEADLINE_S, Systemd

SILENT = "STATUS=Nothing on the air: unpaired."


def air(port: int = 0) -> Air:
    return Air(AirPlan(controllers=(ControllerPlan(name="jack", port=port),)))


async def line_with(stream: asyncio.StreamReader | None, text: bytes) -> None:
    assert stream is not None
    async with asyncio.timeout(DEADLINE_S):
        while text not in (line := await stream.readline()):
            assert line, "the agent has ended"


async def test_a_jack_without_radio_says_so_and_is_not_called_alive_until_it_is_back(
    systemd: Systemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (sys.executable, "-m", "cigarjack", "--state", str(tmp_path / "jack"))
    pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
    await (await asyncio.create_subprocess_exec(*command, "init", **pipes)).communicate()  # type: ignore[arg-type]
    monkeypatch.setenv("CIGARJACK_RADIO_PATIENCE_S", "1")
    async with air() as opened:
        transport = opened.transports["jack"]
        monkeypatch.setenv("CIGARJACK_RADIO", f"bumble:{transport}")
        jack = await asyncio.create_subprocess_exec(*command, "run", **pipes)  # type: ignore[arg-type]
        assert await systemd.until("READY=1") == []
        await systemd.until(SILENT)
        await systemd.until("WATCHDOG=1")
    await line_with(jack.stderr, b"patience_ended")
    assert any(line.startswith("STATUS=The radio") for line in systemd.waiting())
    async with air(int(transport.rpartition(":")[2])):
        *_, state = before = await systemd.until("WATCHDOG=1")
        assert not state.startswith("STATUS=The radio")
        if SILENT not in before:
            await systemd.until(SILENT)
        jack.send_signal(signal.SIGTERM)
        await systemd.until("STOPPING=1\nSTATUS=Stopping.")
        await jack.communicate()
