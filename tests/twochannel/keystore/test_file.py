"""Keys in files: private, whole, and the right kind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from twochannel.keystore.file import FileKeyStore, write_private
from twochannel.keystore.port import KeyStoreError


@pytest.fixture
def store(tmp_path: Path) -> FileKeyStore:
    return FileKeyStore(tmp_path / "keys")


def test_a_key_is_made_kept_and_found_again(store: FileKeyStore) -> None:
    store.create("signing")
    first, again = store.signer("signing"), FileKeyStore(store.path("x").parent).signer("signing")
    assert first.key.kid == again.key.kid
    signature = first.sign(b"message")
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    again.key.public_key.verify(encode_dss_signature(r, s), b"message", ec.ECDSA(hashes.SHA256()))


def test_only_the_owner_may_read(store: FileKeyStore) -> None:
    store.create("signing")
    path = store.path("signing")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.chmod(0o640)
    with pytest.raises(KeyStoreError, match="chmod 600"):
        store.signer("signing")


def test_a_key_is_never_overwritten(store: FileKeyStore) -> None:
    store.create("signing")
    kid = store.signer("signing").key.kid
    with pytest.raises(KeyStoreError, match="exists already"):
        store.create("signing")
    assert store.signer("signing").key.kid == kid


def test_both_sides_of_an_agreement(store: FileKeyStore) -> None:
    store.create("mine")
    store.create("theirs")
    mine, theirs = store.agreement("mine"), store.agreement("theirs")
    assert mine.exchange(theirs.key) == theirs.exchange(mine.key)


def test_a_missing_key_says_what_to_do(store: FileKeyStore) -> None:
    with pytest.raises(KeyStoreError, match="initialise first"):
        store.signer("signing")


@pytest.mark.parametrize("name", ["", "../x", "Signing", "a/b", "a" * 33])
def test_names_stay_inside_the_store(store: FileKeyStore, name: str) -> None:
    with pytest.raises(ValueError, match="not a key name"):
        store.path(name)


@pytest.mark.parametrize("content", [b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\nAA\n"])
def test_a_damaged_file_is_named(store: FileKeyStore, content: bytes) -> None:
    store.create("signing")
    store.path("signing").write_bytes(content)
    with pytest.raises(KeyStoreError, match="cannot read"):
        store.signer("signing")


def test_a_key_on_another_curve_is_refused(store: FileKeyStore) -> None:
    store.create("signing")
    pem = ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    store.path("signing").write_bytes(pem)
    with pytest.raises(KeyStoreError, match="P-256"):
        store.signer("signing")


def test_a_file_is_replaced_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_private(path, b"old")
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["state"]


def test_killed_writers_never_leave_half_a_file(tmp_path: Path) -> None:
    """Invariant: whenever the writer dies, the file is one of the contents that it wrote."""
    path = tmp_path / "state"
    program = (
        "import sys, pathlib\n"
        "from twochannel.keystore.file import write_private\n"
        "print('writing', flush=True)\n"
        "while True:\n"
        "    for letter in b'ab':\n"
        "        write_private(pathlib.Path(sys.argv[1]), bytes([letter]) * 200_000)\n"
    )
    for _ in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        while not path.exists():
            assert writer.poll() is None
        writer.kill()
        writer.communicate()
        content = path.read_bytes()
        assert len(content) == 200_000
        assert len(set(content)) == 1
