"""A server, a phone and a jack for each test that asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cigarjack.parties import Jack, Phone, Server, a_jack, owner_of


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
