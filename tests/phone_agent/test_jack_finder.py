"""Finding by real mDNS on loopback."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from zeroconf import IPVersion, NotRunningException
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from cigarjack.announcement import Announcement, Notice
from cigarjack.hint import hint
from phone_agent import jack_finder
from phone_agent.jack_finder import (
    MAX_HOSTS,
    SERVICE_TYPE,
    Endpoint,
    JackFinder,
    read_service,
)
from tests.mdns_between import NEXT, PORT, played
from twochannel.interfaces import OwnAddress

LOOPBACK = "127.0.0.1"
DEADLINE_S = 15.0


@asynccontextmanager
async def announced(*notices: Notice) -> AsyncIterator[Announcement]:
    """One jack's announcement, which says these things one after another."""
    async with Announcement(secrets.token_hex(8), [LOOPBACK]) as announcement:
        for notice in notices:
            await announcement.tell(notice)
        yield announcement


async def until_candidates(finder: JackFinder, link_key: bytes, wanted: list[Endpoint]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while finder.candidates(link_key) != wanted:
            await finder.change()


async def until_pairing(finder: JackFinder, endpoint: Endpoint, *, there: bool) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while (endpoint in finder.pairing_candidates()) is not there:
            await finder.change()


async def test_only_the_paired_phone_recognises_its_jack() -> None:
    ours, others = secrets.token_bytes(32), secrets.token_bytes(32)
    async with (
        announced(Notice(4001, ours)),
        announced(Notice(4002, others)),
        announced(Notice(0, None, 4003)),
        JackFinder([LOOPBACK]) as finder,
    ):
        await until_candidates(finder, ours, [(LOOPBACK, 4001)])
        await until_candidates(finder, others, [(LOOPBACK, 4002)])
        await until_pairing(finder, (LOOPBACK, 4003), there=True)
        assert finder.candidates(secrets.token_bytes(32)) == []


async def test_a_network_that_goes_while_it_is_taken_up_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel cannot be made to lose an interface at that very moment."""
    taken_up = asyncio.Event()
    failures = [OSError(19, "No such device"), NotRunningException(), RuntimeError("no interfaces")]
    looks = 0

    def addresses(_among: object) -> frozenset[OwnAddress]:
        nonlocal looks
        looks += 1
        return frozenset({OwnAddress(min(looks, 3), LOOPBACK)})

    def take_up(*interfaces: object, **options: object) -> AsyncZeroconf:
        if failures:
            raise failures.pop()
        taken_up.set()
        return AsyncZeroconf(interfaces=[LOOPBACK], ip_version=IPVersion.V4Only)

    monkeypatch.setattr(jack_finder, "_ADDRESS_CHECK_S", 0.01)
    monkeypatch.setattr(jack_finder, "own_addresses", addresses)
    link_key = secrets.token_bytes(32)
    async with JackFinder() as finder, announced(Notice(4001, link_key)):
        monkeypatch.setattr(jack_finder, "AsyncZeroconf", take_up)
        await asyncio.wait_for(taken_up.wait(), DEADLINE_S)
        await until_candidates(finder, link_key, [(LOOPBACK, 4001)])


async def test_a_look_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel cannot be made to refuse its addresses once."""
    failures = [OSError(24, "Too many open files")]

    def addresses(_among: object) -> frozenset[OwnAddress]:
        if failures:
            raise failures.pop()
        return frozenset({OwnAddress(2, LOOPBACK)})

    monkeypatch.setattr(jack_finder, "_ADDRESS_CHECK_S", 0.01)
    link_key = secrets.token_bytes(32)
    async with JackFinder([LOOPBACK]) as finder, announced(Notice(4001, link_key)):
        await until_candidates(finder, link_key, [(LOOPBACK, 4001)])
        found_anew = finder.change()
        monkeypatch.setattr(jack_finder, "own_addresses", addresses)
        await asyncio.wait_for(found_anew, DEADLINE_S)
        await until_candidates(finder, link_key, [(LOOPBACK, 4001)])


async def test_a_jack_that_moved_while_the_phone_was_away_is_found_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the phone missed is made by a jack that goes without a word, as in a power cut."""
    away, link_key = asyncio.Event(), secrets.token_bytes(32)

    def addresses(_among: object) -> frozenset[OwnAddress]:
        return frozenset({OwnAddress(2 if away.is_set() else 1, LOOPBACK)})

    monkeypatch.setattr(jack_finder, "_ADDRESS_CHECK_S", 0.01)
    monkeypatch.setattr(jack_finder, "own_addresses", addresses)
    async with JackFinder() as finder:
        jack = AsyncZeroconf(interfaces=[LOOPBACK], ip_version=IPVersion.V4Only)
        properties: dict[str, str | bytes] = {"h": hint(link_key, "moved")}
        await jack.async_register_service(service("moved", properties))
        async with asyncio.timeout(DEADLINE_S):
            while not finder.candidates(link_key):
                await finder.change()
        jack.zeroconf.engine._async_shutdown()
        away.set()
        async with asyncio.timeout(DEADLINE_S):
            while finder.candidates(link_key):
                await finder.change()


async def test_a_jack_that_comes_moves_and_goes_is_followed() -> None:
    link_key = secrets.token_bytes(32)
    async with JackFinder([LOOPBACK]) as finder:
        async with announced(Notice(4001, link_key)) as announcement:
            await until_candidates(finder, link_key, [(LOOPBACK, 4001)])
            await announcement.tell(Notice(4002, link_key))
            await until_candidates(finder, link_key, [(LOOPBACK, 4002)])
        await until_candidates(finder, link_key, [])


async def test_the_pairing_window_is_seen_opening_and_closing() -> None:
    async with JackFinder([LOOPBACK]) as finder, announced(Notice(0, None, 4003)) as announcement:
        await until_pairing(finder, (LOOPBACK, 4003), there=True)
        await announcement.tell(Notice(4001, secrets.token_bytes(32), None))
        await until_pairing(finder, (LOOPBACK, 4003), there=False)


async def test_a_spoofed_service_is_one_candidate_among_others() -> None:
    link_key = secrets.token_bytes(32)
    async with (
        announced(Notice(4001, link_key)),
        announced(Notice(4002, link_key)),
        JackFinder([LOOPBACK]) as finder,
    ):
        async with asyncio.timeout(DEADLINE_S):
            while set(finder.candidates(link_key)) != {(LOOPBACK, 4001), (LOOPBACK, 4002)}:
                await finder.change()


async def test_a_flood_of_services_is_not_remembered_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jack_finder, "MAX_SERVICES", 8)
    async with (
        AsyncZeroconf(interfaces=[LOOPBACK], ip_version=IPVersion.V4Only) as flooder,
        JackFinder([LOOPBACK]) as finder,
    ):
        announcing = [
            await flooder.async_register_service(
                service(f"flood{number}{secrets.token_hex(4)}", {"p": str(1 + number)}),
                cooperating_responders=True,
            )
            for number in range(20)
        ]
        await asyncio.gather(*announcing)
        async with asyncio.timeout(DEADLINE_S):
            while not finder.pairing_candidates():
                await finder.change()
        assert len(finder.pairing_candidates()) <= 8 * MAX_HOSTS


def service(instance: str, properties: dict[str, str | bytes]) -> AsyncServiceInfo:
    return AsyncServiceInfo(
        SERVICE_TYPE,
        f"{instance}.{SERVICE_TYPE}",
        port=4000,
        properties=properties,
        server=f"{instance}.local.",
        parsed_addresses=[f"192.0.2.{number}" for number in range(1, 9)],
    )


def test_an_announcement_is_read() -> None:
    link_key = bytes(32)
    text = hint(link_key, "0123456789abcdef")
    read = read_service(service("0123456789abcdef", {"v": "1", "h": text, "p": "65535"}))
    assert (read.instance, read.port) == ("0123456789abcdef", 4000)
    assert (read.hints, read.pairing_port) == ((text,), 65535)
    assert len(read.hosts) == MAX_HOSTS


@pytest.mark.parametrize("port", ["", "0", "65536", "-1", "8.0", "４２", "1" * 400, b"\xff\xfe"])
def test_a_pairing_port_that_makes_no_sense_counts_as_none(port: str | bytes) -> None:
    assert read_service(service("x", {"p": port[:200]})).pairing_port is None


@pytest.mark.machines
def test_an_interface_that_is_another_one_with_the_same_address_is_searched() -> None:
    assert played("find-replugged") == f"{NEXT}:{PORT}"


@pytest.mark.machines
def test_an_address_that_is_to_be_searched_may_come_later() -> None:
    assert played("find-late") == f"{NEXT}:{PORT}"
