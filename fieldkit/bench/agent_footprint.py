"""``fieldkit bench agents``: how fast each agent starts, and what it holds after many payments."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fieldkit import journeys
from fieldkit.bench import consumption, import_times, till
from fieldkit.bench.consumption import Memory
from fieldkit.bench.import_times import PackageImport
from fieldkit.bench.progress import BenchProgress
from fieldkit.bench.quantiles import Summary, summary
from fieldkit.cast import Cast
from fieldkit.sniffer import Sniffer
from fieldkit.stage import SERVER, Stage

#: Independent of every agent: it says what was on the air, not what the jack believes.
_SNIFFER: Final = "sniffer"
#: A jack whose clock was not restored waits for its phone; this is long enough for that too.
_ADVERT_DEADLINE_S: Final = 40.0
_TOP_IMPORTS: Final = 10
_IMPORT_TIMES: Final = {"PYTHONPROFILEIMPORTTIME": "1"}
_NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class ImportFigures:
    """What the jack imports until it is ready. Measuring makes each import a little slower."""

    modules: int
    total_ms: float
    slowest: list[PackageImport]


@dataclass(frozen=True, slots=True)
class AgentFigures:
    """What was measured, in milliseconds and mebibytes.

    ``first_advert_ms``: from the spawn of the jack to its first beacon on the air, heard by a
    radio of nobody's; ``restarts_heard`` of ``restarts`` were heard in time, ``clocks_restored``
    began with the clock of the run before. ``ready_ms``: from spawn to the ready line, by agent.
    ``fresh_mib``: memory before the first payment; ``memory_mib``: after ``payments``.
    """

    payments: int
    outcomes: dict[str, int]
    restarts: int
    restarts_heard: int
    clocks_restored: int
    first_advert_ms: Summary
    ready_ms: dict[str, Summary]
    fresh_mib: dict[str, Memory]
    memory_mib: dict[str, Memory]
    jack_imports: ImportFigures


@dataclass(frozen=True, slots=True)
class _JackStart:
    """One start of the jack; ``advert_ms`` None if it was not heard in time."""

    ready_ms: float
    advert_ms: float | None
    clock_restored: bool


async def measure(
    cast: Cast, folder: Path, payments: int, restarts: int, progress: BenchProgress
) -> AgentFigures:
    """Measure on a stage in ``folder``. Raises StageError."""
    agents = {
        "jack": cast.jack.name,
        "phone": cast.phone.name,
        "terminal": cast.terminals[0].name,
        "server": SERVER,
    }
    async with Stage(cast, folder, progress=progress.step) as stage:
        await stage.provision()
        await _start_the_car(stage, agents)
        fresh = _memory(stage, agents)
        outcomes = await _pay(stage, payments, progress)
        used = _memory(stage, agents)
        starts = await _start_jack(stage, agents["jack"], restarts, progress)
        ready = {"jack": summary([start.ready_ms for start in starts])}
        for kind in ("phone", "terminal", "server"):
            ready[kind] = await _ready_ms(stage, agents[kind], restarts, progress)
        progress.step("imports")
        imports = await _jack_imports(stage, agents["jack"])
    heard = [start.advert_ms for start in starts if start.advert_ms is not None]
    return AgentFigures(
        payments=payments,
        outcomes=outcomes,
        restarts=restarts,
        restarts_heard=len(heard),
        clocks_restored=sum(start.clock_restored for start in starts),
        first_advert_ms=summary(heard),
        ready_ms=ready,
        fresh_mib=fresh,
        memory_mib=used,
        jack_imports=imports,
    )


async def _start_the_car(stage: Stage, agents: Mapping[str, str]) -> None:
    """A jack is paired once in its life and started with each journey: measure it as it lives."""
    started_ns = time.monotonic_ns()
    await stage.processes[agents["jack"]].stop()
    await stage.restart(agents["jack"])
    phone = stage.traces[agents["phone"]]
    await phone.wait("jack_found", after_ns=started_ns, deadline_s=_ADVERT_DEADLINE_S)
    await journeys.heard(stage, agents["terminal"])


def _memory(stage: Stage, agents: Mapping[str, str]) -> dict[str, Memory]:
    return {kind: consumption.memory(stage.processes[name].pid) for kind, name in agents.items()}


async def _pay(stage: Stage, payments: int, progress: BenchProgress) -> dict[str, int]:
    progress.step("payments", payments)
    outcomes: Counter[str] = Counter()
    for number in range(payments):
        outcomes[await till.charge_by_socket(stage, f"footprint-{number}")] += 1
        progress.advance()
    return dict(outcomes)


async def _start_jack(
    stage: Stage, jack: str, restarts: int, progress: BenchProgress
) -> list[_JackStart]:
    progress.step("starts of the jack", restarts)
    starts = []
    async with Sniffer(stage.radio(_SNIFFER)) as sniffer:
        for _ in range(restarts):
            await stage.processes[jack].stop()
            starts.append(await _one_start(stage, jack, sniffer))
            progress.advance()
    return starts


async def _one_start(stage: Stage, jack: str, sniffer: Sniffer) -> _JackStart:
    spawned_ns = time.monotonic_ns()
    await stage.restart(jack)
    ready_ms = (time.monotonic_ns() - spawned_ns) / _NS_PER_MS
    try:
        heard = await sniffer.first_code(spawned_ns, _ADVERT_DEADLINE_S)
    except TimeoutError:
        return _JackStart(ready_ms, None, clock_restored=False)
    restored = stage.traces[jack].find("clock_restored", after_ns=spawned_ns)
    advert_ms = (heard.heard_ns - spawned_ns) / _NS_PER_MS
    return _JackStart(ready_ms, advert_ms, clock_restored=restored is not None)


async def _ready_ms(stage: Stage, agent: str, restarts: int, progress: BenchProgress) -> Summary:
    progress.step(f"starts of {agent}", restarts)
    taken = []
    for _ in range(restarts):
        await stage.processes[agent].stop()
        spawned_ns = time.monotonic_ns()
        await stage.restart(agent)
        taken.append((time.monotonic_ns() - spawned_ns) / _NS_PER_MS)
        progress.advance()
    return summary(taken)


async def _jack_imports(stage: Stage, jack: str) -> ImportFigures:
    process = stage.processes[jack]
    await process.stop()
    written = process.log.stat().st_size
    await stage.restart(jack, _IMPORT_TIMES)
    with process.log.open("rb") as log:
        log.seek(written)
        lines = log.read().decode("utf-8", "replace").splitlines()
    packages = import_times.by_package(lines)
    return ImportFigures(
        modules=sum(package.modules for package in packages),
        total_ms=round(sum(package.self_ms for package in packages), 1),
        slowest=packages[:_TOP_IMPORTS],
    )
