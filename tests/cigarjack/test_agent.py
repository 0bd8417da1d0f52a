"""The jack as a real process on virtual air: from its first start to the power cut."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cigarjack.client import PairedJack
from tests.cigarjack.parties import LANE_NONCE, Phone, Server
from tests.cigarjack.running_jack import Bench
from twochannel.protocol import beacon, envelope
from twochannel.protocol.chain import presence_proven
from twochannel.protocol.lane import SERVICE_UUID, LaneFrame
from twochannel.protocol.statements import AuthCode
from twochannel.radio.port import Broadcast
from twochannel.trace import wall_ms

DEADLINE_S = 20


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
