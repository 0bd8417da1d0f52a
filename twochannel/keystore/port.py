"""What every key store offers: named P-256 keys of one device, in files or in a token.

What a store gives out, ``Signer`` and ``Agreement``, raises KeyStoreError too if its key cannot be
reached any more: a token may be pulled out while an agent runs.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final, Protocol

from twochannel.protocol.keys import Agreement, Signer

#: The name, in settings, of keys in files of the state folder.
FILE: Final = "file"
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")


class KeyStoreError(Exception):
    """A key is missing, unreadable or already there. The text says what to do next."""


class KeyUse(StrEnum):
    """What a key is made for. A token holds it to that; a file cannot."""

    SIGNING = "signing"
    AGREEMENT = "agreement"


class KeyStore(Protocol):
    """Named P-256 keys of one device. A name that is not one is a ValueError."""

    def holds(self, name: str) -> bool:
        """Whether there is a key ``name``. Raises KeyStoreError if the store cannot tell."""
        ...

    def create(self, name: str, use: KeyUse, /) -> None:
        """Make a fresh key. Raises KeyStoreError if ``name`` is taken."""
        ...

    def signer(self, name: str) -> Signer:
        """The signing key ``name``. Raises KeyStoreError."""
        ...

    def agreement(self, name: str) -> Agreement:
        """The key-agreement key ``name``. Raises KeyStoreError."""
        ...


def check_name(name: str) -> None:
    """Names become parts of paths and labels. Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a key name: {name!r}")
