"""The server's state folder: keys, certificate, identity, settings, database.

``identity.jwt`` is written last: where it stands, ``init`` was completed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from server.config import CONFIG_NAME, PREFIX, ServerSettings
from server.database import REVISIONS, check_version, migrate, revision_of
from server.issuer import Issuer
from server.occupancy import alone
from server.store import Store, database_url
from twochannel.keystore.file import FileKeyStore, write_private
from twochannel.keystore.port import KeyStore, KeyStoreError, KeyUse
from twochannel.keystore.stores import ensure, open_keystore
from twochannel.protocol.envelope import sign
from twochannel.protocol.keys import Agreement, Signer
from twochannel.protocol.statements import Identity, Role
from twochannel.protocol.succession import SEPARATOR, Lineage, read_lineage
from twochannel.settings import load
from twochannel.state_folder import StateFolderError, locked, make
from twochannel.tls import fingerprint, make_certificate
from twochannel.trace import wall_ms

_SIGNING: Final = "signing"
_BEACON: Final = "beacon"
_TLS: Final = "tls"


def make_private(path: Path) -> None:
    """Make an empty file for its owner's eyes, if it is not there. Raises OSError.

    SQLite would make it for all to read, in whatever folder the operator has prepared.
    """
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))


def signing_name(lineage: Lineage, kid: str) -> str:
    """What the key store calls a key of ``lineage``: ``signing``, ``signing-2``, and so on."""
    number = [each.key.kid for each in lineage.keys].index(kid) + 1
    return _SIGNING if number == 1 else f"{_SIGNING}-{number}"


@dataclass(frozen=True, slots=True)
class StateFolder:
    """One server's folder. Nothing is read before it is asked for."""

    path: Path

    @property
    def keys(self) -> FileKeyStore:
        """The keys in files: that of TLS, and all others unless the settings say otherwise."""
        return FileKeyStore(self.path / "keys")

    def signing_store(self, settings: ServerSettings) -> KeyStore:
        """Raises KeyStoreError."""
        return open_keystore(settings.keys, self.path / "keys")

    def beacon_store(self, settings: ServerSettings) -> KeyStore:
        """Raises KeyStoreError."""
        return open_keystore(settings.beacon_keys or settings.keys, self.path / "keys")

    @property
    def identity_file(self) -> Path:
        return self.path / "identity.jwt"

    @property
    def certificate_file(self) -> Path:
        return self.path / "certificate.der"

    def settings(self, flags: dict[str, object] | None = None) -> ServerSettings:
        """Settings of file, environment and ``flags``. Raises SettingsError."""
        return load(
            ServerSettings,
            file=self.path / CONFIG_NAME,
            environment=os.environ,
            prefix=PREFIX,
            flags=flags or {},
        )

    def identity(self) -> str:
        """The server's identity statement, compact. Raises StateFolderError."""
        try:
            return self.identity_file.read_text(encoding="ascii")
        except FileNotFoundError:
            raise StateFolderError(
                f"there is no server in {self.path}; run: cigarjack-server init"
            ) from None

    @property
    def successions_file(self) -> Path:
        return self.path / "successions.jwt"

    def lineage(self, identity: str | None = None) -> Lineage:
        """The server's keys. ``identity``: the first one, instead of the folder's own.

        Raises StateFolderError, StatementError.
        """
        steps = [identity or self.identity()]
        with suppress(FileNotFoundError):
            steps += self.successions_file.read_text(encoding="ascii").split()
        return read_lineage(SEPARATOR.join(steps))

    def issuer(
        self, new_id: Callable[[], str], identity: str | None = None, now_s: int | None = None
    ) -> Issuer:
        """Who signs at ``now_s``, by default now. ``identity``: as in ``lineage``.

        Raises StateFolderError, KeyStoreError, SettingsError, StatementError.
        """
        lineage = self.lineage(identity)
        kid = lineage.signing(wall_ms() // 1000 if now_s is None else now_s).key.kid
        return Issuer(lineage.server, self.signer(lineage, kid), new_id)

    def signer(self, lineage: Lineage, kid: str) -> Signer:
        """The private key ``kid`` of ``lineage``. Raises KeyStoreError, SettingsError."""
        name = signing_name(lineage, kid)
        signer = self.signing_store(self.settings()).signer(name)
        if signer.key.kid != kid:
            raise KeyStoreError(f"the key store has another key under {name}")
        return signer

    def beacon_key(self) -> Agreement:
        """Raises KeyStoreError, SettingsError."""
        return self.beacon_store(self.settings()).agreement(_BEACON)

    def certificate(self) -> bytes:
        """DER. Raises OSError."""
        return self.certificate_file.read_bytes()

    def open_store(self, settings: ServerSettings | None = None) -> Store:
        """The database of ``settings``, or else of the folder's, of this version's schema.

        Raises StateFolderError, DatabaseError, SettingsError, StoreError.
        """
        self.identity()
        store = Store((settings or self.settings()).database_at(self.path))
        try:
            check_version(store)
        except BaseException:
            store.close_now()
            raise
        return store

    def migrate(self, settings: ServerSettings | None = None) -> None:
        """Bring the database up to this version; one that is so may have servers that run.

        Raises SettingsError, DatabaseError, StoreError.
        """
        settings = settings or self.settings()
        if not settings.database:
            make_private(Path(database_url(self.path).removeprefix("sqlite:///")))
        url = settings.database_at(self.path)
        store = Store(url)
        try:
            if store.read_now(revision_of) != REVISIONS[-1]:
                with alone(url):
                    migrate(store)
        finally:
            store.close_now()

    def locked(self) -> AbstractContextManager[None]:
        """Hold the folder while the server runs. Raises StateFolderError if another one does."""
        return locked(self.path)


def initialise(
    folder: StateFolder, settings: ServerSettings, new_id: Callable[[], str], serial: int
) -> str:
    """Make keys, certificate, settings file, database and identity; return the server's id.

    May be run again after it was cut off half-way, never after it was completed (StateFolderError).
    ``serial``: of the certificate, 64 random bits or more.
    """
    if folder.identity_file.exists():
        raise StateFolderError(
            f"there is a server in {folder.path} already; choose another --state"
        )
    make(folder.path)
    signing, beacon = folder.signing_store(settings), folder.beacon_store(settings)
    files = folder.keys
    ensure(signing, _SIGNING, KeyUse.SIGNING)
    ensure(beacon, _BEACON, KeyUse.AGREEMENT)
    ensure(files, _TLS, KeyUse.SIGNING)
    certificate = make_certificate(files.private_key(_TLS), settings.name, serial)
    write_private(folder.certificate_file, certificate)
    write_private(folder.path / CONFIG_NAME, _config_text(settings).encode())
    folder.migrate(settings)
    signer = signing.signer(_SIGNING)
    identity = Identity(
        iss=signer.key.kid,
        jti=new_id(),
        role=Role.SERVER,
        key=signer.key.jwk,
        beacon_key=beacon.agreement(_BEACON).key.jwk,
        tls_sha256=fingerprint(certificate),
        rotation_exponent=settings.rotation_exponent,
    )
    write_private(folder.identity_file, sign(identity, signer).encode("ascii"))
    return identity.iss


def _config_text(settings: ServerSettings) -> str:
    """The settings file of a new server: what ``init`` was told, the rest by default."""
    return (
        "# Settings of cigarjack-server; every name may also be set as CIGARJACK_SERVER_<NAME>.\n"
        f"name = {_quoted(settings.name)}\n"
        f'host = "{settings.host}"\n'
        f"port = {settings.port}\n"
        f'processor = "{settings.processor}"\n'
        + _stripe_lines(settings)
        + f"rotation_exponent = {settings.rotation_exponent}\n"
        f"keys = {_quoted(settings.keys)}\n"
        + (f"database = {_quoted(settings.database)}\n" if settings.database else "")
        + (f"beacon_keys = {_quoted(settings.beacon_keys)}\n" if settings.beacon_keys else "")
    )


def _stripe_lines(settings: ServerSettings) -> str:
    """Where its secrets are. What was given in the environment stays there."""
    files = ("stripe_key_file", "stripe_webhook_secret_file")
    named = [(name, getattr(settings, name)) for name in files]
    return "".join(f"{name} = {_quoted(str(path))}\n" for name, path in named if path)


def _quoted(text: str) -> str:
    """As a TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
