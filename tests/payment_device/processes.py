"""The real ``payment-device`` as processes, on virtual air, at a scripted server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fieldkit.air import Air, AirPlan, ControllerPlan
from fieldkit.propagation import Propagation
from tests.payment_device.scripted_server import ScriptedServer
from twochannel.protocol import beacon
from twochannel.protocol.wire import base64url
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Broadcast

DEADLINE_S = 30.0
STILL = Propagation(shadowing_sd_db=0, fading_sd_db=0, loss_probability=0)
CODE = bytes.fromhex("0123456789abcdef")


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def answer(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.stdout)
        return document

    @property
    def error(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.stderr)["error"]
        return document


@dataclass
class Device:
    """A terminal's state folder and how to call its commands."""

    state: Path
    radio: str
    settings: dict[str, str] = field(default_factory=dict)

    async def call(self, *arguments: str) -> Ended:
        process = await self._start(*arguments)
        async with asyncio.timeout(DEADLINE_S):
            stdout, stderr = await process.communicate()
        return Ended(process.returncode or 0, stdout.decode(), stderr.decode())

    async def json(self, *arguments: str) -> dict[str, Any]:
        """The answer of a command that succeeds."""
        ended = await self.call(*arguments, "--json")
        assert ended.exit_code == 0, ended
        return ended.answer

    async def enrol(self, server: ScriptedServer) -> None:
        code = f"CE1:{server.id}:{base64url(bytes(16))}"
        ended = await self.call("enroll", server.pin().url, code)
        assert ended.exit_code == 0, ended

    @asynccontextmanager
    async def running(self, command: str = "run") -> AsyncIterator[asyncio.subprocess.Process]:
        """The agent, ready; stopped at the end unless the block has ended it."""
        process = await self._start(command)
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            line = await process.stdout.readline()
            if not line:
                _, stderr = await process.communicate()
                raise AssertionError(stderr.decode())
        assert json.loads(line)["event"] == "ready"
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(DEADLINE_S):
                await process.communicate()

    async def _start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "payment_device",
            "--state",
            str(self.state),
            *arguments,
            env=os.environ | {"PAYMENT_DEVICE_RADIO": self.radio} | self.settings,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )


@asynccontextmanager
async def air() -> AsyncIterator[Air]:
    """A terminal's radio, and a jack's three metres away."""
    controllers = (ControllerPlan(name="terminal"), ControllerPlan(name="jack", x=3))
    async with Air(AirPlan(propagation=STILL, controllers=controllers)) as opened:
        yield opened


@asynccontextmanager
async def jack(opened: Air, code: bytes = CODE) -> AsyncIterator[None]:
    """A jack that sends ``code`` while the block runs."""
    frame = beacon.BeaconFrame(0, code).encode()
    async with open_radio(f"bumble:{opened.transports['jack']}") as radio:
        await radio.advertiser.broadcast(Broadcast(beacon.SERVICE_UUID, frame, 100))
        yield
