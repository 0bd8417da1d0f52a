"""Private keys in files: PKCS#8 PEM, mode 0600, written whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from twochannel.keystore.port import KeyStoreError, KeyUse, check_name
from twochannel.protocol.keys import COORDINATE_BYTES, VerifyingKey, jwk_of


def write_private(path: Path, data: bytes) -> None:
    """Write ``data`` with mode 0600, durably and atomically: old, new, never half.

    The directory must exist. Raises OSError.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        draft.unlink()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FileSigner:
    """ES256 with RFC 6979 nonces: no randomness that could fail and give the key away."""

    def __init__(self, private_key: ec.EllipticCurvePrivateKey) -> None:
        self._private_key = private_key
        self.key = VerifyingKey.from_jwk(jwk_of(private_key.public_key()))

    def sign(self, message: bytes) -> bytes:
        algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        r, s = decode_dss_signature(self._private_key.sign(message, algorithm))
        return r.to_bytes(COORDINATE_BYTES) + s.to_bytes(COORDINATE_BYTES)


class FileAgreement:
    """ECDH on P-256."""

    def __init__(self, private_key: ec.EllipticCurvePrivateKey) -> None:
        self._private_key = private_key
        self.key = VerifyingKey.from_jwk(jwk_of(private_key.public_key()))

    def exchange(self, peer: VerifyingKey) -> bytes:
        return self._private_key.exchange(ec.ECDH(), peer.public_key)


class FileKeyStore:
    """Keys as ``<directory>/<name>.pem``. The directory is made with mode 0700."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, name: str) -> Path:
        check_name(name)
        return self._directory / f"{name}.pem"

    def holds(self, name: str) -> bool:
        return self.path(name).exists()

    def create(self, name: str, _use: KeyUse = KeyUse.SIGNING, /) -> None:
        path = self.path(name)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists():
            raise KeyStoreError(f"key {name} exists already; remove {path} to make a new one")
        private_key = ec.generate_private_key(ec.SECP256R1())
        write_private(
            path,
            private_key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )

    def signer(self, name: str) -> FileSigner:
        return FileSigner(self.private_key(name))

    def agreement(self, name: str) -> FileAgreement:
        return FileAgreement(self.private_key(name))

    def private_key(self, name: str) -> ec.EllipticCurvePrivateKey:
        """The key itself, for TLS, which OpenSSL must hold. Raises KeyStoreError."""
        path = self.path(name)
        try:
            if path.stat().st_mode & 0o077:
                raise KeyStoreError(f"others may read {path}; run: chmod 600 {path}")
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except FileNotFoundError:
            raise KeyStoreError(f"no key {name} in {self._directory}; initialise first") from None
        except (ValueError, OSError) as error:
            raise KeyStoreError(f"cannot read {path}: {error}") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(
            key.curve, ec.SECP256R1
        ):
            raise KeyStoreError(f"{path} does not hold a P-256 key")
        return key
