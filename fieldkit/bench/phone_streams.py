"""``fieldkit bench streams``: what phones that listen for events cost a real server process.

The phones are written into the server's database as if they had enrolled, for what is measured is
their streams: each a TLS connection of its own, opened with its own proof.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Connection
from uuid6 import uuid7

from fieldkit.bench import consumption
from fieldkit.bench.affinity import apart
from fieldkit.bench.consumption import Memory
from fieldkit.bench.progress import BenchProgress
from fieldkit.bench.quantiles import Summary, summary
from fieldkit.bench.server_set_up import enrolment_codes, hire, set_up, start_server
from fieldkit.process import StageError
from server.schema import parties
from server.state import StateFolder
from twochannel import tls
from twochannel.keystore.file import FileSigner
from twochannel.protocol.envelope import sign
from twochannel.protocol.limits import PROOF_LIFETIME_S
from twochannel.protocol.statements import Proof
from twochannel.trace import wall_ms

_PATH: Final = "/v1/events"
#: TLS handshakes under way: more would only wait for the server's one core.
_AT_ONCE: Final = 32
#: Connections that are none of a phone's: the lane's, and some to spare.
_SPARE: Final = 256
_PAYMENTS: Final = 20
_KIB_PER_MIB: Final = 1024


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """``before`` and ``after``: the server's memory without and with the phones' streams.

    ``idle_busy``: share of one core that it uses while nothing happens. ``connected_s``: wall time
    until all were there. ``told_ms``: request to challenge at one more phone, meanwhile.
    """

    phones: int
    before: Memory
    after: Memory
    kib_per_phone: float
    idle_busy: float
    connected_s: float
    told_ms: Summary


async def measure(folder: Path, phones: int, idle_s: int, progress: BenchProgress) -> StreamFigures:
    """``idle_s``: for how long nothing happens. Raises StageError."""
    with apart() as core:
        return await _measure(folder, phones, idle_s, core, progress)


async def _measure(
    folder: Path, phones: int, idle_s: int, core: int | None, progress: BenchProgress
) -> StreamFigures:
    await set_up(folder, 1, progress)
    progress.step("phones")
    signers = [FileSigner(ec.generate_private_key(ec.SECP256R1())) for _ in range(phones)]
    _enrol(StateFolder(folder / "server"), signers)
    async with contextlib.AsyncExitStack() as stack:
        settings = {"CIGARJACK_SERVER_CONNECTIONS": str(phones + _SPARE)}
        server = await start_server(folder, core, stack, settings=settings)
        url = str(server.ready["url"])
        codes = await enrolment_codes(folder, 1, progress)
        (crew,) = await hire([url], codes, stack, progress)
        await crew.pay()
        before = consumption.memory(server.pid)
        progress.step("streams", phones)
        began_s = time.perf_counter()
        await _connect(url, crew.server, signers, stack, progress)
        connected_s = time.perf_counter() - began_s
        progress.step(f"idle for {idle_s} s")
        used = consumption.processor_time(server.pid)
        await asyncio.sleep(idle_s)
        idle_ms = (consumption.processor_time(server.pid) - used).total_ms
        after = consumption.memory(server.pid)
        told_ms = [(await crew.pay()).challenge_ms for _ in range(_PAYMENTS)]
    return StreamFigures(
        phones=phones,
        before=before,
        after=after,
        kib_per_phone=round((after.rss_mib - before.rss_mib) * _KIB_PER_MIB / phones, 1),
        idle_busy=round(idle_ms / 1000 / idle_s, 3),
        connected_s=round(connected_s, 1),
        told_ms=summary(told_ms),
    )


def _enrol(folder: StateFolder, signers: list[FileSigner]) -> None:
    """Write the phones into the database of a server that does not run yet."""
    rows = [
        {
            "id": signer.key.kid,
            "key": signer.key.jwk.model_dump_json(),
            "label": "Bench phone",
            "enrolled_ms": wall_ms(),
        }
        for signer in signers
    ]

    def write(connection: Connection) -> None:
        connection.execute(parties.phones.insert(), rows)

    store = folder.open_store()
    try:
        store.write_now(write)
    finally:
        store.close_now()


async def _connect(
    url: str,
    server: str,
    signers: list[FileSigner],
    stack: contextlib.AsyncExitStack,
    progress: BenchProgress,
) -> None:
    """Open every phone's stream; they are closed with the stack. Raises StageError."""
    gate, context = asyncio.Semaphore(_AT_ONCE), tls.first_contact_context()
    address = urlsplit(url)

    async def listen(signer: FileSigner) -> None:
        async with gate:
            reader, writer = await asyncio.open_connection(
                address.hostname, address.port, ssl=context
            )
            stack.callback(_hang_up, writer)
            writer.write(_request(address.netloc, _proof(server, signer)))
            status = await reader.readline()
            if b" 200 " not in status:
                raise StageError(f"a phone's stream was refused: {status.decode().strip()}")
            progress.advance()

    await asyncio.gather(*map(listen, signers))


def _hang_up(writer: asyncio.StreamWriter) -> None:
    """At once: thousands that say good-bye would each wait for an answer."""
    writer.close()
    writer.transport.abort()


def _request(host: str, proof: str) -> bytes:
    lines = (
        f"GET {_PATH} HTTP/1.1",
        f"Host: {host}",
        "Accept: text/event-stream",
        f"Authorization: Bearer {proof}",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _proof(server: str, signer: FileSigner) -> str:
    now_s = wall_ms() // 1000
    proof = Proof(
        iss=signer.key.kid,
        aud=server,
        jti=str(uuid7()),
        iat=now_s,
        exp=now_s + PROOF_LIFETIME_S,
        htm="GET",
        htu=_PATH,
    )
    return sign(proof, signer)
