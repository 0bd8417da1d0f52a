"""The store that the settings name, and what is said when it cannot be had."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from twochannel.keystore.file import FileKeyStore
from twochannel.keystore.port import KeyStoreError, KeyUse
from twochannel.keystore.stores import ensure, open_keystore


def test_files_are_a_store(tmp_path: Path) -> None:
    assert isinstance(open_keystore("file", tmp_path), FileKeyStore)


def test_ensure_makes_a_key_once(tmp_path: Path) -> None:
    store = open_keystore("file", tmp_path / "keys")
    ensure(store, "signing", KeyUse.SIGNING)
    kid = store.signer("signing").key.kid
    ensure(store, "signing", KeyUse.SIGNING)
    assert store.signer("signing").key.kid == kid


@pytest.mark.parametrize("name", ["", "files", "pkcs12:token=x", "/etc/keys"])
def test_other_stores_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(KeyStoreError, match='"file" or a pkcs11: URI'):
        open_keystore(name, tmp_path)


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    uri = "pkcs11:token=x;object=x?module-path=/nowhere/token.so"
    with pytest.raises(KeyStoreError, match=r"no PKCS#11 library /nowhere/token\.so; install"):
        open_keystore(uri, tmp_path).holds("signing")


def test_a_file_that_is_no_library_is_told(tmp_path: Path) -> None:
    wrong = tmp_path / "token.so"
    wrong.write_text("not a library", encoding="utf-8")
    uri = f"pkcs11:token=x;object=x?module-path={wrong}"
    with pytest.raises(KeyStoreError, match="its library"):
        open_keystore(uri, tmp_path).holds("signing")


def test_keys_in_files_load_nothing_of_tokens(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from twochannel.keystore.stores import open_keystore\n"
        "open_keystore('file', pathlib.Path('.'))\n"
        "sys.exit('pkcs11' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3], check=True)


def test_without_the_extra_the_user_learns_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "sys.modules['pkcs11'] = None\n"
        "from twochannel.keystore.stores import open_keystore\n"
        "open_keystore('pkcs11:token=x?module-path=/x', pathlib.Path('.'))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "pip install 'cigarjack[pkcs11]'" in told.stderr.splitlines()[-1]
