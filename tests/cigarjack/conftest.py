"""A server, a phone and a jack for each test that asks for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.cigarjack.parties import Jack, Phone, Server, a_jack, owner_of
from tests.cigarjack.running_jack import Bench, a_bench


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def phone() -> Phone:
    return Phone()


@pytest.fixture
def unpaired(tmp_path: Path) -> Iterator[Jack]:
    with a_jack(tmp_path / "jack") as jack:
        yield jack


@pytest.fixture
def paired(unpaired: Jack, phone: Phone, server: Server) -> Jack:
    unpaired.adopt(owner_of(phone, server))
    return unpaired


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with a_bench(tmp_path / "jack") as bench:
        yield bench
