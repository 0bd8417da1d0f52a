"""Tests for inside the virtual car (``fieldkit car test``): elsewhere they are not collected."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fieldkit.car import radio_figures
from fieldkit.car.bluetooth import traffic
from tests.car.bluetooth import CarBluetooth
from tests.car.radios import opened
from twochannel.radio.backends import open_radio
from twochannel.radio.bluez import BluezRadio
from twochannel.radio.port import Radio

#: The folder of a run, which only the car has; see fieldkit/car/machine.py.
_RUN = Path("/car")

collect_ignore_glob = [] if _RUN.is_dir() else ["test_*.py"]


_MEASURED = pytest.StashKey[dict[str, Any]]()


@pytest.fixture(scope="session")
def measured(pytestconfig: pytest.Config) -> dict[str, Any]:
    """What the tests of the BlueZ radio measure, for the table at the end."""
    return pytestconfig.stash.setdefault(_MEASURED, {})


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if noted := config.stash.get(_MEASURED, {}):
        (_RUN / radio_figures.FILE).write_text(json.dumps(noted, sort_keys=True) + "\n")
        terminalreporter.section("BlueZ radio")
        for line in radio_figures.told(noted):
            terminalreporter.write_line(line)


@pytest_asyncio.fixture(scope="session", loop_scope="session", autouse=True)
async def recorded() -> AsyncIterator[None]:
    """The traffic of all tests, for Wireshark: of a run that failed."""
    async with traffic(_RUN / "hci.btsnoop"):
        yield


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
