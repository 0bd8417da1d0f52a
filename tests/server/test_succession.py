"""Replacing the server's key: the commands, the running server, the books afterwards."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from server.client import ServerClient, ServerPin
from server.evidence_file import EvidenceError
from server.evidence_parties import meet_server
from server.state import StateFolder
from server.succession import list_keys, retire, rotate
from tests.server.bench import DEADLINE_S, Bench, copied, make_folder, running
from tests.server.devices import Devices, new_id, now_s
from tests.server.process import command
from twochannel.keystore.file import FileKeyStore
from twochannel.keystore.port import KeyUse
from twochannel.protocol.envelope import read_header, sign, unverified_claims
from twochannel.protocol.statements import Identity
from twochannel.protocol.succession import SEPARATOR, Succession
from twochannel.state_folder import StateFolderError

HOUR_S = 3600


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return make_folder(tmp_path / "server")


def announce(folder: StateFolder, begins_s: int = 0, ends_s: int = HOUR_S) -> str:
    """The next key; times from now."""
    at_s = now_s()
    return rotate(folder, new_id, (at_s, at_s + begins_s, at_s + ends_s)).key.kid


def states(folder: StateFolder, after_s: int = 0) -> list[str]:
    return [each.state for each in list_keys(folder, now_s() + after_s)]


def test_a_key_is_announced_signs_and_is_over(folder: StateFolder) -> None:
    assert states(folder) == ["signing"]
    new = announce(folder, begins_s=60, ends_s=HOUR_S)
    assert states(folder) == ["next", "signing"]
    assert folder.issuer(new_id).signer.key.kid != new
    assert folder.issuer(new_id, now_s=now_s() + 61).signer.key.kid == new
    assert states(folder, 61) == ["signing", "ending"]
    assert states(folder, HOUR_S + 1) == ["signing", "over"]


def test_nobody_puts_a_key_of_their_own_before_the_servers(
    folder: StateFolder, tmp_path: Path
) -> None:
    """A key's identity is public and names none before it."""
    lineage, store = folder.lineage(), FileKeyStore(tmp_path / "forger")
    store.create("signing", KeyUse.SIGNING)
    forger = store.signer("signing")
    (public,) = lineage.steps
    identity = Identity.from_claims(unverified_claims(public))
    first = sign(identity.model_copy(update={"key": forger.key.jwk}), forger)
    at_s = now_s()
    succession = Succession(
        iss=lineage.server, jti=new_id(), iat=at_s, identity=public, begins=at_s, ends=at_s + 60
    )
    forged = SEPARATOR.join((first, sign(succession, forger)))
    assert meet_server(public, lineage.server)[0] == lineage
    for trusted in (lineage.server, None):
        with pytest.raises(EvidenceError, match="first key"):
            meet_server(forged, trusted)


def test_one_succession_at_a_time(folder: StateFolder) -> None:
    first = folder.lineage().server
    announce(folder)
    with pytest.raises(StateFolderError, match="still believed"):
        announce(folder)
    at_s = now_s() + HOUR_S + 1
    third = rotate(folder, new_id, (at_s, at_s, at_s + 60)).key.kid
    assert folder.lineage().newest.key.kid == third
    assert folder.lineage().server == first
    assert folder.keys.holds("signing-3")


def test_of_two_commands_at_once_one_is_late(folder: StateFolder) -> None:
    def one() -> bool:
        try:
            announce(folder)
        except StateFolderError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        done = [each.result() for each in [pool.submit(one) for _ in range(4)]]
    assert sorted(done) == [False, False, False, True]
    assert len(folder.lineage().keys) == 2


async def test_a_server_never_signs_with_a_key_that_was_not_announced(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as one that was copied from the wrong folder."""
    before = (await bench.http.get("/.well-known/cigarjack")).json()
    announce(bench.folder, begins_s=2)
    bench.folder.keys.path("signing-2").unlink()
    bench.folder.keys.create("signing-2", KeyUse.SIGNING)

    def told() -> list[str]:
        untaken = (r for r in caplog.records if r.message == "succession_not_taken")
        return [str(record.__dict__["reason"]) for record in untaken]

    async with asyncio.timeout(DEADLINE_S):
        while not told():
            after = (await bench.http.get("/.well-known/cigarjack")).json()
    assert told() == ["the key store has another key under signing-2"]
    assert (after["identity"], len(after["lineage"])) == (before["identity"], 2)


def test_what_is_over_is_destroyed_and_nothing_else(folder: StateFolder) -> None:
    announce(folder)
    assert retire(folder, now_s(), early=False) == []
    assert retire(folder, now_s() + HOUR_S + 1, early=False) == ["signing"]
    assert retire(folder, now_s() + HOUR_S + 1, early=False) == []
    assert [each.held for each in list_keys(folder, now_s())] == [True, False]
    assert folder.issuer(new_id).signer.key == folder.lineage().newest.key


def test_a_stolen_key_is_destroyed_early(folder: StateFolder) -> None:
    announce(folder)
    assert retire(folder, now_s(), early=True) == ["signing"]


def test_the_commands_say_what_they_did(folder: StateFolder) -> None:
    wrong = command(folder.path, "keys", "rotate", "--overlap-hours", "0")
    assert wrong.returncode == 2
    said = command(folder.path, "keys", "rotate", "--begins-hours", "0").stdout
    assert f"Key {folder.lineage().newest.key.kid} is announced." in said
    again = command(folder.path, "keys", "rotate")
    assert (again.returncode, "still believed" in again.stderr) == (1, True)
    items = json.loads(command(folder.path, "keys", "list", "--json").stdout)["items"]
    assert [each["state"] for each in items] == ["signing", "ending"]
    assert "held" in command(folder.path, "keys", "list").stdout
    assert command(folder.path, "keys", "retire").stdout == "No key is over.\n"
    code = command(folder.path, "phones", "add", "Mina", "--json").stdout
    assert folder.lineage().newest.key.kid in code


async def until_told(client: ServerClient, key: str) -> None:
    """A request now and then, as devices make them."""
    while client.pin.keys.newest.key.kid != key:
        await client.synchronise()


def pin_of(bench: Bench) -> ServerPin:
    """As pinned before anything was announced."""
    server, certificate = bench.devices.server_id, bench.folder.certificate()
    return ServerPin(bench.url, server, certificate, bench.folder.identity(), 8)


async def test_a_running_server_takes_the_key_up_and_its_books_hold(
    prepared: tuple[StateFolder, Devices], tmp_path: Path
) -> None:
    folder, devices = copied(prepared, tmp_path / "server")
    async with running(folder, devices) as bench:
        before, _, challenge = await bench.pending()
        kept: list[ServerPin] = []
        async with ServerClient(pin_of(bench), devices.phone, keep_pin=kept.append) as client:
            checkpoint = tmp_path / "checkpoint.jwt"
            signed = command(folder.path, "evidence", "checkpoint", "--out", str(checkpoint))
            assert signed.returncode == 0, signed.stderr
            coupling = await client.coupling_challenge(devices.method_id, devices.jack.key.kid)
            key = announce(folder)
            await until_told(client, key)
            assert [pin.keys.newest.key.kid for pin in kept] == [key]
            assert ServerPin.from_json(kept[0].to_json()) == kept[0]
            # What the old key has signed is taken during the overlap.
            answer = devices.coupling_answer(coupling)
            assert (await client.couple(devices.method_id, coupling, answer)).jacks
        await bench.confirm(before, devices.confirmation(before, challenge))
        after, _, other = await bench.pending()
        assert read_header(challenge).kid == devices.server_id
        assert read_header(other).kid == key
        shown = (await bench.confirm(after, devices.confirmation(after, other))).json()
        assert shown["status"] == "captured"
        assert read_header(shown["receipt"]).kid == key
        told = (await bench.http.get("/.well-known/cigarjack")).json()
        assert [each["kid"] for each in told["jwks"]["keys"]] == [devices.server_id, key]
        assert read_header(told["identity"]).kid == key
    for payment in (before, after):
        file = tmp_path / f"{payment}.json"
        assert (
            command(folder.path, "evidence", "export", payment, "--out", str(file)).returncode == 0
        )
        for trusted in (devices.server_id, key):
            verified = command(folder.path, "evidence", "verify", str(file), "--server", trusted)
            assert verified.returncode == 0, verified.stderr
        assert "replaced" in verified.stdout
        spoilt = file.read_text().replace("~", "~e")
        (tmp_path / "spoilt.json").write_text(spoilt)
        refused = command(folder.path, "evidence", "verify", str(tmp_path / "spoilt.json"))
        assert refused.returncode == 1
    journal = tmp_path / "journal.json"
    period = ("--from", "2020-01-01", "--out", str(journal))
    assert command(folder.path, "evidence", "export", *period).returncode == 0
    # What the old key signed for the journal agrees with what the new one has signed.
    beside = ("--checkpoint", str(checkpoint))
    verified = command(folder.path, "evidence", "verify", str(journal), *beside)
    assert verified.returncode == 0, verified.stderr
    assert read_header(checkpoint.read_text().strip()).kid == devices.server_id
    audited = command(folder.path, "audit")
    assert audited.returncode == 0, audited.stdout + audited.stderr


async def test_an_open_stream_tells_of_the_key_before_what_it_has_signed(
    prepared: tuple[StateFolder, Devices], tmp_path: Path
) -> None:
    folder, devices = copied(prepared, tmp_path / "server")
    async with (
        running(folder, devices) as bench,
        ServerClient(pin_of(bench), devices.phone) as client,
    ):
        events = client.events()
        assert (await anext(events)).kind == "connected"
        key = announce(folder)
        while read_header((await bench.pending())[2]).kid != key:
            await bench.clear()
        kinds = []
        async for event in events:
            kinds.append(event.kind)
            if event.kind == "challenge" and read_header(event.data["challenge"]).kid == key:
                break
        assert client.pin.keys.newest.key.kid == key
        assert "lost" not in kinds


async def test_who_is_led_elsewhere_believes_nothing(bench: Bench, tmp_path: Path) -> None:
    other = make_folder(tmp_path / "other")
    announce(other)
    async with ServerClient(pin_of(bench), bench.devices.phone) as client:
        # Another server's succession in this one's folder, as no operator would have it.
        bench.folder.successions_file.write_bytes(other.successions_file.read_bytes())
        await client.synchronise()
        assert client.pin == pin_of(bench)


def test_a_backup_has_the_keys_of_its_moment(folder: StateFolder, tmp_path: Path) -> None:
    key = announce(folder)
    assert command(folder.path, "backup", str(tmp_path / "backup")).returncode == 0
    restored = tmp_path / "restored"
    assert command(restored, "restore", str(tmp_path / "backup")).returncode == 0
    assert StateFolder(restored).lineage() == folder.lineage()
    assert StateFolder(restored).issuer(new_id).signer.key.kid == key
