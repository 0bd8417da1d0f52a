"""Who the jack is: its keys, its certificate, and the statement that binds them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from cigarjack.config import JackSettings, StateFolder
from cigarjack.label import Label
from cigarjack.memory import Memory
from twochannel import tls
from twochannel.keystore.file import FileKeyStore, write_private
from twochannel.keystore.port import KeyStore, KeyUse
from twochannel.keystore.stores import ensure, open_keystore
from twochannel.protocol import envelope
from twochannel.protocol.keys import Agreement, Signer
from twochannel.protocol.statements import Identity, Role
from twochannel.protocol.wire import base64url
from twochannel.state_folder import make

_CLAIM_SECRET_LENGTH = 16


class IdentityError(Exception):
    """The jack has an identity already, or none yet. The text says what to do next."""


@dataclass(frozen=True, slots=True)
class JackIdentity:
    """The keys of one jack. ``certificate``: DER."""

    signer: Signer
    agreement: Agreement
    tls_key: ec.EllipticCurvePrivateKey
    certificate: bytes

    @property
    def jack(self) -> str:
        return self.signer.key.kid

    def statement(self, new_id: Callable[[], str]) -> str:
        """The identity statement, compact."""
        identity = Identity(
            iss=self.jack,
            jti=new_id(),
            role=Role.JACK,
            key=self.signer.key.jwk,
            beacon_key=self.agreement.key.jwk,
            tls_sha256=tls.fingerprint(self.certificate),
        )
        return envelope.sign(identity, self.signer)


def initialise(folder: StateFolder, settings: JackSettings) -> Label:
    """Make a new jack and return its label.

    What an interrupted attempt left behind is used on. Raises IdentityError if the jack is
    complete already, StateFolderError, KeyStoreError, StorageError, OSError.
    """
    make(folder.path)
    if Memory.initialised(folder.memory):
        raise IdentityError("this jack is initialised already; its label: cigarjack label")
    signing, beacon, files = _stores(folder, settings)
    ensure(signing, "signing", KeyUse.SIGNING)
    ensure(beacon, "beacon", KeyUse.AGREEMENT)
    ensure(files, "tls", KeyUse.SIGNING)
    certificate = tls.make_certificate(files.private_key("tls"), "cigarjack", secrets.randbits(128))
    write_private(folder.certificate, certificate)
    claim_secret = base64url(secrets.token_bytes(_CLAIM_SECRET_LENGTH))
    Memory.create(folder.memory, claim_secret).close()
    return Label(signing.signer("signing").key.kid, claim_secret)


def load(folder: StateFolder, settings: JackSettings) -> JackIdentity:
    """The identity that ``initialise`` made. Raises IdentityError, KeyStoreError."""
    signing, beacon, files = _stores(folder, settings)
    return JackIdentity(
        signer=signing.signer("signing"),
        agreement=beacon.agreement("beacon"),
        tls_key=files.private_key("tls"),
        certificate=_read(folder.certificate),
    )


def _stores(folder: StateFolder, settings: JackSettings) -> tuple[KeyStore, KeyStore, FileKeyStore]:
    """Of the signing key, of the beacon key, and of the TLS key, which OpenSSL must hold."""
    return (
        open_keystore(settings.keys, folder.keys),
        open_keystore(settings.beacon_keys or settings.keys, folder.keys),
        FileKeyStore(folder.keys),
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise IdentityError(f"cannot read {path}: {error.strerror}; run: cigarjack init") from None
