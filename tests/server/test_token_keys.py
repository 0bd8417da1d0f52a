"""A server whose signing and beacon keys live in a token (SoftHSM)."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.agent import new_id
from server.config import ServerSettings
from server.state import StateFolder, initialise
from server.succession import retire, rotate
from tests.softhsm import SoftHsm
from twochannel.protocol.envelope import verify
from twochannel.protocol.statements import Identity
from twochannel.state_folder import StateFolderError

pytestmark = pytest.mark.softhsm


@pytest.fixture
def hsm(softhsm: SoftHsm) -> SoftHsm:
    softhsm.make_token("server")
    return softhsm


def test_the_next_key_is_made_in_the_token(hsm: SoftHsm, tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "server")
    initialise(folder, ServerSettings(keys=hsm.uri("server")), new_id, 1)
    key = rotate(folder, new_id, (100, 100, 200)).key
    assert folder.issuer(new_id, now_s=100).signer.key == key
    assert not folder.keys.holds("signing-2")
    with pytest.raises(StateFolderError, match="destroy signing with the token's own tool"):
        retire(folder, 200, early=False)


@pytest.mark.parametrize("beacon_keys", [None, "file"])
def test_init_keeps_where_the_keys_are(
    hsm: SoftHsm, tmp_path: Path, beacon_keys: str | None
) -> None:
    keys = hsm.uri("server")
    settings = ServerSettings(keys=keys, beacon_keys=beacon_keys, name='The "shop"')
    server = initialise(StateFolder(tmp_path / "server"), settings, new_id, 1)
    folder = StateFolder(tmp_path / "server")
    kept = folder.settings()
    assert (kept.keys, kept.beacon_keys, kept.name) == (keys, beacon_keys, 'The "shop"')
    issuer = folder.issuer(new_id)
    identity = verify(folder.identity(), Identity, issuer.signer.key)
    assert identity.iss == issuer.signer.key.kid == server
    assert identity.beacon_key == folder.beacon_key().key.jwk
    assert not folder.keys.holds("signing")
    assert folder.keys.holds("beacon") is (beacon_keys == "file")
