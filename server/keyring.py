"""Verifying what devices sign: their keys come from the registry, kept in memory once read.

A device's id is its key's thumbprint, so a key never changes; revocation is judged inside the
transaction that a statement leads to, not here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from server.registry import device_key
from server.store import Store
from twochannel.protocol.envelope import Statement, read_header, verify
from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.keys import VerifyingKey
from twochannel.protocol.statements import Role

S = TypeVar("S", bound=Statement)

#: Keys held in memory, about 2 KiB each.
_MAX_KEYS: Final = 20_000


class KeyRing:
    """The verifying keys of registered devices. ``heard``: told who has made what is read."""

    def __init__(self, store: Store, server_id: str, heard: Callable[[str], None]) -> None:
        self._store = store
        self._server_id = server_id
        self._heard = heard
        self._keys: dict[tuple[Role, str], VerifyingKey] = {}

    async def key(self, role: Role, kid: str) -> VerifyingKey:
        """The key of a device. Raises StatementError (``key_unknown``)."""
        known = self._keys.get((role, kid))
        if known is not None:
            return known
        key = await self._store.read(lambda connection: device_key(connection, role, kid))
        if key is None:
            raise StatementError(ErrorCode.KEY_UNKNOWN)
        if len(self._keys) >= _MAX_KEYS:
            self._keys.clear()
        self._keys[role, kid] = key
        return key

    async def read(self, compact: str, model: type[S], role: Role) -> tuple[S, VerifyingKey]:
        """Verify a statement that a registered ``role`` made for this server.

        Time is not judged here. Raises StatementError.
        """
        header = read_header(compact)
        if header.typ != model.TYP:
            raise StatementError(ErrorCode.STATEMENT_TYPE_WRONG, f"expected {model.TYP}")
        key = await self.key(role, header.kid)
        statement = verify(compact, model, key, audience=self._server_id)
        if getattr(statement, "iss", None) != key.kid:
            raise StatementError(ErrorCode.ISSUER_WRONG, "iss must be the signer's own id")
        self._heard(key.kid)
        return statement, key
