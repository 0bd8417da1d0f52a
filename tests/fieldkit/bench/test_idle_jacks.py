"""Idle jacks are jacks to the server: what it would have stored itself, resolved and audited."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from fieldkit.bench import idle_jacks
from fieldkit.bench.idle_jacks import IdleJack, patience_s, register, registered, write
from fieldkit.bench.progress import BenchProgress
from fieldkit.bench.virtual_jack import VirtualJack
from fieldkit.process import READY_DEADLINE_S, StageError
from server.pairing import read_acceptance, store_pairing
from server.resolver import Resolver
from server.schema.parties import jacks, pairings, phones
from server.state import StateFolder
from tests.server.audited import Files
from tests.server.bench import make_folder
from tests.server.devices import now_s
from twochannel.protocol.beacon import DEFAULT_ROTATION_EXPONENT, code_at
from twochannel.protocol.envelope import unverified_claims
from twochannel.protocol.keys import Jwk, VerifyingKey
from twochannel.protocol.statements import Identity
from twochannel.trace import wall_ms


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return make_folder(tmp_path / "server")


def rows(folder: StateFolder) -> dict[str, list[dict[str, Any]]]:
    """What the server has of phones, jacks and pairings."""

    def read(connection: Connection) -> dict[str, list[dict[str, Any]]]:
        return {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in (phones, jacks, pairings)
        }

    store = folder.open_store()
    try:
        return store.read_now(read)
    finally:
        store.close_now()


def paired_by_the_server(folder: StateFolder, written: dict[str, list[dict[str, Any]]]) -> None:
    """Let the server's own code verify and store the same statements."""
    server = folder.lineage().server
    store = folder.open_store()
    store.write_now(lambda connection: connection.execute(insert(phones), written["phones"]))
    keys = {row["id"]: Jwk.model_validate_json(row["key"]) for row in written["phones"]}
    for row in written["pairings"]:
        phone = VerifyingKey.from_jwk(keys[row["phone_id"]])
        accepted = read_acceptance(row["compact"], phone, server)

        def pair(
            connection: Connection, accepted: Any = accepted, paired_ms: int = row["paired_ms"]
        ) -> None:
            assert store_pairing(connection, accepted, paired_ms)[1]

        store.write_now(pair)
    store.close_now()


async def test_the_server_would_have_stored_the_same_rows(
    folder: StateFolder, tmp_path: Path
) -> None:
    shutil.copytree(folder.path, tmp_path / "again")
    await register(folder.path, 5, BenchProgress())
    written = rows(folder)
    again = StateFolder(tmp_path / "again")
    paired_by_the_server(again, written)
    assert rows(again) == written
    assert len({row["phone_id"] for row in written["jacks"]}) == 5


async def test_the_audit_finds_nothing(folder: StateFolder) -> None:
    await register(folder.path, 5, BenchProgress())
    checks = Files(folder.path, folder.identity()).audit()
    assert [finding for check in checks.values() for finding in check.findings] == []


async def test_the_server_resolves_their_codes(folder: StateFolder) -> None:
    made = [IdleJack.new() for _ in range(3)]
    store = folder.open_store()
    write(store, [jack.rows(folder.lineage().server, wall_ms()) for jack in made])
    resolver = Resolver(store, folder.beacon_key(), DEFAULT_ROTATION_EXPONENT, now_s)
    await resolver.get_ready()
    identity = Identity.from_claims(unverified_claims(folder.identity()))
    beacon_key = VerifyingKey.from_jwk(identity.beacon_key)
    for jack in made:
        key = VirtualJack(jack.signer, jack.beacon_key).identity_key(beacon_key)
        code = code_at(key, now_s(), DEFAULT_ROTATION_EXPONENT)
        assert await resolver.resolve(code.hex()) == jack.signer.key.kid
    store.close_now()


@pytest.mark.parametrize("count", [1, 4, 5])
async def test_none_is_lost_between_transactions(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(idle_jacks, "BATCH", 2)
    await register(folder.path, count, BenchProgress())
    assert registered(folder.path) == count


async def test_a_database_that_does_not_take_them_is_a_plain_sentence(folder: StateFolder) -> None:
    with closing(sqlite3.connect(folder.path / "server.sqlite3")) as connection:
        connection.execute("DROP TABLE pairings")
    with pytest.raises(StageError, match="no such table"):
        await register(folder.path, 1, BenchProgress())
    assert registered(folder.path) == 0, "what was half written is undone"


def test_a_server_with_many_is_waited_for_longer() -> None:
    assert patience_s(0) == READY_DEADLINE_S
    assert patience_s(1_000_000) > 1_000
