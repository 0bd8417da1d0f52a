"""`cigarjack run` on virtual air, with a terminal's radio beside it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cigarjack import identity as identities
from cigarjack.config import JackSettings, StateFolder
from fieldkit.air import Air, AirPlan, ControllerPlan
from fieldkit.propagation import Propagation
from tests.cigarjack.parties import Server
from twochannel.keystore.file import FileAgreement
from twochannel.protocol import beacon
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Radio, Sighting
from twochannel.trace import wall_ms

ROOT = Path(__file__).parents[2]
STILL = Propagation(shadowing_sd_db=0, fading_sd_db=0, loss_probability=0)
DEADLINE_S = 20


@dataclass
class Process:
    """A running `cigarjack run`. ``ready``: its ready line."""

    process: asyncio.subprocess.Process
    ready: dict[str, Any]

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@dataclass
class Bench:
    """A jack's state folder, an air with its controller, and a terminal's radio on it."""

    state: Path
    air: Air
    terminal: Radio
    running: list[Process] = field(default_factory=list)

    async def command(self, *arguments: str) -> asyncio.subprocess.Process:
        environment = {**os.environ, "CIGARJACK_STATE": str(self.state)}
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cigarjack",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            cwd=ROOT,
        )

    async def answer(self, *arguments: str) -> tuple[int | None, dict[str, Any]]:
        """Exit code and JSON of a command, from standard output or else from standard error."""
        process = await self.command(*arguments, "--json")
        output, errors = await process.communicate()
        answer: dict[str, Any] = json.loads(output or errors)
        return process.returncode, answer

    async def run(self, radio: str | None = None, **settings: object) -> Process:
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        (self.state / "config.toml").write_text("\n".join(lines), encoding="utf-8")
        process = await self.command(
            "run",
            "--radio",
            radio or f"bumble:{self.air.transports['jack']}",
            "--host",
            "127.0.0.1",
            "--interface",
            "127.0.0.1",
        )
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            line = await process.stdout.readline()
        assert process.stderr is not None
        assert line, (await process.stderr.read()).decode()
        self.running.append(Process(process, json.loads(line)))
        return self.running[-1]

    def trace(self, event: str) -> list[dict[str, Any]]:
        lines = (self.state / "trace.jsonl").read_text(encoding="utf-8").splitlines()
        return [entry for entry in map(json.loads, lines) if entry["event"] == event]

    async def hear(self, holds: Callable[[Sighting], bool]) -> Sighting:
        async with asyncio.timeout(DEADLINE_S):
            async for sighting in self.terminal.scanner.sightings():
                if holds(sighting):
                    return sighting
        raise AssertionError("the terminal's radio has ended")

    def is_code_of(self, server: Server) -> Callable[[Sighting], bool]:
        """Whether a sighting is a code that ``server`` resolves to this jack, now."""
        agreement = identities.load(StateFolder(self.state), JackSettings()).agreement
        assert isinstance(agreement, FileAgreement)

        def is_code(sighting: Sighting) -> bool:
            if sighting.service_uuid != beacon.SERVICE_UUID:
                return False
            code = beacon.BeaconFrame.decode(sighting.service_data).code
            now_s = wall_ms() // 1000
            return code in (server.code(agreement, now_s), server.code(agreement, now_s - 256))

        return is_code


@asynccontextmanager
async def a_bench(state: Path) -> AsyncIterator[Bench]:
    """Nothing runs yet; what the test has started is killed at the end."""
    controllers = (ControllerPlan(name="jack"), ControllerPlan(name="terminal", x=3))
    async with (
        Air(AirPlan(propagation=STILL, controllers=controllers)) as air,
        open_radio(f"bumble:{air.transports['terminal']}") as terminal,
    ):
        bench = Bench(state, air, terminal)
        yield bench
        for process in bench.running:
            with suppress(ProcessLookupError):
                await process.kill()
