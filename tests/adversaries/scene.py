"""What every attack is judged by: the auditor, the processor's books, and raw bytes on a socket."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from server.audit_records import read_records
from server.auditor import audit
from server.state import StateFolder
from tests.server.bench import Bench
from twochannel.tls import client_context
from twochannel.trace import wall_ms

#: An attacker is given this long before the test gives up on an answer.
PATIENCE_S = 20.0


def findings(folder: StateFolder) -> list[str]:
    """What the auditor finds wrong, in all that the server of ``folder`` has ever done."""
    database = folder.settings().database_at(folder.path)
    books = folder.path / "processor.sqlite3"
    records = read_records(database, books, folder.lineage().text, wall_ms())
    return [finding for check in audit(records) for finding in check.findings]


def booked(bench: Bench) -> int:
    """How many charges stand in the processor's own books."""
    with closing(sqlite3.connect(bench.folder.path / "processor.sqlite3")) as books:
        return int(books.execute("SELECT count(*) FROM charges").fetchone()[0])


@contextmanager
def nothing_charged(bench: Bench) -> Iterator[None]:
    """Whatever happens in the block, the processor has booked nothing new after it."""
    before = booked(bench)
    yield
    assert booked(bench) == before


def place(bench: Bench) -> tuple[str, int]:
    host, _, port = bench.url.removeprefix("https://").rpartition(":")
    return host, int(port)


async def connect(bench: Bench) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A TLS connection to the server that knows no HTTP."""
    context = client_context(bench.folder.certificate())
    return await asyncio.open_connection(*place(bench), ssl=context)


async def talk(bench: Bench, *pieces: bytes) -> bytes:
    """Say ``pieces``; all that the server answers until it ends the connection."""
    reader, writer = await connect(bench)
    heard = b""
    try:
        async with asyncio.timeout(PATIENCE_S):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            while part := await reader.read(65536):
                heard += part
    except OSError:
        return heard  # cut off in the middle of what was said
    finally:
        writer.transport.abort()
    return heard
