"""The key store that the settings name: ``file``, or a ``pkcs11:`` URI."""

from __future__ import annotations

import os
from pathlib import Path

from twochannel.keystore.file import FileKeyStore
from twochannel.keystore.port import FILE, KeyStore, KeyStoreError, KeyUse
from twochannel.keystore.token_uri import SCHEME, parse


def open_keystore(name: str, directory: Path) -> KeyStore:
    """The store called ``name``; ``directory``: where this device keeps its key files.

    A token is asked nothing yet. Raises KeyStoreError.
    """
    if name == FILE:
        return FileKeyStore(directory)
    if not name.startswith(SCHEME):
        raise KeyStoreError('keys in the settings must be "file" or a pkcs11: URI')
    uri = parse(name)
    try:
        from twochannel.keystore.pkcs11 import Pkcs11KeyStore
    except ModuleNotFoundError as error:
        if error.name != "pkcs11":
            raise
        raise KeyStoreError(
            "keys in tokens need the extra pkcs11; run: pip install 'cigarjack[pkcs11]'"
        ) from None
    return Pkcs11KeyStore(uri, directory, os.environ)


def ensure(store: KeyStore, name: str, use: KeyUse) -> None:
    """Make the key ``name`` unless it is there, as after an interrupted set-up.

    Raises KeyStoreError, OSError.
    """
    if not store.holds(name):
        store.create(name, use)
