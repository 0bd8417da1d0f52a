"""An air without luck, for tests that are about something else; folders, and a machine over SSH."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fieldkit.air import Air, AirPlan, ControllerPlan
from fieldkit.propagation import Propagation
from tests.sshd import ADDRESS, Machine

STILL = Propagation(shadowing_sd_db=0, fading_sd_db=0, loss_probability=0)


@pytest.fixture
async def air() -> AsyncIterator[Air]:
    """Two controllers three metres apart; every packet arrives with the same strength."""
    controllers = (ControllerPlan(name="jack"), ControllerPlan(name="terminal", x=3))
    async with Air(AirPlan(propagation=STILL, controllers=controllers)) as opened:
        yield opened


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Where a command makes its folder: short, as sockets lie in it."""
    folder = Path("/tmp") / f"cj-{os.getpid()}"
    folder.mkdir()
    yield folder
    for left in sorted(folder.rglob("*"), reverse=True):
        left.rmdir() if left.is_dir() else left.unlink()
    folder.rmdir()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, for sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="cj-") as name:
        yield Path(name)


@pytest.fixture
def machine(folder: Path) -> Iterator[Machine]:
    """One that runs, for tests with the marker ``sshd``."""
    machine = Machine(folder / "machine", ADDRESS)
    with machine.running():
        yield machine
