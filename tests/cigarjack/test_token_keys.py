"""A jack whose signing and beacon keys live in a token (SoftHSM)."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cigarjack.client import JackClientError
from cigarjack.config import JackSettings, StateFolder
from cigarjack.identity import initialise, load
from tests.cigarjack.parties import Jack, Phone, Server, a_jack, link_service, owner_of
from tests.link_pair import link_pair
from tests.softhsm import SoftHsm
from twochannel.keystore.port import KeyStoreError
from twochannel.protocol import envelope
from twochannel.protocol.chain import check_auth_code
from twochannel.protocol.statements import AuthCode, Identity

pytestmark = pytest.mark.softhsm

TOKEN = "car"


@pytest.fixture
def hsm(softhsm: SoftHsm) -> SoftHsm:
    softhsm.make_token(TOKEN)
    return softhsm


@pytest.fixture
def jack(hsm: SoftHsm, tmp_path: Path, phone: Phone, server: Server) -> Iterator[Jack]:
    with a_jack(tmp_path / "jack", keys=hsm.uri(TOKEN)) as jack:
        jack.adopt(owner_of(phone, server))
        yield jack


async def test_its_chip_answers_a_challenge(jack: Jack, phone: Phone, server: Server) -> None:
    challenge = server.challenge(jack.id, phone.id)
    compact = envelope.sign(challenge, server.signer)
    answer = await jack.chip.auth_code(compact)
    auth_code = envelope.verify(answer, AuthCode, jack.identity.signer.key)
    check_auth_code(challenge, compact, auth_code)
    assert auth_code.counter == 1
    assert await jack.chip.auth_code(compact) == answer


async def test_no_counter_is_used_while_the_token_is_away(
    jack: Jack, hsm: SoftHsm, phone: Phone, server: Server
) -> None:
    compact = server.signed_challenge(jack.id, phone.id)
    with hsm.unplugged(), pytest.raises(KeyStoreError, match=TOKEN):
        await jack.chip.auth_code(compact)
    assert jack.memory.counter() == 0
    answer = await jack.chip.auth_code(compact)
    assert envelope.verify(answer, AuthCode, jack.identity.signer.key).counter == 1


def test_the_server_expects_the_code_that_it_broadcasts(jack: Jack, server: Server) -> None:
    agreed = jack.identity.agreement.exchange(server.agreement.key)
    assert agreed == server.agreement.exchange(jack.identity.agreement.key)


async def test_a_phone_pairs_over_gatt_with_the_beacon_key_in_the_token(
    jack: Jack, server: Server
) -> None:
    another, desk = Phone(), jack.desk()
    link, end = link_pair()
    serving = asyncio.create_task(link_service(jack, desk).serve(end))
    paired = await another.pair_over_gatt(link, str(desk.open_window()), server)
    await link.close()
    assert await serving
    assert (paired.pin.jack, paired.pin.epoch) == (jack.id, 2)


async def test_without_its_token_a_jack_pairs_nobody_over_gatt(
    jack: Jack, hsm: SoftHsm, server: Server
) -> None:
    desk = jack.desk()
    label = str(desk.open_window())
    link, end = link_pair()
    with hsm.unplugged():
        serving = asyncio.create_task(link_service(jack, desk).serve(end))
        with pytest.raises(JackClientError):
            await Phone().pair_over_gatt(link, label, server)
        assert not await serving


def test_only_the_tls_key_is_a_file(jack: Jack) -> None:
    assert {path.name for path in jack.folder.keys.iterdir()} == {"tls.pem", "token-prefix"}


def test_the_beacon_key_may_be_a_file_beside_it(hsm: SoftHsm, tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "jack")
    settings = JackSettings(keys=hsm.uri(TOKEN), beacon_keys="file")
    label = initialise(folder, settings)
    assert load(folder, settings).jack == label.thumbprint
    names = {path.name for path in folder.keys.iterdir()}
    assert names == {"beacon.pem", "tls.pem", "token-prefix"}


def command(state: Path, hsm: SoftHsm, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "cigarjack", "--state", str(state), *words, "--json"]
    return subprocess.run(line, env=hsm.environment, capture_output=True, text=True, check=False)


def test_the_commands_read_it_from_the_settings(hsm: SoftHsm, tmp_path: Path) -> None:
    state = tmp_path / "jack"
    state.mkdir(mode=0o700)
    (state / "config.toml").write_text(f'keys = "{hsm.uri(TOKEN)}"\n', encoding="utf-8")
    made = command(state, hsm, "init")
    assert made.returncode == 0, made.stderr
    again = command(state, hsm, "label")
    assert json.loads(again.stdout) == json.loads(made.stdout)
    assert not (state / "keys" / "signing.pem").exists()


def test_a_command_without_its_token_tells_what_to_do(hsm: SoftHsm, tmp_path: Path) -> None:
    state = tmp_path / "jack"
    state.mkdir(mode=0o700)
    (state / "config.toml").write_text(f'keys = "{hsm.uri("lost")}"\n', encoding="utf-8")
    failed = command(state, hsm, "init")
    assert failed.returncode == 1
    # The prefix of the labels is drawn before the token is asked; nothing else is left behind.
    assert "token lost is not there; plug it in" in json.loads(failed.stderr)["error"]["detail"]
    assert not (state / "memory.sqlite3").exists()


def test_the_identity_statement_is_signed_in_the_token(jack: Jack) -> None:
    compact = jack.identity.statement(lambda: "01a20846-fe00-7000-8000-000000000002")
    identity = envelope.verify(compact, Identity, jack.identity.signer.key)
    assert identity.beacon_key == jack.identity.agreement.key.jwk
