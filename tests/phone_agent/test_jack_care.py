"""Reaching jacks and keeping their clocks right: real services, real TLS, real mDNS."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from pathlib import Path

from cigarjack.announcement import Announcement, Notice
from phone_agent.consent import Reason
from tests.cigarjack.parties import LOOPBACK, Jack, a_jack, served
from tests.phone_agent.owners_phone import OwnersPhone, eventually, hear_lane
from tests.phone_agent.scripted_server import ScriptedServer
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.statements import Decision


async def test_a_jack_without_time_is_synchronised_at_once(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    async with served(jack), phone.running():
        await phone.until_traced("time_synchronised")
        assert jack.synchronised == 1
        status = await phone.command("GET", "/v1/status")
        (shown,) = status["jacks"]
        assert (shown["jack"], shown["reachable"], shown["clock"]) == (jack.id, True, "trusted")
        assert status["server"] == {"url": server.url, "connected": True}
    assert len(phone.traced("time_synchronised")) == 1


async def test_the_clock_follows_the_server_and_not_the_phone(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    server.skew_ms = 40 * 24 * 3600 * 1000
    phone.pair(jack, server)
    async with served(jack), phone.running():
        await phone.until_traced("time_synchronised")
    assert jack.clock.now_ms() is not None
    assert abs((jack.clock.now_ms() or 0) - server.now_ms()) < 15_000


async def test_a_jack_that_boots_again_elsewhere_is_found_and_its_address_kept(
    server: ScriptedServer, tmp_path: Path, phone: OwnersPhone
) -> None:
    with a_jack(tmp_path / "jack", boot="one") as jack:
        phone.pair(jack, server)
        async with phone.running():
            async with served(jack) as (services, _):
                first = services.port
                await phone.until_traced("jack_found")
            with a_jack(tmp_path / "jack", boot="two") as again:
                hear_lane(again)
                async with served(again) as (services, _):
                    second = services.port
                    server.ask(server.challenge(jack.id, phone.id))
                    assert (await server.confirmation()).decision is Decision.APPROVE
    found = [line["address"] for line in phone.traced("jack_found")]
    assert found[0] == f"{LOOPBACK}:{first}"
    assert found[-1] == f"{LOOPBACK}:{second}"
    phone.wallet(lambda w: check_address(w.jacks()[0].port, second))


def check_address(kept: int, expected: int | None) -> None:
    assert kept == expected


async def test_a_spoofed_service_does_not_keep_the_phone_from_its_jack(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    pin = phone.pair(jack, server)
    silent = await asyncio.start_server(_say_nothing, LOOPBACK, 0)
    async with silent, spoofed(pin.link_key, silent), spoofed(pin.link_key, server):
        hear_lane(jack)
        async with phone.running(), served(jack) as (services, _):
            server.ask(server.challenge(jack.id, phone.id))
            assert (await server.confirmation()).decision is Decision.APPROVE
            addresses = {line["address"] for line in phone.traced("jack_found")}
            assert addresses == {f"{LOOPBACK}:{services.port}"}


def spoofed(link_key: bytes, target: asyncio.Server | ScriptedServer) -> _Spoof:
    if isinstance(target, ScriptedServer):
        port = int(target.url.rpartition(":")[2])
    else:
        port = target.sockets[0].getsockname()[1]
    return _Spoof(link_key, port)


class _Spoof:
    """Somebody announces the jack's own hint for another port."""

    def __init__(self, link_key: bytes, port: int) -> None:
        self._announcement = Announcement(secrets.token_hex(8), [LOOPBACK])
        self._notice = Notice(port, link_key)

    async def __aenter__(self) -> None:
        await self._announcement.__aenter__()
        await self._announcement.tell(self._notice)

    async def __aexit__(self, *failure: object) -> None:
        await self._announcement.__aexit__(*failure)


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def test_the_last_good_address_needs_no_announcement(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    pin = phone.pair(jack, server)
    async with served(jack) as (services, _):
        port = services.port
        assert port is not None
        phone.wallet(lambda w: w.keep_address(pin.jack, LOOPBACK, port))
        # Nobody answers mDNS on this address.
        async with phone.running(interfaces=("127.0.0.2",)):
            found = await phone.until_traced("jack_found")
    assert found["address"] == f"{LOOPBACK}:{port}"


async def test_a_jack_that_goes_is_told_lost(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    async with phone.running():
        async with served(jack):
            await phone.until_traced("time_synchronised")
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        await phone.until_traced("jack_lost")
        await phone.command("POST", f"/v1/payments/{challenge.sub}/decline")
        await eventually(lambda: challenge.sub in server.accepted, "the decline arrives")
        (shown,) = (await phone.command("GET", "/v1/status"))["jacks"]
        assert (shown["reachable"], shown["address"]) == (False, None)


async def test_a_new_pairing_is_taken_in_while_the_agent_runs(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    async with phone.running():
        assert (await phone.command("GET", "/v1/status"))["jacks"] == []
        phone.pair(jack, server)
        async with served(jack):
            await phone.command("POST", "/v1/refresh")
            await phone.until_traced("time_synchronised")


async def test_time_that_cannot_be_had_now_is_asked_for_again(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    server.time_refusals.append(ErrorCode.NOT_READY)
    async with served(jack), phone.running():
        await phone.until_traced("time_synchronised")
    assert jack.synchronised == 1
    assert not server.time_refusals


async def test_a_jack_that_is_paired_again_is_cared_for_under_its_new_epoch(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    async with served(jack) as (services, _), phone.running():
        await phone.until_traced("time_synchronised")
        phone.pair(jack, server, epoch=2)
        owner = jack.memory.pairing_state().owner
        assert owner is not None
        await services.serve_owner(owner)
        await phone.command("POST", "/v1/refresh")
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        assert (await server.confirmation()).decision is Decision.APPROVE
        (shown,) = (await phone.command("GET", "/v1/status"))["jacks"]
        assert shown["epoch"] == 2


async def test_a_jack_under_another_epoch_than_the_phone_thinks_makes_no_approval(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    pin = phone.pair(jack, server)
    hear_lane(jack)
    owner = jack.memory.pairing_state().owner
    assert owner is not None
    jack.adopt(replace(owner, epoch=2))
    async with served(jack), phone.running():
        server.ask(server.challenge(pin.jack, phone.id))
        confirmation = await server.confirmation()
    assert (confirmation.decision, confirmation.auth_code) == (Decision.DECLINE, None)
    assert phone.traced("decision")[0]["reason"] == Reason.JACK_REFUSED
