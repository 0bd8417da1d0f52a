"""Two servers of one database, each a process with a folder of its own, and a bench at both."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from signal import SIGTERM

from server.state import StateFolder
from tests.adversaries.scene import findings
from tests.postgresql import Postgresql
from tests.server.bench import Bench, at_door, make_folder, running
from tests.server.devices import Devices
from tests.server.process import started


async def _enrolled(folder: StateFolder) -> Devices:
    async with running(folder, database=folder.settings().database) as bench:
        await bench.enrol()
        return bench.devices


def _copy(folder: StateFolder, path: Path) -> StateFolder:
    """As docs/scaling.md has it, with the books of the simulated processor shared."""
    shutil.copytree(folder.path, path)
    (path / "processor.sqlite3").unlink()
    (path / "processor.sqlite3").symlink_to(folder.path / "processor.sqlite3")
    return StateFolder(path)


@asynccontextmanager
async def replicas(
    postgresql: Postgresql, path: Path, **settings: int
) -> AsyncIterator[tuple[Bench, Bench]]:
    """Both with the same enrolled devices. They end as they are told to, with all in order."""
    first = make_folder(path / "first", database=postgresql.new_database())
    devices = await _enrolled(first)
    with (first.path / "config.toml").open("a") as config:
        config.writelines(f"{name} = {value}\n" for name, value in settings.items())
    second = _copy(first, path / "second")
    with started(first.path) as one, started(second.path) as other:
        async with (
            _at(first, one.ready["url"], devices) as at_one,
            _at(second, other.ready["url"], devices) as at_other,
        ):
            yield at_one, at_other
        assert [each.end(SIGTERM) for each in (one, other)] == [0, 0]
    assert findings(first) == []


def _at(folder: StateFolder, url: str, devices: Devices) -> AbstractAsyncContextManager[Bench]:
    return at_door(url, folder, folder.open_store(), devices, asyncio.Event())
