"""Tests for inside the virtual car (``fieldkit car test``): elsewhere they are not collected."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.car.bluetooth import CarBluetooth, measurements
from tests.car.radios import opened
from twochannel.radio.backends import open_radio
from twochannel.radio.bluez import BluezRadio
from twochannel.radio.port import Radio

#: The folder of a run, which only the car has; see fieldkit/car/machine.py.
_RUN = Path("/car")

collect_ignore_glob = [] if _RUN.is_dir() else ["test_*.py"]


@pytest.fixture(scope="session")
def measured() -> Iterator[dict[str, Any]]:
    """What the tests of the BlueZ radio measure, for the car's table."""
    with measurements(_RUN / "bluez-radio.json") as noted:
        yield noted


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def car(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CarBluetooth]:
    """Adapters of a jack and a terminal, and bluetoothd."""
    async with CarBluetooth(tmp_path_factory.mktemp("bluetooth")) as ready:
        yield ready


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def witness(car: CarBluetooth) -> AsyncIterator[Radio]:
    """Hears what is on the air without kernel and BlueZ."""
    async with open_radio(car.witness) as radio:
        yield radio


@pytest_asyncio.fixture(loop_scope="module")
async def restored(car: CarBluetooth) -> None:
    """Everything as it was at first."""
    await car.restore()


@pytest_asyncio.fixture(loop_scope="module")
async def jack(car: CarBluetooth, restored: None) -> AsyncIterator[BluezRadio]:
    async with opened(car, "jack") as radio:
        yield radio


@pytest_asyncio.fixture(loop_scope="module")
async def terminal(car: CarBluetooth, restored: None) -> AsyncIterator[BluezRadio]:
    async with opened(car, "terminal") as radio:
        yield radio
