"""The running agent: its event stream, its control socket, its end."""

from __future__ import annotations

import asyncio

import pytest

from phone_agent.agent import AgentError, NotEnrolledError
from tests.cigarjack.parties import Jack, served
from tests.phone_agent.owners_phone import DEADLINE_S, OwnersPhone, hear_lane
from tests.phone_agent.scripted_server import ScriptedServer
from tests.systemd import Systemd
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.statements import Decision
from twochannel.state_folder import StateFolderError


async def test_a_stream_that_breaks_in_an_event_goes_on_after_the_last_whole_one(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    async with served(jack), phone.running():
        server.ask(server.challenge(jack.id, phone.id))
        await server.confirmation()
        server.cut_stream()
        await phone.until_traced("server_lost")
        await phone.until_traced("server_connected", count=2)
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        assert (await server.confirmation()).sub == challenge.sub
    assert server.last_event_ids == [None, "1"]


async def test_systemd_is_told_of_the_server(
    server: ScriptedServer, phone: OwnersPhone, systemd: Systemd
) -> None:
    async with phone.running():
        assert await systemd.message() == "READY=1"
        await systemd.until(f"STATUS=Connected to {server.pin.url}.")
        await systemd.until("WATCHDOG=1")
    await systemd.until("STOPPING=1\nSTATUS=Stopping.")


async def test_systemd_is_told_of_a_radio_that_is_not_there(
    phone: OwnersPhone, systemd: Systemd
) -> None:
    nowhere = "bumble:tcp-client:127.0.0.1:9"
    async with phone.running(radio=nowhere, radio_patience_s=0):
        assert await systemd.message() == "READY=1"
        while not (told := await systemd.message()).startswith("STATUS=Cannot open the radio"):
            assert told == "STATUS=not opened yet"
        assert nowhere in told
    # Never called alive.
    assert await systemd.until("STOPPING=1\nSTATUS=Stopping.") == []


async def test_a_restart_goes_on_after_the_last_event(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    async with served(jack):
        for _ in range(2):
            async with phone.running():
                server.ask(server.challenge(jack.id, phone.id))
                await server.confirmation()
    assert server.last_event_ids == [None, "1"]


async def test_open_challenges_that_come_again_are_taken_once(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    challenge = server.challenge(jack.id, phone.id)
    async with served(jack), phone.running():
        for _ in range(3):
            server.ask(challenge)
        assert (await server.confirmation()).decision is Decision.APPROVE
        marker = server.challenge(jack.id, phone.id)
        server.ask(marker)
        assert (await server.confirmation()).sub == marker.sub
    assert len(phone.traced("decision", challenge.sub)) == 1


async def test_a_server_that_comes_back_is_found_again(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    again = ScriptedServer(party=server.party)
    async with again.served() as port:
        again.url = f"https://127.0.0.1:{port}"
        phone.wallet(lambda w: w.pin_server(again.pin))
    async with served(jack), phone.running():
        status = await phone.command("GET", "/v1/status")
        assert status["server"]["connected"] is False
        async with again.served(port):
            await phone.until_traced("server_connected")
            again.ask(again.challenge(jack.id, phone.id))
            assert (await again.confirmation()).decision is Decision.APPROVE


async def test_a_phone_that_is_shut_out_stops_and_says_so(
    server: ScriptedServer, phone: OwnersPhone
) -> None:
    server.shut_out = True
    with pytest.raises(AgentError, match="revoked"):
        async with phone.running() as agent:
            await asyncio.wait({agent}, timeout=DEADLINE_S)


async def test_a_phone_that_is_not_enrolled_says_how(phone: OwnersPhone) -> None:
    (phone.state / "wallet.sqlite3").unlink()
    with pytest.raises(NotEnrolledError, match="phone-agent enroll"):
        async with phone.running():
            pytest.fail("started")


async def test_one_agent_runs_in_a_folder(server: ScriptedServer, phone: OwnersPhone) -> None:
    async with phone.running():
        with pytest.raises(StateFolderError, match="already running"):
            async with phone.running():
                pytest.fail("started twice")
        assert (await phone.command("GET", "/v1/status"))["phone"] == phone.id


async def test_the_control_socket_is_private_and_answers_with_problems(
    server: ScriptedServer, phone: OwnersPhone
) -> None:
    async with phone.running():
        assert (phone.state / "control.sock").stat().st_mode & 0o777 == 0o600
        for method, path, code in (
            ("GET", "/v1/nothing", ErrorCode.NOT_FOUND),
            ("POST", "/v1/status", ErrorCode.METHOD_NOT_ALLOWED),
            ("POST", "/v1/payments/x/melt", ErrorCode.NOT_FOUND),
        ):
            with pytest.raises(CodedError) as refused:
                await phone.command(method, path)
            assert refused.value.code is code
