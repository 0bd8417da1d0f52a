"""Keeps the code index in step with the registry, and ahead of the clock.

Identity keys are derived here, from the server's beacon key and each jack's, and are kept in
memory only. Whether a jack may be charged (revoked, without a phone) is not decided here but in
the transaction of the payment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from server.code_index import CodeIndex
from server.schema.parties import jacks, pairings
from server.store import Store
from twochannel.protocol.beacon import identity_key
from twochannel.protocol.keys import Agreement, Jwk, VerifyingKey

#: Codes per step of preparation: about a millisecond, so that requests do not wait for it.
CODES_AT_ONCE: Final = 100
#: How often the index is prepared for the coming slot; slots last minutes.
_PREPARE_INTERVAL_S: Final = 5.0


class Resolver:
    """Finds the jack behind a code."""

    def __init__(
        self,
        store: Store,
        beacon_key: Agreement,
        rotation_exponent: int,
        now_s: Callable[[], int],
    ) -> None:
        self._store = store
        self._beacon_key = beacon_key
        self._index = CodeIndex(rotation_exponent)
        self._now_s = now_s
        self._last_seq = 0

    async def refresh(self) -> None:
        """Take in pairings that were stored since, by this process or another."""
        last_seq = self._last_seq

        def new_pairings(connection: Connection) -> list[Row[Any]]:
            query = (
                select(pairings.c.seq, jacks.c.id, jacks.c.beacon_key)
                .join(jacks, jacks.c.id == pairings.c.jack_id)
                .where(pairings.c.seq > last_seq)
                .order_by(pairings.c.seq)
            )
            return list(connection.execute(query))

        for row in await self._store.read(new_pairings):
            beacon_key = VerifyingKey.from_jwk(Jwk.model_validate_json(row.beacon_key))
            self._index.put(row.id, self._identity_key(beacon_key))
            self._last_seq = row.seq

    async def resolve(self, code: str) -> str | None:
        """The jack that uses ``code`` (hex) now; None if it is unknown or shared."""
        data = bytes.fromhex(code)
        jack_id = self._index.resolve(data, self._now_s())
        if jack_id is not None:
            return jack_id
        await self.refresh()
        return self._index.resolve(data, self._now_s())

    async def keep_ready(self) -> None:
        """For ever: have the codes of the coming slot before it comes."""
        await self.refresh()
        while True:
            ready = self._index.prepare(self._now_s(), CODES_AT_ONCE)
            await asyncio.sleep(_PREPARE_INTERVAL_S if ready else 0)

    def _identity_key(self, jack: VerifyingKey) -> bytes:
        return identity_key(self._beacon_key.exchange(jack), self._beacon_key.key.point, jack.point)
