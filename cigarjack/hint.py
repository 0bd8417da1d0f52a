"""The hint by which a phone recognises its own jack among mDNS services (docs/protocol.md, 5).

Others learn nothing from it: the instance name is new at each boot, and so is its MAC.
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

LINK_KEY_LENGTH: Final = 32
#: 64 bits: a service that guesses it only costs the phone one handshake that fails.
HINT_LENGTH: Final = 8
_HINT_KEY_INFO: Final = b"cigarjack hint v1"


def hint(link_key: bytes, instance: str) -> str:
    """The TXT value ``h`` of the mDNS ``instance`` name: 16 hex digits.

    ``link_key``: the pairing's 32 bytes; another length is a ValueError.
    """
    if len(link_key) != LINK_KEY_LENGTH:
        raise ValueError(f"a link key has {LINK_KEY_LENGTH} bytes, not {len(link_key)}")
    key = HKDF(SHA256(), length=32, salt=None, info=_HINT_KEY_INFO).derive(link_key)
    return hmac.digest(key, instance.encode(), "sha256")[:HINT_LENGTH].hex()
