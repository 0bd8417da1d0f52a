"""A scripted server over HTTPS and a terminal that is enrolled there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.payment_device.lane import Air, Bench, terminal_at
from tests.payment_device.scripted_server import ScriptedServer, new_signer
from twochannel.keystore.file import FileSigner


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer().running() as running:
        yield running


@pytest.fixture
def air() -> Air:
    return Air()


@pytest.fixture
def signer(server: ScriptedServer) -> FileSigner:
    """The terminal's key, which the server knows."""
    key = new_signer()
    server.terminal = key.key
    return key


@pytest.fixture
async def lane(
    server: ScriptedServer, signer: FileSigner, air: Air, tmp_path: Path
) -> AsyncIterator[Bench]:
    """A terminal that has heard one jack for two seconds."""
    async with terminal_at(tmp_path, server.pin(), signer, air) as bench:
        await bench.client.synchronise()
        air.jack()
        yield bench
