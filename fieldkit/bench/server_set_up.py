"""Setting a server up for load: merchants, lanes, and the process itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from fieldkit.bench import consumption
from fieldkit.bench.affinity import pinned_to_core
from fieldkit.bench.consumption import Memory
from fieldkit.bench.idle_jacks import patience_s
from fieldkit.bench.lane_crew import LaneCrew
from fieldkit.bench.progress import BenchProgress
from fieldkit.process import READY_DEADLINE_S, Process, command

_LOOPBACK: Final = "127.0.0.1"
_MERCHANTS: Final = 4
#: A server that takes long to get ready says every few seconds how far it is.
_LOOK_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Start:
    """How a server got ready.

    ``ready_s``: wall time from its spawn; ``at_s``: Unix time then; ``memory``: what it held then.
    """

    ready_s: float
    at_s: int
    memory: Memory


async def start_server(
    folder: Path,
    core: int | None,
    stack: contextlib.AsyncExitStack,
    number: int = 0,
    settings: Mapping[str, str] | None = None,
    ready_deadline_s: float = READY_DEADLINE_S,
) -> Process:
    """One server; all but the first on a copy of its folder, with the same processor's books."""
    name = _state_name(number)
    if number:
        shutil.copytree(folder / _state_name(0), folder / name)
        books = folder / name / "processor.sqlite3"
        books.unlink(missing_ok=True)
        books.symlink_to(folder / _state_name(0) / books.name)
    line = ["-m", "server", "--state", str(folder / name), "run"]
    server = Process(
        name,
        line,
        folder / f"{name}.log",
        _settings() | dict(settings or {}),
        ready_deadline_s=ready_deadline_s,
    )
    await server.start()
    stack.push_async_callback(server.stop)
    pinned_to_core(server.pid, core)
    return server


async def start_all(
    folder: Path,
    count: int,
    jacks: int,
    core: int | None,
    stack: contextlib.AsyncExitStack,
    progress: BenchProgress,
) -> tuple[list[Process], Start]:
    """That many servers, one after the other, and how the first of them got ready.

    ``jacks``: so many are registered, for which each of them takes its time.
    """
    progress.step("start")
    servers, starts = [], []
    for number in range(count):
        began_s, log = time.perf_counter(), folder / f"{_state_name(number)}.log"
        async with telling(log, progress):
            server = await start_server(
                folder, core, stack, number, ready_deadline_s=patience_s(jacks)
            )
        ready_s = round(time.perf_counter() - began_s, 1)
        starts.append(Start(ready_s, int(time.time()), consumption.memory(server.pid)))
        servers.append(server)
    return servers, starts[0]


@contextlib.asynccontextmanager
async def telling(log: Path, progress: BenchProgress) -> AsyncIterator[None]:
    """Show what a server says of its start while the block runs."""

    async def tell() -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            if state := state_in(log):
                progress.note(state)

    task = asyncio.create_task(tell(), name="telling")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def state_in(log: Path) -> str | None:
    """How far a server's start is, in a sentence, if the last line of its log says so."""
    lines = log.read_bytes().splitlines() if log.exists() else []
    try:
        last = json.loads(lines[-1]) if lines else {}
    except ValueError:  # half a line
        return None
    return str(last["state"]) if isinstance(last, dict) and "state" in last else None


def _state_name(number: int) -> str:
    return f"server-{number + 1}" if number else "server"


def _run(folder: Path, *arguments: str) -> list[str]:
    return ["-m", "server", "--state", str(folder / "server"), *(arguments or ("run",))]


def _settings() -> dict[str, str]:
    return {"CIGARJACK_SERVER_HOST": _LOOPBACK, "CIGARJACK_SERVER_PORT": "0"}


async def _operate(folder: Path, *arguments: str) -> dict[str, Any]:
    """One command of the server's operator. Raises CommandFailedError."""
    name = " ".join(("cigarjack-server", *arguments[:2]))
    _, output = await command(name, _run(folder, *arguments, "--json"))
    printed: dict[str, Any] = json.loads(output or "{}")
    return printed


async def set_up(folder: Path, lanes: int, progress: BenchProgress, database: str = "") -> None:
    """Make the server, and the merchants of that many lanes."""
    merchants = min(_MERCHANTS, lanes)
    progress.step("server", 1 + merchants)
    where = ("--database", database) if database else ()
    await _operate(folder, "init", "--host", _LOOPBACK, "--port", "0", *where)
    progress.advance()
    for number in range(merchants):
        name, shop = f"Bench merchant {number}", f"bench-{number}"
        await _operate(folder, "merchants", "add", name, "--presence", "prefer", "--id", shop)
        progress.advance()


async def enrolment_codes(
    folder: Path, lanes: int, progress: BenchProgress
) -> list[tuple[str, str]]:
    """For each lane those of a terminal and of a phone. They are good for some minutes only."""
    progress.step("enrolment codes", 2 * lanes)
    at_once = asyncio.Semaphore(max(2, os.cpu_count() or 1))

    async def enrolment_code(*arguments: str) -> str:
        async with at_once:
            printed = await _operate(folder, *arguments)
        progress.advance()
        return str(printed["enrolment_code"])

    async def lane_codes(number: int) -> tuple[str, str]:
        merchant = f"bench-{number % _MERCHANTS}"
        terminal = await enrolment_code(
            "terminals", "add", f"Lane {number}", "--merchant", merchant
        )
        return terminal, await enrolment_code("phones", "add", f"Phone {number}")

    return await finish_all(map(lane_codes, range(lanes)))


T = TypeVar("T")


async def finish_all(steps: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of ``steps``, run at once; the first failure goes up when all have ended.

    A failure that went up to ``asyncio.run`` at once would cancel processes in the middle of their
    start, and asyncio waits for ever for the end of one whose pipes were never connected.
    """
    made = await asyncio.gather(*steps, return_exceptions=True)
    results = [result for result in made if not isinstance(result, BaseException)]
    for failure in made:
        if isinstance(failure, BaseException):
            raise failure
    return results


async def hire(
    urls: list[str],
    codes: list[tuple[str, str]],
    stack: contextlib.AsyncExitStack,
    progress: BenchProgress,
) -> list[LaneCrew]:
    progress.step("lanes", len(codes))
    crews = []
    for number, (terminal_code, phone_code) in enumerate(codes):
        # A lane's phone listens at the next server: what it is told has to get there.
        url, phones_url = (urls[(number + step) % len(urls)] for step in (0, 1))
        crew = await LaneCrew.hire(url, terminal_code, phone_code, phones_url)
        crews.append(await stack.enter_async_context(crew))
        progress.advance()
    return crews
