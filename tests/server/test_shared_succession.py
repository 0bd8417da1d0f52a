"""Replacing the key of servers that share a database: the operator copies it, and both sign on."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from server.client import ServerClient, ServerPin
from tests.postgresql import Postgresql
from tests.server.bench import DEADLINE_S, Bench
from tests.server.process import command
from tests.server.replicas import replicas
from twochannel.protocol.envelope import read_header

pytestmark = pytest.mark.postgresql


@pytest.fixture
async def servers(postgresql: Postgresql, tmp_path: Path) -> AsyncIterator[tuple[Bench, Bench]]:
    async with replicas(postgresql, tmp_path) as both:
        yield both


def announced(bench: Bench) -> str:
    """The next key, made by its operator's command; it begins within seconds."""
    times = ("--begins-hours", "0.001", "--overlap-hours", "1")
    rotated = command(bench.folder.path, "keys", "rotate", *times, "--json")
    assert rotated.returncode == 0, rotated.stderr
    return str(json.loads(rotated.stdout)["key"])


def copy_keys(source: Bench, target: Bench) -> None:
    """As docs/operations.md has it."""
    source_path, target_path = source.folder.path, target.folder.path
    shutil.copytree(source_path / "keys", target_path / "keys", dirs_exist_ok=True)
    shutil.copy(source_path / "successions.jwt", target_path)


async def told(bench: Bench) -> dict[str, Any]:
    answer: dict[str, Any] = (await bench.http.get("/.well-known/cigarjack")).json()
    return answer


async def believed(bench: Bench) -> list[str]:
    """The keys that devices are told to verify by."""
    return [str(each["kid"]) for each in (await told(bench))["jwks"]["keys"]]


async def until_it_signs(bench: Bench, key: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while read_header((await told(bench))["identity"]).kid != key:
            continue


def client_of(bench: Bench) -> ServerClient:
    """A phone that has heard of no key but the first."""
    pin = ServerPin(
        bench.url, bench.devices.server_id, bench.folder.certificate(), bench.folder.identity(), 8
    )
    return ServerClient(pin, bench.devices.phone)


async def coupled(asked: Bench, answered: Bench) -> str:
    """A coupling that one server asks for and the other takes: the key that the challenge has."""
    devices = asked.devices
    async with client_of(asked) as first, client_of(answered) as second:
        challenge = await first.coupling_challenge(devices.method_id, devices.jack.key.kid)
        answer = devices.coupling_answer(challenge)
        assert (await second.couple(devices.method_id, challenge, answer)).jacks
    return read_header(challenge).kid


async def receipt_key(bench: Bench, payment: str, challenge: str) -> str:
    """Of a payment that is approved at this server."""
    confirmation = bench.devices.confirmation(payment, challenge)
    shown = (await bench.confirm(payment, confirmation)).json()
    assert shown["status"] == "captured", shown
    return read_header(shown["receipt"]).kid


async def test_a_key_that_is_copied_is_taken_up_without_a_restart(
    servers: tuple[Bench, Bench],
) -> None:
    one, other = servers
    old, devices = one.devices.server_id, one.devices
    before, _, asked = await one.pending()
    async with client_of(one) as phone:
        challenge = await phone.coupling_challenge(devices.method_id, devices.jack.key.kid)
    new = announced(one)
    assert await believed(other) == [old]
    copy_keys(one, other)
    for bench in servers:
        await until_it_signs(bench, new)
        assert await believed(bench) == [old, new]

    # What one has signed with the old key before, the other takes.
    assert read_header(asked).kid == read_header(challenge).kid == old
    assert await receipt_key(other, before, asked) == new
    async with client_of(other) as phone:
        answer = devices.coupling_answer(challenge)
        assert (await phone.couple(devices.method_id, challenge, answer)).jacks
        assert phone.pin.keys.newest.key.kid == new
    for first, second in ((one, other), (other, one)):
        assert await coupled(first, second) == new
        payment, _, asked = await first.pending()
        assert read_header(asked).kid == new
        assert await receipt_key(second, payment, asked) == new
