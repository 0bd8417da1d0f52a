"""The jack as a real process on virtual air: from its first start to the power cut."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cigarjack import identity as identities
from cigarjack.client import PairedJack
from cigarjack.config import JackSettings, StateFolder
from fieldkit.air import Air, AirPlan, ControllerPlan
from fieldkit.propagation import Propagation
from tests.cigarjack.parties import LANE_NONCE, Phone, Server
from twochannel.keystore.file import FileAgreement
from twochannel.protocol import beacon, envelope
from twochannel.protocol.chain import presence_proven
from twochannel.protocol.lane import SERVICE_UUID, LaneFrame
from twochannel.protocol.statements import AuthCode
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Broadcast, Radio, Sighting
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


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    state = tmp_path / "jack"
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


async def paired_jack(bench: Bench, phone: Phone, server: Server) -> PairedJack:
    """First start of a new jack, and its pairing in the window that opens by itself."""
    code, made = await bench.answer("init")
    assert code == 0
    jack = await bench.run()
    assert jack.ready["jack"] == made["jack"]
    assert jack.ready["port"] is None
    return await phone.pair(jack.ready["pairing_port"], made["label"], server)


async def synchronise(phone: Phone, server: Server, paired: PairedJack, port: int) -> None:
    async with phone.client(port, paired.pin) as jack:
        nonce = str((await jack.status())["time_nonce"])
        await jack.put_time(server.time(paired.pin.jack, nonce, wall_ms()))


@asynccontextmanager
async def lane(bench: Bench) -> AsyncIterator[None]:
    frame = LaneFrame(LANE_NONCE).encode()
    await bench.terminal.advertiser.broadcast(Broadcast(SERVICE_UUID, frame, 20))
    yield
    await bench.terminal.advertiser.silence()


async def test_a_new_jack_is_paired_told_the_time_heard_and_hears(
    bench: Bench, phone: Phone, server: Server
) -> None:
    paired = await paired_jack(bench, phone, server)
    assert bench.trace("beacon_rotated") == [], "nothing payable before it knows the time"
    await synchronise(phone, server, paired, paired.port)
    await bench.hear(bench.is_code_of(server))
    challenge = server.challenge(paired.pin.jack, phone.id, iat=1, exp=wall_ms() // 1000 + 60)
    compact = envelope.sign(challenge, server.signer)
    async with phone.client(paired.port, paired.pin) as jack:
        asked = asyncio.create_task(jack.auth_code(compact))
        async with lane(bench):
            auth_code = AuthCode.from_claims(envelope.unverified_claims(await asked))
        assert (await jack.status())["broadcasting"] is True
    assert presence_proven(challenge, auth_code)
    assert [entry["presence"] for entry in bench.trace("auth_code_signed")] == [True]
    assert [entry["epoch"] for entry in bench.trace("paired")] == [1]
    assert {entry["clock"] for entry in bench.trace("auth_code_signed")} == {"server"}
    assert await bench.running[0].stop() == 0
    assert not (bench.state / "control.sock").exists()


async def test_after_a_kill_in_the_same_boot_it_is_on_the_air_at_once(
    bench: Bench, phone: Phone, server: Server
) -> None:
    paired = await paired_jack(bench, phone, server)
    await synchronise(phone, server, paired, paired.port)
    await bench.hear(bench.is_code_of(server))
    await bench.running[0].kill()
    jack = await bench.run()
    await bench.hear(bench.is_code_of(server))
    assert len(bench.trace("clock_restored")) == 1
    assert jack.ready["pairing_port"] is None
    async with phone.client(jack.ready["port"], paired.pin) as client:
        assert (await client.status())["clock"] == "trusted"


async def test_a_jack_that_boots_in_1970_is_silent_until_it_is_told_the_time(
    bench: Bench, phone: Phone, server: Server
) -> None:
    paired = await paired_jack(bench, phone, server)
    await synchronise(phone, server, paired, paired.port)
    await bench.hear(bench.is_code_of(server))
    await bench.running[0].stop()
    spoken = len(bench.trace("beacon_rotated"))
    jack = await bench.run(boot_id="another boot", wall_clock_start="1970-01-01T00:00:10Z")
    async with phone.client(jack.ready["port"], paired.pin) as client:
        status = await client.status()
        assert (status["clock"], status["broadcasting"]) == ("unsynchronised", False)
        started = bench.trace("agent_started")[-1]
        assert 10_000 <= started["wall_ms"] < 60_000
        assert (started["boot"], started["clock"]) == ("another boot", "unsynchronised")
        assert len(bench.trace("beacon_rotated")) == spoken
        told = server.time(paired.pin.jack, str(status["time_nonce"]), wall_ms())
        await client.put_time(told)
        await bench.hear(bench.is_code_of(server))


async def test_its_operator_sees_and_steers_it(bench: Bench, phone: Phone, server: Server) -> None:
    paired = await paired_jack(bench, phone, server)
    code, status = await bench.answer("status")
    assert code == 0
    assert (status["phone"], status["port"]) == (phone.id, paired.port)
    assert status["silent_because"] == "clock_unsynchronised"
    assert status["radio_problem"] is None
    assert (bench.state / "control.sock").stat().st_mode & 0o777 == 0o600
    assert (await bench.answer("label"))[0] == 1, "the first label has been used"
    code, opened = await bench.answer("pair", "open")
    assert code == 0
    again = Phone()
    assert (await again.pair(opened["pairing_port"], opened["label"], server)).pin.epoch == 2
    assert (await bench.answer("status"))[1]["phone"] == again.id


async def test_one_state_folder_has_one_agent(bench: Bench) -> None:
    await bench.answer("init")
    await bench.run()
    second = await bench.command("run", "--radio", "bumble:tcp-client:127.0.0.1:1")
    _, errors = await second.communicate()
    assert second.returncode == 1
    assert b"already running" in errors
    code, status = await bench.answer("status")
    assert code == 0
    assert status["phone"] is None


async def test_a_port_in_use_is_told_in_a_sentence(
    bench: Bench, phone: Phone, server: Server
) -> None:
    await paired_jack(bench, phone, server)
    await bench.running[0].stop()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        radio = f"bumble:{bench.air.transports['jack']}"
        second = await bench.command(
            *("run", "--radio", radio, "--interface", "127.0.0.1"),
            *("--host", "127.0.0.1", "--port", port),
        )
        _, errors = await second.communicate()
    assert second.returncode == 1
    last = errors.decode().splitlines()[-1]
    assert last.startswith(f"cannot listen on 127.0.0.1, port {port}")


async def test_without_its_radio_it_still_serves_and_says_so(bench: Bench) -> None:
    await bench.answer("init")
    await bench.run(radio="bumble:tcp-client:127.0.0.1:1")
    _, status = await bench.answer("status")
    assert "Cannot open the radio" in status["radio_problem"]
    assert status["broadcasting"] is False
    assert await bench.running[0].stop() == 0


async def test_no_secret_is_in_its_log_or_trace(bench: Bench, phone: Phone, server: Server) -> None:
    paired = await paired_jack(bench, phone, server)
    await synchronise(phone, server, paired, paired.port)
    heard = await bench.hear(bench.is_code_of(server))
    challenge = server.signed_challenge(
        paired.pin.jack, phone.id, iat=1, exp=wall_ms() // 1000 + 60
    )
    async with phone.client(paired.port, paired.pin) as jack:
        auth_code = await jack.auth_code(challenge)
    process = bench.running[0].process
    assert await bench.running[0].stop() == 0
    assert process.stderr is not None
    written = (await process.stderr.read()).decode()
    written += (bench.state / "trace.jsonl").read_text(encoding="utf-8")
    code = beacon.BeaconFrame.decode(heard.service_data).code.hex()
    for secret in (code, auth_code, auth_code.rpartition(".")[2], paired.pin.link_key.hex()):
        assert secret not in written
    assert "CJ1:" not in written
