"""The phone's own keys and client certificate, in its state folder."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from twochannel import tls
from twochannel.keystore.file import FileKeyStore, write_private
from twochannel.keystore.port import FILE, KeyStoreError, KeyUse
from twochannel.keystore.stores import ensure, open_keystore
from twochannel.protocol.keys import Signer


@dataclass(frozen=True, slots=True)
class PhoneIdentity:
    """``signer``: the phone's identity. ``certificate`` (DER), ``tls_key``: shown to jacks."""

    signer: Signer
    certificate: bytes
    tls_key: ec.EllipticCurvePrivateKey

    @property
    def phone(self) -> str:
        """The id of this phone: the thumbprint of its signing key."""
        return self.signer.key.kid


def create(state: Path, keys: str = FILE) -> PhoneIdentity:
    """Make what is missing of the identity: an enrolment that failed half-way can be repeated.

    Raises KeyStoreError, OSError.
    """
    ensure(open_keystore(keys, state / "keys"), "signing", KeyUse.SIGNING)
    files = FileKeyStore(state / "keys")
    ensure(files, "tls", KeyUse.SIGNING)
    path = _certificate_path(state)
    if not path.exists():
        serial = secrets.randbits(128) | 1
        write_private(path, tls.make_certificate(files.private_key("tls"), "phone", serial))
    return load(state, keys)


def load(state: Path, keys: str = FILE) -> PhoneIdentity:
    """Read the identity. Raises KeyStoreError, which says what to do."""
    signer = open_keystore(keys, state / "keys").signer("signing")
    tls_key = FileKeyStore(state / "keys").private_key("tls")
    try:
        certificate = _certificate_path(state).read_bytes()
    except OSError as error:
        raise KeyStoreError(f"cannot read the phone's certificate: {error}") from None
    return PhoneIdentity(signer, certificate, tls_key)


def _certificate_path(state: Path) -> Path:
    return state / "keys" / "tls.der"
