"""A backup of a server's state folder, and bringing it back.

A backup is a folder: settings, identity, certificate, the keys that are files, a consistent copy of
the database if that is SQLite's, the server's signature over its journal at that moment, and a
manifest with the hash of each file. It has every key of the server: whoever has it is the server.

A restored database is older than what the processor has done. So every order that is open in it is
made ``unknown`` before a server can start on it: the reconciler asks the processor what became of
it, and orders again only what was never ordered, under the same key.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Connection, update

from server.calls import lose_abandoned
from server.config import CONFIG_NAME, ServerSettings
from server.database import migrate
from server.issuer import Issuer
from server.kinds import OutboxState
from server.occupancy import alone
from server.schema.orders import OPEN_ORDER, outbox
from server.state import StateFolder
from server.store import Store, database_url
from twochannel.keystore.file import write_private
from twochannel.protocol.errors import StatementError
from twochannel.protocol.keys import Thumbprint
from twochannel.protocol.wire import parse_object
from twochannel.state_folder import StateFolderError, make

_MANIFEST: Final = "manifest.json"
_DATABASE: Final = "server.sqlite3"
_CHECKPOINT: Final = "checkpoint.jwt"
_KEYS: Final = "keys"
_CERTIFICATE: Final = "certificate.der"
#: Written last when it is brought back: where it stands, all is there.
_IDENTITY: Final = "identity.jwt"
#: All leases: who held them did so in another life of this database.
_EVERY_LEASE_MS: Final = 2**62
#: A backup has a dozen files, of some 150 bytes each in the manifest.
_MAX_MANIFEST_BYTES: Final = 1024 * 1024
#: Up to the year 9999.
_Moment = Annotated[int, Field(ge=0, lt=253_402_300_800_000)]


class Manifest(BaseModel):
    """What a backup holds. ``files``: SHA-256 by path inside it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    server: Thumbprint
    made_ms: _Moment
    database: bool
    files: dict[str, str]


def make_backup(
    folder: StateFolder, target: Path, server: str, now_ms: int, checkpoint: str | None
) -> Manifest:
    """Write a backup into ``target``, which must not exist. A running server is not disturbed.

    Raises StateFolderError, SettingsError, OSError.
    """
    if target.exists():
        raise StateFolderError(f"{target} is there already; name a new folder")
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700)
    files = (folder.path / CONFIG_NAME, folder.certificate_file, folder.identity_file)
    for path in (*files, *filter(Path.exists, [folder.successions_file])):
        _copy(path, part / path.name)
    if (keys := folder.path / _KEYS).is_dir():
        (part / _KEYS).mkdir(mode=0o700)
        for path in sorted(keys.iterdir()):
            _copy(path, part / _KEYS / path.name)
    source = sqlite_file(folder, folder.settings())
    if source is not None:
        _copy_database(source, part / _DATABASE)
    if checkpoint is not None:
        write_private(part / _CHECKPOINT, checkpoint.encode("ascii"))
    manifest = Manifest(
        server=server, made_ms=now_ms, database=source is not None, files=_hashes(part)
    )
    write_private(part / _MANIFEST, json.dumps(manifest.model_dump(), indent=2).encode("ascii"))
    part.rename(target)
    return manifest


def sqlite_file(folder: StateFolder, settings: ServerSettings) -> Path | None:
    """Where the database is, if it is SQLite's."""
    url = settings.database_at(folder.path)
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def _copy(source: Path, target: Path) -> None:
    write_private(target, source.read_bytes())


def _copy_database(source: Path, target: Path) -> None:
    """A consistent copy, while others write. Raises StateFolderError, OSError."""
    write_private(target, b"")
    try:
        address = f"{source.absolute().as_uri()}?mode=ro"
        with (
            closing(sqlite3.connect(address, uri=True)) as reading,
            closing(sqlite3.connect(target)) as writing,
        ):
            reading.backup(writing)
            # One file, that needs no other beside it.
            writing.execute("PRAGMA journal_mode=DELETE")
            (verdict,) = writing.execute("PRAGMA integrity_check").fetchone()
    except sqlite3.Error as error:
        raise StateFolderError(f"cannot copy {source}: {error}") from None
    if verdict != "ok":
        raise StateFolderError(f"the database {source} is damaged: {verdict}")


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def read_backup(source: Path) -> Manifest:
    """The manifest of a backup that is whole, with all files as they were.

    Raises StateFolderError, OSError.
    """
    manifest = _read_manifest(source)
    found = _hashes(source)
    del found[_MANIFEST]
    wrong = sorted(set(found.items()) ^ set(manifest.files.items()))
    if wrong:
        raise StateFolderError(f"{source} is damaged: {wrong[0][0]} is not what was backed up")
    _check_content(source, manifest)
    return manifest


def _read_manifest(source: Path) -> Manifest:
    try:
        document = (source / _MANIFEST).read_bytes()
    except OSError:
        raise StateFolderError(f"{source} is no whole backup: it has no manifest") from None
    try:
        return Manifest.model_validate(parse_object(document, _MAX_MANIFEST_BYTES))
    except StatementError as error:
        why = error.detail
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        why = f"{'.'.join(map(str, problem['loc']))[:60]}: {problem['msg']}"
    raise StateFolderError(
        f"{source} is no whole backup: its manifest is damaged ({why}); take another backup"
    )


def _check_content(source: Path, manifest: Manifest) -> None:
    """All that a server needs is there, and is that server's. Raises StateFolderError."""
    for name in (CONFIG_NAME, _CERTIFICATE, _IDENTITY):
        if name not in manifest.files:
            raise StateFolderError(f"{source} is no whole backup: {name} is missing")
    if manifest.database != (_DATABASE in manifest.files):
        raise StateFolderError(f"{source} is damaged: {_DATABASE} is not as its manifest says")
    try:
        server = StateFolder(source).lineage().server
    except (StatementError, UnicodeDecodeError):
        server = ""
    if server != manifest.server:
        raise StateFolderError(f"{source} is damaged: its manifest names another server")


def restore_files(source: Path, folder: StateFolder, manifest: Manifest) -> None:
    """Bring everything back but the identity.

    Raises StateFolderError, DatabaseError, SettingsError, OSError.
    """
    if folder.identity_file.exists():
        raise StateFolderError(
            f"there is a server in {folder.path} already; choose another --state"
        )
    database = _database_of(source, folder) if manifest.database else None
    make(folder.path)
    with alone(f"sqlite:///{database}") if database else nullcontext():
        for name in manifest.files:
            if name not in (_DATABASE, _IDENTITY, _CHECKPOINT):
                target = folder.path / name
                target.parent.mkdir(mode=0o700, exist_ok=True)
                _copy(source / name, target)
        if database:
            for end in ("", "-wal", "-shm"):
                database.with_name(database.name + end).unlink(missing_ok=True)
            _copy(source / _DATABASE, database)


def _database_of(source: Path, folder: StateFolder) -> Path:
    """Where the backup's SQLite file belongs, by its settings. Raises SettingsError."""
    named = sqlite_file(folder, StateFolder(source).settings())
    return named or Path(database_url(folder.path).removeprefix("sqlite:///"))


def finish_restore(source: Path, folder: StateFolder) -> None:
    """The last step: from now on there is a server in the folder. Raises OSError."""
    _copy(source / _IDENTITY, folder.identity_file)


def distrust_orders(store: Store, issuer: Issuer, now_ms: int) -> int:
    """Bring the schema up to date, and make every open order ``unknown``; how many.

    Raises StoreError.
    """
    migrate(store)
    return store.write_now(lambda connection: _distrust(connection, issuer, now_ms))


def _distrust(connection: Connection, issuer: Issuer, now_ms: int) -> int:
    queued = update(outbox).where(OPEN_ORDER, outbox.c.state == OutboxState.QUEUED.value)
    calling = {"state": OutboxState.CALLING.value, "lease_until_ms": now_ms}
    connection.execute(queued, calling)
    open_orders = connection.execute(outbox.select().where(OPEN_ORDER)).all()
    lose_abandoned(connection, issuer, now_ms, _EVERY_LEASE_MS)
    return len(open_orders)
