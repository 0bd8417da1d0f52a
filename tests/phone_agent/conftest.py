"""A scripted server, a jack without radio, and a phone that knows both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.cigarjack.parties import Jack, a_jack
from tests.phone_agent.owners_phone import OwnersPhone
from tests.phone_agent.scripted_server import ScriptedServer


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer()
    async with server.served():
        yield server


@pytest.fixture
def jack(tmp_path: Path) -> Iterator[Jack]:
    with a_jack(tmp_path / "jack") as jack:
        yield jack


@pytest.fixture
def phone(tmp_path: Path, server: ScriptedServer) -> OwnersPhone:
    phone = OwnersPhone(tmp_path / "phone")
    phone.prepare(server)
    return phone
