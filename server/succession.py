"""Announcing the server's next signing key, and destroying those that are over.

A succession is on disk only when the key that it names is. One is under way at a time: the next is
announced when the key before is over, so that no device has to believe three keys.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from server.state import StateFolder, signing_name
from twochannel.keystore.file import FileKeyStore, write_private
from twochannel.keystore.port import KeyStore, KeyUse
from twochannel.keystore.stores import ensure
from twochannel.protocol.envelope import sign, unverified_claims
from twochannel.protocol.statements import Identity
from twochannel.protocol.succession import Lineage, ServerKey, Succession
from twochannel.state_folder import StateFolderError


@dataclass(frozen=True, slots=True)
class KeyState:
    """A key for its operator. ``state``: ``next``, ``signing``, ``ending``, ``over``."""

    kid: str
    name: str
    state: str
    begins_s: int | None
    ends_s: int | None
    held: bool


@contextmanager
def _alone(folder: StateFolder) -> Iterator[None]:
    """One command at a time, or the later one would undo what devices have been told already."""
    folder.identity()
    with folder.identity_file.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def list_keys(folder: StateFolder, now_s: int) -> list[KeyState]:
    """All keys of the server, the newest first.

    Raises StateFolderError, StatementError, KeyStoreError, SettingsError.
    """
    lineage, store = folder.lineage(), folder.signing_store(folder.settings())
    states = [_state(lineage, each, store, now_s) for each in lineage.keys]
    return states[::-1]


def _state(lineage: Lineage, key: ServerKey, store: KeyStore, now_s: int) -> KeyState:
    name = signing_name(lineage, key.key.kid)
    state = "signing"
    if (key.begins_s or 0) > now_s:
        state = "next"
    elif key.ends_s is not None and key.ends_s <= now_s:
        state = "over"
    elif lineage.signing(now_s) != key:
        state = "ending"
    return KeyState(key.key.kid, name, state, key.begins_s, key.ends_s, store.holds(name))


def rotate(
    folder: StateFolder, new_id: Callable[[], str], times_s: tuple[int, int, int]
) -> ServerKey:
    """Make the next key and announce it. ``times_s``: now, when it begins, when the one now ends.

    Raises StateFolderError if a succession is under way, StatementError, KeyStoreError,
    SettingsError, OSError.
    """
    with _alone(folder):
        return _rotate(folder, new_id, times_s)


def _rotate(
    folder: StateFolder, new_id: Callable[[], str], times_s: tuple[int, int, int]
) -> ServerKey:
    now_s, begins_s, ends_s = times_s
    lineage = folder.lineage()
    if len(lineage.keys) > 1 and now_s < (lineage.keys[-2].ends_s or 0):
        raise StateFolderError(
            "the key before is still believed; see `keys list` for how long, and rotate after that"
        )
    settings = folder.settings()
    store = folder.signing_store(settings)
    issuer = folder.issuer(new_id, now_s=now_s)
    name = f"signing-{len(lineage.keys) + 1}"
    ensure(store, name, KeyUse.SIGNING)
    signer = store.signer(name)
    before = Identity.from_claims(unverified_claims(lineage.newest.identity))
    identity = before.model_copy(update={"jti": new_id(), "key": signer.key.jwk})
    succession = Succession(
        iss=lineage.server,
        jti=new_id(),
        iat=now_s,
        identity=sign(identity, signer),
        begins=begins_s,
        ends=ends_s,
    )
    longer = lineage.succeed(sign(succession, issuer.signer))
    lines = "".join(f"{compact}\n" for compact in longer.steps[1:])
    write_private(folder.successions_file, lines.encode("ascii"))
    return longer.newest


def retire(folder: StateFolder, now_s: int, *, early: bool) -> list[str]:
    """Destroy the private keys that sign no more; their names.

    ``early``: also one that devices still believe. Raises StateFolderError for keys in a token,
    StatementError, KeyStoreError, SettingsError, OSError.
    """
    store = folder.signing_store(folder.settings())
    gone = {"over", "ending"} if early else {"over"}
    done = [each.name for each in list_keys(folder, now_s) if each.held and each.state in gone]
    if done and not isinstance(store, FileKeyStore):
        raise StateFolderError(
            f"destroy {', '.join(done)} with the token's own tool; a token is not emptied from here"
        )
    for name in done:
        folder.keys.path(name).unlink()
    return done
