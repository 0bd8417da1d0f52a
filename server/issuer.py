"""The server as a signer: its id, its key, and what it says about itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twochannel.protocol.keys import Signer


@dataclass(slots=True)
class Issuer:
    """Signs challenges, receipts and times. ``new_id`` gives a fresh UUIDv7 per statement.

    ``signer`` is another one once the next key begins (``server/succession.py``).
    """

    server_id: str
    signer: Signer
    new_id: Callable[[], str]
