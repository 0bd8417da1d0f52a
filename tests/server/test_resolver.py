"""The resolver and the registry in step, also across processes; the keys of devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from server import keyring
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
