"""A server whose signing and beacon keys live in a token (SoftHSM)."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.agent import new_id
from server.config import ServerSettings
from server.state import StateFolder, initialise
from tests.softhsm import SoftHsm
from twochannel.protocol.envelope import verify
from twochannel.protocol.statements import Identity

pytestmark = pytest.mark.softhsm


@pytest.fixture
def hsm(softhsm: SoftHsm) -> SoftHsm:
    softhsm.make_token("server")
    return softhsm


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
