"""Jacks that are registered with a server and never pay, beside those of the bench's lanes.

They are written into the database of a server that does not run yet, as their pairings would have
left it: each has keys of its own and a phone of its own, and all three statements are signed. The
private keys are forgotten then. To the server they are jacks like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Connection, func, insert, select
from uuid6 import uuid7

from fieldkit.bench.progress import BenchProgress
from fieldkit.bench.virtual_jack import EPOCH, VirtualJack
from fieldkit.process import READY_DEADLINE_S, StageError
from server.schema import parties
from server.state import StateFolder
from server.store import Store, StoreError
from twochannel.keystore.file import FileAgreement, FileSigner
from twochannel.protocol.envelope import digest, sign
from twochannel.protocol.limits import REQUEST_LIFETIME_S
from twochannel.protocol.statements import PairingAcceptance
from twochannel.trace import wall_ms

#: Jacks of one transaction. Their ids are random, so that nearly each of them changes pages of its
#: own in a large index, and a commit writes every page that was changed: with 2,000 at a time the
#: disk was sent 27 KiB for each of 150,000 jacks, and 12 KiB with these.
BATCH: Final = 20_000
#: Row, key agreement and the codes of four slots take 0.0001 s where docs/measurements.md was
#: measured: a small or busy machine may take twenty times as long.
_READY_S_PER_JACK: Final = 0.002
#: Whatever a row names comes before it.
_TABLES: Final = (parties.phones, parties.jacks, parties.pairings)

Rows = Mapping[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class IdleJack:
    """The private keys of a jack, of its beacon, and of its owner's phone."""

    signer: FileSigner
    beacon_key: FileAgreement
    phone: FileSigner

    @classmethod
    def new(cls) -> Self:
        """With fresh keys on P-256."""
        signer, beacon, phone = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        return cls(FileSigner(signer), FileAgreement(beacon), FileSigner(phone))

    def acceptance(self, server: str, now_ms: int) -> str:
        """Its pairing with the server of that id, signed by jack and phone: a compact JWS."""
        jack, phone = VirtualJack(self.signer, self.beacon_key), self.phone.key.kid
        acceptance = PairingAcceptance(
            iss=phone,
            aud=server,
            jti=str(uuid7()),
            iat=now_ms // 1000,
            exp=now_ms // 1000 + REQUEST_LIFETIME_S,
            sub=jack.id,
            pairing=jack.pairing(server, phone, (str(uuid7()), str(uuid7()))),
        )
        return sign(acceptance, self.phone)

    def rows(self, server: str, now_ms: int) -> Rows:
        """What the server of that id keeps of it: a row for each table, by the table's name."""
        jack, phone = self.signer.key, self.phone.key
        compact = self.acceptance(server, now_ms)
        paired = {"epoch": EPOCH, "phone_id": phone.kid, "paired_ms": now_ms}
        return {
            "phones": {
                "id": phone.kid,
                "key": phone.jwk.model_dump_json(),
                "label": "Idle phone",
                "enrolled_ms": now_ms,
            },
            "jacks": paired
            | {
                "id": jack.kid,
                "key": jack.jwk.model_dump_json(),
                "beacon_key": self.beacon_key.key.jwk.model_dump_json(),
            },
            "pairings": paired
            | {"jack_id": jack.kid, "digest": digest(compact), "compact": compact},
        }


async def register(folder: Path, count: int, progress: BenchProgress) -> None:
    """Write that many into the database of the server in ``folder``, which must not run.

    Raises StageError if the database does not take them.
    """
    progress.step("registered jacks", count)
    server = StateFolder(folder).lineage().server
    with _database(folder) as store:
        for begin in range(0, count, BATCH):
            made = []
            for _ in range(min(BATCH, count - begin)):
                made.append(IdleJack.new().rows(server, wall_ms()))
                progress.advance()
                await asyncio.sleep(0)  # Ctrl-C is heard here.
            write(store, made)


def write(store: Store, jacks: Sequence[Rows]) -> None:
    """Add the rows of ``jacks`` in one transaction. Raises StoreError."""

    def add(connection: Connection) -> None:
        for table in _TABLES:
            connection.execute(insert(table), [rows[table.name] for rows in jacks])

    store.write_now(add)


def registered(folder: Path) -> int:
    """How many jacks the server in ``folder`` has in its database now. Raises StageError."""
    with _database(folder) as store:
        return store.read_now(_count)


def _count(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(parties.jacks)).scalar_one()


@contextmanager
def _database(folder: Path) -> Iterator[Store]:
    store = StateFolder(folder).open_store()
    try:
        yield store
    except StoreError as error:
        raise StageError(f"the server's database does not do it: {error}") from None
    finally:
        store.close_now()


def patience_s(jacks: int) -> float:
    """For how long a server with that many jacks is waited for."""
    return READY_DEADLINE_S + jacks * _READY_S_PER_JACK
