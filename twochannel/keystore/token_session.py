"""A session with one token: opened when needed, kept, and opened anew when the token was away.

The library of a token is loaded once in a process, and every call of it happens in one thread of
its own. It is told of no other threads; and SoftHSM and others use the OpenSSL that Python uses,
whose queue of errors belongs to a thread: what they leave there, TLS would take for its own.
Being logged in is a matter of process and token, not of a session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

import pkcs11
from pkcs11 import (
    Attribute,
    KeyType,
    Object,
    ObjectClass,
    PKCS11Error,
    PrivateKey,
    PublicKey,
    Session,
    Token,
    TokenFlag,
    exceptions,
)

from twochannel.keystore.pin import read_pin
from twochannel.keystore.port import KeyStoreError
from twochannel.keystore.token_uri import TokenUri

T = TypeVar("T")

#: The token was pulled out, reset or logged out since the session was opened: worth one new try.
_LOST: Final = (
    exceptions.DeviceError,
    exceptions.DeviceRemoved,
    exceptions.GeneralError,
    exceptions.KeyHandleInvalid,
    exceptions.NoSuchKey,
    exceptions.ObjectHandleInvalid,
    exceptions.SessionClosed,
    exceptions.SessionHandleInvalid,
    exceptions.TokenNotPresent,
    exceptions.TokenNotRecognised,
    exceptions.UserNotLoggedIn,
)
#: Tried again, these would use up the few tries that a token grants.
_PIN_REFUSED: Final = (
    exceptions.PinExpired,
    exceptions.PinIncorrect,
    exceptions.PinInvalid,
    exceptions.PinLenRange,
    exceptions.PinLocked,
    exceptions.UserPinNotInitialized,
)
_CANNOT: Final = "it cannot do this; docs/keys.md says what a token must know"
_WRONG_PIN: Final = "it refuses the PIN; correct pin-source before its tries are used up"
_MEANING: Final[dict[type[PKCS11Error], str]] = {
    exceptions.AttributeTypeInvalid: _CANNOT,
    exceptions.AttributeValueInvalid: _CANNOT,
    exceptions.DeviceMemory: "it is full; remove keys that nobody uses, or use another token",
    exceptions.FunctionNotSupported: _CANNOT,
    exceptions.MechanismInvalid: _CANNOT,
    exceptions.MultipleObjectsReturned: "several keys have this label; remove all but one",
    exceptions.NoSuchKey: "there is no such key; initialise first",
    exceptions.PinExpired: "its PIN has expired; set a new one",
    exceptions.PinIncorrect: _WRONG_PIN,
    exceptions.PinInvalid: _WRONG_PIN,
    exceptions.PinLenRange: _WRONG_PIN,
    exceptions.PinLocked: "its PIN is locked after wrong tries; unlock it with the SO PIN",
    exceptions.TemplateInconsistent: _CANNOT,
    exceptions.TokenWriteProtected: "it is write-protected; make the key with the maker's tool",
    exceptions.UserPinNotInitialized: "it has no user PIN yet; set one",
}


class Module:
    """A token's library. Call it, and the methods below ``run``, through ``run``."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pkcs11")
        #: How often it was restarted; sessions of an earlier generation are void.
        self.generation = 0

    def run(self, action: Callable[[], T]) -> T:
        """The result of ``action`` in the library's thread, after all that came before it."""
        return self._thread.submit(action).result()

    def tokens(self) -> list[Token]:
        """The tokens that are there now. Raises KeyStoreError, PKCS11Error."""
        if not Path(self._path).exists():
            raise KeyStoreError(
                f"there is no PKCS#11 library {self._path}; "
                "install the one of your token or correct module-path"
            )
        return list(pkcs11.lib(self._path).get_tokens())

    def restart(self) -> None:
        """Some libraries look for tokens only when they start. Raises PKCS11Error."""
        self.generation += 1
        with suppress(PKCS11Error):  # It may refuse to stop when its token is gone.
            pkcs11.lib(self._path).finalize()
        pkcs11.lib(self._path)


@cache
def module_at(path: str) -> Module:
    """The library at ``path``, the same for all of this process."""
    return Module(path)


class TokenSession:
    """Runs actions on the token that ``uri`` names; its PIN is read when it is needed."""

    def __init__(self, uri: TokenUri, environment: Mapping[str, str]) -> None:
        self._uri = uri
        self._environment = environment
        self._module = module_at(uri.module_path)
        self._session: Session | None = None
        #: Of this session, by label: a search in a session that is void is not answered cleanly.
        self._keys: dict[str, PrivateKey] = {}
        self._generation = 0
        self._refusal: KeyStoreError | None = None

    def use(self, label: str, action: Callable[[PrivateKey], T]) -> T:
        """Like ``read``, with the private key of that label."""

        def used(session: Session) -> T:
            if label not in self._keys:
                self._keys[label] = private_key(session, label)
            return action(self._keys[label])

        return self.read(f"key {label}", used)

    def read(self, what: str, action: Callable[[Session], T]) -> T:
        """The result of ``action``, which may run twice if the token was away meanwhile.

        ``what``: what it is about, for people. Raises KeyStoreError.
        """
        return self._module.run(lambda: self._told_plainly(what, action))

    def write(self, what: str, action: Callable[[Session], T]) -> T:
        """Like ``read``, with a session that may store and remove keys."""

        def written(session: Session) -> T:
            with session.token.open(rw=True) as writing:
                return action(writing)

        return self.read(what, written)

    def _told_plainly(self, what: str, action: Callable[[Session], T]) -> T:
        try:
            return self._run(action)
        except PKCS11Error as error:
            meaning = _told(error)
        # Here the library's error is gone, and with it, in its thread, what it held of a search.
        raise KeyStoreError(f"{what} on token {self._uri.name}: {meaning}")

    def _run(self, action: Callable[[Session], T]) -> T:
        if self._session is not None and self._generation == self._module.generation:
            with suppress(*_LOST):
                return action(self._session)
            self._module.restart()
        self._session = None
        self._keys.clear()
        self._session = self._opened()
        return action(self._session)

    def _opened(self) -> Session:
        if self._refusal is not None:
            raise self._refusal
        session = self._login(self._found())
        self._generation = self._module.generation
        return session

    def _found(self) -> Token:
        found = [token for token in self._module.tokens() if _matches(token, self._uri)]
        if not found:
            raise KeyStoreError(
                f"token {self._uri.name} is not there; plug it in, or list what is with: "
                f"pkcs11-tool --module {self._uri.module_path} --list-token-slots"
            )
        if len(found) > 1:
            raise KeyStoreError(f"several tokens are called {self._uri.name}; add serial=NUMBER")
        return found[0]

    def _login(self, token: Token) -> Session:
        if self._uri.pin_source is None:
            if token.flags & TokenFlag.LOGIN_REQUIRED:
                raise KeyStoreError(
                    f"token {self._uri.name} wants a PIN; add pin-source=FILE to its URI"
                )
            return token.open()
        pin = read_pin(self._uri.pin_source, self._environment)
        try:
            return token.open(user_pin=pin)
        except exceptions.UserAlreadyLoggedIn:  # By another store of this process.
            return token.open()
        except _PIN_REFUSED as error:
            self._refusal = KeyStoreError(f"token {self._uri.name}: {_told(error)}")
            raise self._refusal from None


def private_key(session: Session, label: str) -> PrivateKey:
    """The one that has this label. Raises KeyStoreError, PKCS11Error."""
    key = _only(session, ObjectClass.PRIVATE_KEY, label)
    if not isinstance(key, PrivateKey):
        raise KeyStoreError(f"{label} is not a private key")
    return key


def public_key(session: Session, label: str) -> PublicKey:
    """The one that has this label. Raises KeyStoreError, PKCS11Error."""
    key = _only(session, ObjectClass.PUBLIC_KEY, label)
    if not isinstance(key, PublicKey):
        raise KeyStoreError(f"{label} is not a public key")
    return key


def _only(session: Session, kind: ObjectClass, label: str) -> Object:
    """The search goes to its end, so that nothing of it is left to be tidied up later."""
    wanted = {Attribute.CLASS: kind, Attribute.KEY_TYPE: KeyType.EC, Attribute.LABEL: label}
    found = list(session.get_objects(wanted))
    if not found:
        raise exceptions.NoSuchKey
    if len(found) > 1:
        raise exceptions.MultipleObjectsReturned
    return found[0]


def _matches(token: Token, uri: TokenUri) -> bool:
    wanted = (uri.token, uri.serial, uri.manufacturer, uri.model)
    serial = token.serial.decode("utf-8", errors="replace").strip()
    has = (token.label, serial, token.manufacturer_id, token.model)
    return all(want is None or want == have for want, have in zip(wanted, has, strict=True))


def _told(error: PKCS11Error) -> str:
    """What an error of the library means. A code that has no name tells its number instead."""
    name = str(error) if type(error) is PKCS11Error else type(error).__name__
    unknown = f"its library answers {name}; check that the token is in place, see docs/keys.md"
    return _MEANING.get(type(error), unknown)
