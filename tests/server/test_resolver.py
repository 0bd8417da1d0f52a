"""The resolver and the registry in step, also across processes; the keys of devices."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from server import keyring
from server import resolver as resolving
from server.keyring import KeyRing
from server.resolver import Resolver
from tests.server.bench import Bench, make_folder, running
from tests.server.devices import Devices, new_signer, now_s
from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.statements import Role


async def test_jacks_that_another_process_paired_are_found(bench: Bench) -> None:
    """As after a restart, or beside a second server on the same database."""
    folder = bench.folder
    store = folder.open_store()
    resolver = Resolver(store, folder.beacon_key(), 8, now_s)
    assert await resolver.resolve(bench.devices.code()) == bench.devices.jack.key.kid
    other = Devices(bench.devices.identity, phone=bench.devices.phone)
    assert await resolver.resolve(other.code()) is None
    assert (await bench.post("/v1/pairings", other.acceptance())).status_code == 201
    assert await resolver.resolve(other.code()) == other.jack.key.kid
    store.close_now()


async def test_a_server_that_starts_again_knows_its_jacks(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "server")
    async with running(folder) as bench:
        await bench.enrol()
        devices = bench.devices
    async with running(folder, devices) as again:
        payment, _, challenge = await again.pending()
        answer = await again.confirm(payment, devices.confirmation(payment, challenge))
        assert answer.json()["status"] == "captured"


async def test_jacks_are_taken_in_piece_by_piece_before_a_server_is_ready(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolving, "_TAKEN_AT_ONCE", 1)
    identity, phone = bench.devices.identity, bench.devices.phone
    others = [Devices(identity, phone=phone) for _ in range(4)]
    for other in others:
        assert (await bench.post("/v1/pairings", other.acceptance())).status_code == 201
    store = bench.folder.open_store()
    resolver = Resolver(store, bench.folder.beacon_key(), 8, now_s)
    states = []

    async def watch() -> None:
        while True:
            states.append(resolver.state)
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    await resolver.get_ready()
    watching.cancel()
    assert "Taking in jacks: 3 of 5." in states
    assert resolver.state == "Computing codes of 5 jacks."
    for other in others:
        assert await resolver.resolve(other.code()) == other.jack.key.kid
    store.close_now()


async def test_no_pairing_is_passed_over_when_they_are_read_a_few_at_a_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolving, "_READ_AT_ONCE", 2)
    identity, phone = bench.devices.identity, bench.devices.phone
    jacks = [bench.devices, *(Devices(identity, phone=phone) for _ in range(3))]
    for jack in jacks[1:]:
        assert (await bench.post("/v1/pairings", jack.acceptance())).status_code == 201
    store = bench.folder.open_store()
    resolver = Resolver(store, bench.folder.beacon_key(), 8, now_s)
    await resolver.refresh()
    for jack in jacks:
        assert await resolver.resolve(jack.code()) == jack.jack.key.kid
    store.close_now()


async def test_a_jack_with_a_new_beacon_key_is_known_by_that_alone(bench: Bench) -> None:
    devices = bench.devices
    old = devices.code()
    devices.jack_beacon = Devices(devices.identity).jack_beacon
    devices.epoch = 2
    assert (await bench.post("/v1/pairings", devices.acceptance())).status_code == 201
    answer = await bench.post("/v1/payments", devices.request(code=old))
    assert answer.json()["code"] == "code_unknown"
    assert (await bench.post("/v1/payments", devices.request())).status_code == 201


async def test_keys_are_kept_up_to_a_bound(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "_MAX_KEYS", 1)
    ring = KeyRing(bench.store, bench.devices.server_id, lambda _: None)
    for _ in range(2):
        for role, signer in (
            (Role.PHONE, bench.devices.phone),
            (Role.TERMINAL, bench.devices.terminal),
        ):
            assert (await ring.key(role, signer.key.kid)).kid == signer.key.kid
    with pytest.raises(StatementError) as refused:
        await ring.key(Role.PHONE, new_signer().key.kid)
    assert refused.value.code is ErrorCode.KEY_UNKNOWN
