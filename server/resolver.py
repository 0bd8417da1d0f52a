"""Keeps the code index in step with the registry, and ahead of the clock.

Identity keys are derived here, from the server's beacon key and each jack's, and are kept in
memory only. Whether a jack may be charged (revoked, without a phone) is not decided here but in
the transaction of the payment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, func, select

from server.code_index import CodeIndex
from server.schema.parties import jacks, pairings
from server.store import Store
from twochannel.protocol.beacon import identity_key
from twochannel.protocol.keys import Agreement, Jwk, VerifyingKey

#: Codes per step of preparation: about a millisecond, so that requests do not wait for it.
CODES_AT_ONCE: Final = 100
#: How often the index is prepared for the coming slot; slots last minutes.
_PREPARE_INTERVAL_S: Final = 5.0
#: Rest after each step, in lengths of the step: requests have three quarters of the processor, and
#: the codes of a million jacks are there in a fraction of their slot.
_REST: Final = 3.0
#: Pairings that are read at once, and those of them that are taken in between requests: each costs
#: a key agreement, about a tenth of a millisecond.
_READ_AT_ONCE: Final = 1_000
_TAKEN_AT_ONCE: Final = 10

_NEW: Final = (
    select(pairings.c.seq, jacks.c.id, jacks.c.beacon_key)
    .join(jacks, jacks.c.id == pairings.c.jack_id)
    .where(pairings.c.seq > bindparam("last_seq"))
    .order_by(pairings.c.seq)
    .limit(bindparam("most"))
)
_COUNT: Final = select(func.count()).select_from(pairings)


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
        self._refreshing = asyncio.Lock()
        self._expected = 0

    @property
    def state(self) -> str:
        """How far the start is, in a sentence."""
        known = len(self._index)
        if known < self._expected:
            return f"Taking in jacks: {known:,} of {self._expected:,}."
        return f"Computing codes of {known:,} jacks."

    async def get_ready(self) -> None:
        """Take in every jack and compute its codes, so that no payment has to wait for that."""
        self._expected = await self._store.read(_count_pairings)
        await self.refresh()
        self._expected = 0
        ready = False
        while not ready:
            ready = self._index.prepare(self._now_s(), CODES_AT_ONCE)
            await asyncio.sleep(0)

    async def refresh(self) -> None:
        """Take in pairings that were stored since, by this process or another."""
        async with self._refreshing:
            while len(rows := await self._read_new()) == _READ_AT_ONCE:
                await self._take_in(rows)
            await self._take_in(rows)

    async def _read_new(self) -> Sequence[Row[Any]]:
        after = {"last_seq": self._last_seq, "most": _READ_AT_ONCE}

        def new_pairings(connection: Connection) -> list[Row[Any]]:
            return list(connection.execute(_NEW, after))

        return await self._store.read(new_pairings)

    async def _take_in(self, rows: Sequence[Row[Any]]) -> None:
        for number, row in enumerate(rows, 1):
            beacon_key = VerifyingKey.from_jwk(Jwk.model_validate_json(row.beacon_key))
            self._index.put(row.id, self._identity_key(beacon_key))
            self._last_seq = row.seq
            if number % _TAKEN_AT_ONCE == 0:
                await asyncio.sleep(0)

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
        while True:
            began = time.perf_counter()
            ready = self._index.prepare(self._now_s(), CODES_AT_ONCE)
            rest_s = (time.perf_counter() - began) * _REST
            await asyncio.sleep(_PREPARE_INTERVAL_S if ready else rest_s)

    def _identity_key(self, jack: VerifyingKey) -> bytes:
        return identity_key(self._beacon_key.exchange(jack), self._beacon_key.key.point, jack.point)


def _count_pairings(connection: Connection) -> int:
    return connection.execute(_COUNT).scalar_one()
