"""The phone's identity: its signing key wherever the settings say, its TLS key in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from phone_agent.identity import create, load
from tests.softhsm import SoftHsm
from twochannel.keystore.port import KeyStoreError


@pytest.mark.softhsm
def test_the_signing_key_may_be_in_a_token(softhsm: SoftHsm, tmp_path: Path) -> None:
    softhsm.make_token("phone")
    made = create(tmp_path, softhsm.uri("phone"))
    assert load(tmp_path, softhsm.uri("phone")).phone == made.phone
    assert create(tmp_path, softhsm.uri("phone")).phone == made.phone
    names = {path.name for path in (tmp_path / "keys").iterdir()}
    assert names == {"tls.pem", "tls.der", "token-prefix"}


def test_a_lost_certificate_is_named(tmp_path: Path) -> None:
    create(tmp_path)
    (tmp_path / "keys" / "tls.der").unlink()
    with pytest.raises(KeyStoreError, match="certificate"):
        load(tmp_path)
