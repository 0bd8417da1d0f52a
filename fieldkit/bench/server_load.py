"""``fieldkit bench server``: what a whole payment costs a real server process, over HTTPS.

The server runs alone. Terminals, phones and jacks live in this process, which is not counted:
request, challenge on the event stream, auth code, confirmation, simulated processor, receipt.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fieldkit.bench import ciba_peer, consumption, idle_jacks
from fieldkit.bench.affinity import apart
from fieldkit.bench.bare_requests import bare_request_ms
from fieldkit.bench.ciba_peer import PeerFigures
from fieldkit.bench.consumption import Memory, ProcessorTime
from fieldkit.bench.crypto_floor import CryptoFloor, CryptoGauge
from fieldkit.bench.lane_crew import LaneCrew, LaneError, LanePayment
from fieldkit.bench.progress import BenchProgress
from fieldkit.bench.quantiles import Summary, ratio, summary
from fieldkit.bench.server_profile import Profile, read_profile, watching
from fieldkit.bench.server_set_up import Start, enrolment_codes, hire, set_up, start_all
from fieldkit.process import Process
from server.client import ServerUnreachableError
from twochannel.protocol.beacon import DEFAULT_ROTATION_EXPONENT, slot_length_s, slot_of
from twochannel.protocol.errors import CodedError

#: HTTP requests of one payment: the terminal's, the phone's, and the challenge on the stream.
EXCHANGES: Final = 3
#: A sample takes two or three milliseconds: a small part of this.
_GAUGE_EVERY_S: Final = 0.1
_DECIMALS: Final = 3
#: That of a server that was not told another one.
_EXPONENT: Final = DEFAULT_ROTATION_EXPONENT


@dataclass(frozen=True, slots=True)
class RegistryFigures:
    """What a server with so many registered jacks took to get ready; the first of several.

    ``jacks``: those of the lanes too, counted in its database after the payments. ``ready_s``: wall
    time from its spawn until it was ready; ``ready_memory``: what it held then, when those of the
    lanes were still to come. ``slots_begun``: from then to the end of the payments; with each, the
    codes of one to come are computed beside them.
    """

    jacks: int
    ready_s: float
    ready_memory: Memory
    slots_begun: int


@dataclass(frozen=True, slots=True)
class ServerFigures:
    """What was measured. ``_ms``: milliseconds; ``cpu``: of the server process on a processor.

    ``outcomes``: payments by status, or by why they failed. ``server_busy``, ``bench_busy``:
    share of one core that each process used: the one near 1 is what limited the rate.
    ``servers``: so many over one database; then ``cpu``, ``server_busy`` and what is written are
    of all of them, without the database's own. ``peer``: what a flow costs it, on the same core.
    ``crypto_floor_ms``: three verifications and two signatures, bare; ``statements_floor_ms``:
    the same as whole statements. ``healthz_cpu_ms``: of one bare request. ``server_memory``: after
    the payments, of the first server. ``profile``: of as many payments again, for whoever looks
    slows down what is looked at.
    """

    payments: int
    concurrency: int
    outcomes: dict[str, int]
    wall_s: float
    payments_per_s: float
    cpu_per_payment_ms: float
    cpu_user_ms: float
    cpu_system_ms: float
    server_busy: float
    bench_busy: float
    written_kib_per_payment: float
    latency_ms: dict[str, Summary]
    crypto: CryptoFloor
    crypto_floor_ms: float
    statements_floor_ms: float
    healthz_cpu_ms: float
    cpu_to_crypto_floor: float | None
    cpu_to_statements_floor: float | None
    cpu_to_bare_exchanges: float | None
    server_memory: Memory
    registry: RegistryFigures
    servers: int = 1
    database: str = "sqlite"
    peer: PeerFigures | None = None
    profile: Profile | None = None
    cpu_to_peer: float | None = None


@dataclass(frozen=True, slots=True)
class _Used:
    """What the server and this process have used up to a moment."""

    at_s: float
    server: ProcessorTime
    bench_s: float
    written_bytes: int

    @classmethod
    def now(cls, servers: Sequence[Process]) -> _Used:
        times = [consumption.processor_time(each.pid) for each in servers]
        return cls(
            time.perf_counter(),
            ProcessorTime(sum(t.user_ms for t in times), sum(t.system_ms for t in times)),
            time.process_time(),
            sum(consumption.written_bytes(each.pid) for each in servers),
        )


@dataclass(frozen=True, slots=True)
class _Load:
    """What came of a load, and what the processes had used before and after it."""

    before: _Used
    after: _Used
    done: list[LanePayment]
    outcomes: Counter[str]

    @property
    def wall_s(self) -> float:
        return self.after.at_s - self.before.at_s

    @property
    def cpu(self) -> ProcessorTime:
        return self.after.server - self.before.server

    @property
    def written_bytes(self) -> int:
        return self.after.written_bytes - self.before.written_bytes

    @property
    def bench_busy(self) -> float:
        return (self.after.bench_s - self.before.bench_s) / self.wall_s

    @property
    def latency_ms(self) -> dict[str, Summary]:
        return {
            "payment": summary([payment.payment_ms for payment in self.done]),
            "challenge": summary([payment.challenge_ms for payment in self.done]),
            "confirmation": summary([payment.confirmation_ms for payment in self.done]),
        }


@dataclass(frozen=True, slots=True)
class Site:
    """What is measured. ``database``: a URL; empty: SQLite. ``peer``: whether beside its peer.

    ``profile``: whether also where the first server's time goes. ``jacks``: registered in all, at
    least one for each lane; 0: no more than those.
    """

    payments: int
    concurrency: int
    servers: int = 1
    database: str = ""
    peer: bool = False
    profile: bool = False
    jacks: int = 0

    @property
    def lanes(self) -> int:
        """How many pay, each with a jack of its own."""
        return min(self.concurrency, self.payments)


async def measure(folder: Path, site: Site, progress: BenchProgress) -> ServerFigures:
    """Run the payments on that many lanes of fresh servers in ``folder``.

    On a machine with two cores or more a single server has one of its own, and its load another.
    Raises StageError if a server cannot be set up; payments that fail are counted.
    """
    with apart() if site.servers == 1 else contextlib.nullcontext() as core:
        figures = await _measure_servers(folder, site, core, progress)
        if not site.peer:
            return figures
        peer = await ciba_peer.measure(folder, site.payments, site.concurrency, core, progress)
    times = ratio(figures.cpu_per_payment_ms, peer.cpu_per_flow_ms)
    return dataclasses.replace(figures, peer=peer, cpu_to_peer=times)


async def _measure_servers(
    folder: Path, site: Site, core: int | None, progress: BenchProgress
) -> ServerFigures:
    lanes = site.lanes
    await set_up(folder, lanes, progress, site.database)
    if site.jacks > lanes:
        await idle_jacks.register(folder / "server", site.jacks - lanes, progress)
    async with contextlib.AsyncExitStack() as stack:
        servers, start = await start_all(folder, site.servers, site.jacks, core, stack, progress)
        codes = await enrolment_codes(folder, lanes, progress)
        crews = await hire([str(each.ready["url"]) for each in servers], codes, stack, progress)
        progress.step("warming up", len(crews))
        await _load(servers, crews, len(crews), progress)
        progress.step("payments", site.payments)
        async with _gauging() as gauge:
            load = await _load(servers, crews, site.payments, progress)
        registry = _registry(folder / "server", start, int(time.time()))
        progress.step("bare requests")
        healthz_ms = await bare_request_ms(servers[0], lanes)
        memory = consumption.memory(servers[0].pid)
        profile = None
        if site.profile:
            progress.step("profile", site.payments)
            output = folder / "profile.txt"
            async with watching(servers[0].pid, output):
                await _load(servers, crews, site.payments, progress)
            profile = read_profile(output.read_text("utf-8").splitlines())
    figures = _figures(load, lanes, gauge.floor(), healthz_ms, memory, registry)
    database = site.database.partition("+")[0].partition(":")[0] or "sqlite"
    return dataclasses.replace(figures, servers=site.servers, database=database, profile=profile)


def _registry(folder: Path, start: Start, until_s: int) -> RegistryFigures:
    """``until_s``: when the payments were over, in Unix time. Raises StageError."""
    begun = slots_begun(start.at_s, until_s)
    return RegistryFigures(idle_jacks.registered(folder), start.ready_s, start.memory, begun)


def slots_begun(since_s: int, until_s: int) -> int:
    """How many slots of codes began after one Unix time and up to another."""
    first, last = (slot_of(at_s, _EXPONENT) for at_s in (since_s, until_s))
    return (last - first) // slot_length_s(_EXPONENT)


def _figures(
    load: _Load,
    lanes: int,
    crypto: CryptoFloor,
    healthz_ms: float,
    memory: Memory,
    registry: RegistryFigures,
) -> ServerFigures:
    payments = load.outcomes.total()
    cpu_ms = load.cpu.total_ms / payments
    return ServerFigures(
        payments=payments,
        concurrency=lanes,
        outcomes=dict(load.outcomes),
        wall_s=round(load.wall_s, _DECIMALS),
        payments_per_s=round(payments / load.wall_s, 1),
        cpu_per_payment_ms=round(cpu_ms, _DECIMALS),
        cpu_user_ms=round(load.cpu.user_ms / payments, _DECIMALS),
        cpu_system_ms=round(load.cpu.system_ms / payments, _DECIMALS),
        server_busy=round(load.cpu.total_ms / 1000 / load.wall_s, 2),
        bench_busy=round(load.bench_busy, 2),
        written_kib_per_payment=round(load.written_bytes / payments / 1024, 1),
        latency_ms=load.latency_ms,
        crypto=crypto,
        crypto_floor_ms=round(crypto.server_ms, _DECIMALS),
        statements_floor_ms=round(crypto.server_statements_ms, _DECIMALS),
        healthz_cpu_ms=healthz_ms,
        cpu_to_crypto_floor=ratio(cpu_ms, crypto.server_ms),
        cpu_to_statements_floor=ratio(cpu_ms, crypto.server_statements_ms),
        cpu_to_bare_exchanges=ratio(cpu_ms, EXCHANGES * healthz_ms),
        server_memory=memory,
        registry=registry,
    )


# --- load


@contextlib.asynccontextmanager
async def _gauging() -> AsyncIterator[CryptoGauge]:
    """The crypto floor, gauged all the time while the block runs: ratios are of the same moment."""
    gauge = CryptoGauge()
    gauge.sample()

    async def go_on() -> None:
        while True:
            await asyncio.sleep(_GAUGE_EVERY_S)
            gauge.sample()

    sampling = asyncio.create_task(go_on(), name="crypto gauge")
    try:
        yield gauge
    finally:
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)


async def _load(
    servers: Sequence[Process], crews: list[LaneCrew], payments: int, progress: BenchProgress
) -> _Load:
    """Every crew takes the next payment when it is done with its last."""
    turns = iter(range(payments))
    done: list[LanePayment] = []
    outcomes: Counter[str] = Counter()

    async def work(crew: LaneCrew) -> None:
        for _ in turns:
            try:
                payment = await crew.pay()
            except CodedError as error:
                outcomes[error.code.value] += 1
            except (ServerUnreachableError, LaneError, TimeoutError) as error:
                outcomes[type(error).__name__] += 1
            else:
                outcomes[payment.status] += 1
                done.append(payment)
            progress.advance()

    before = _Used.now(servers)
    await asyncio.gather(*(work(crew) for crew in crews))
    return _Load(before, _Used.now(servers), done, outcomes)
