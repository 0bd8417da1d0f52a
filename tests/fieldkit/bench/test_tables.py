"""Tables say what was measured, whether the target is met, and survive empty figures."""

from __future__ import annotations

import dataclasses
from io import StringIO

from rich.console import Console, Group

from fieldkit.bench import tables
from fieldkit.bench.agent_footprint import AgentFigures, ImportFigures
from fieldkit.bench.ciba_peer import PeerFigures
from fieldkit.bench.consumption import Memory
from fieldkit.bench.crypto_floor import CryptoFloor
from fieldkit.bench.import_times import PackageImport
from fieldkit.bench.latency import Charged, LatencyFigures, LatencyFloors, figures
from fieldkit.bench.quantiles import summary
from fieldkit.bench.server_load import RegistryFigures, ServerFigures

_ONE = summary([12.34])
_NONE = summary([])
_FLOORS = LatencyFloors(0.95, 1.316, 25.0, 27.632, 0.376, 58.026, 0.41, _ONE, _NONE)


def text(shown: list[Group]) -> str:
    console = Console(file=StringIO(), width=200)
    for table in shown:
        console.print(table)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def latency(taken_ms: float, status: str = "captured") -> LatencyFigures:
    return figures([Charged(taken_ms, "one", status)], [], _FLOORS)


def server(ratio: float | None) -> ServerFigures:
    return ServerFigures(
        payments=500,
        concurrency=16,
        outcomes={"captured": 499, "jack_busy": 1},
        wall_s=5.0,
        payments_per_s=100.0,
        cpu_per_payment_ms=9.5,
        cpu_user_ms=8.0,
        cpu_system_ms=1.5,
        server_busy=0.95,
        bench_busy=0.4,
        written_kib_per_payment=200.0,
        latency_ms={"payment": _ONE, "challenge": _ONE, "confirmation": _NONE},
        crypto=CryptoFloor(0.02, 0.05, 0.03, 0.13),
        crypto_floor_ms=0.19,
        statements_floor_ms=0.45,
        healthz_cpu_ms=0.2,
        cpu_to_crypto_floor=ratio,
        cpu_to_statements_floor=21.1,
        cpu_to_bare_exchanges=15.8,
        server_memory=Memory(90.0, 80.0, 91.0),
        registry=RegistryFigures(1_000_000, 312.4, Memory(1010.3, 990.0, 1020.0), 2),
    )


def agents(advert_ms: list[float], jack_mib: float) -> AgentFigures:
    memory = {"jack": Memory(jack_mib, 40.0, jack_mib), "server": Memory(120.0, 100.0, 121.0)}
    return AgentFigures(
        payments=100,
        outcomes={"captured": 100},
        restarts=5,
        restarts_heard=len(advert_ms),
        clocks_restored=4,
        first_advert_ms=summary(advert_ms),
        ready_ms={"jack": _ONE, "server": _ONE},
        fresh_mib=memory,
        memory_mib=memory,
        jack_imports=ImportFigures(578, 400.2, [PackageImport("bumble", 20, 124.3)]),
    )


def test_latency_is_judged_by_its_median() -> None:
    assert "under 150 ms" in text(tables.latency_tables(latency(149.9)))
    assert "OVER 150 ms" in text(tables.latency_tables(latency(150.1)))


def test_nothing_captured_is_told_as_not_measured() -> None:
    told = text(tables.latency_tables(latency(1.0, "failed")))
    assert "1 failed" in told
    assert "not measured" in told


def test_every_leg_and_floor_has_its_reason() -> None:
    told = text(tables.latency_tables(latency(100.0)))
    for leg in ("heard", "requested", "challenged", "auth_code", "confirmed", "settled"):
        assert leg in told
    assert "0.376" in told
    assert "27.6" in told


def test_the_server_is_compared_with_its_floors() -> None:
    told = text(tables.server_tables(server(50.0)))
    assert "499 captured, 1 jack_busy" in told
    assert "50.0 x" in told
    assert "100.0 payments/s on 16 lanes" in told
    assert "Cores used: server 0.95, bench 0.40" in told


def test_the_server_is_told_with_its_jacks() -> None:
    told = text(tables.server_tables(server(50.0)))
    (row,) = (line for line in told.splitlines() if "1,000,000" in line)
    figures = [cell.strip() for cell in row.strip("│").split("│")]
    assert figures == ["1,000,000", "312.4", "1010.3", "90.0", "2"]


def test_the_peer_stands_beside_the_payment() -> None:
    peer = PeerFigures("oidc-provider", "9.13.3", 500, 700.0, 1.7, 0.99, 0.8, 120.0)
    told = text(tables.server_tables(dataclasses.replace(server(1.0), peer=peer, cpu_to_peer=5.6)))
    assert "oidc-provider 9.13.3" in told
    assert "A payment is 5.6 x a flow; the target is 0.5 x" in told


def test_a_ratio_that_is_not_there_is_a_dash() -> None:
    assert "0.19 │          -" in text(tables.server_tables(server(None)))


def test_the_jack_is_judged_by_start_and_memory() -> None:
    good = text(tables.agent_tables(agents([800.0, 900.0], 69.9)))
    assert "under 1000 ms" in good
    assert "under 70 MiB" in good
    bad = text(tables.agent_tables(agents([1200.0], 70.1)))
    assert "OVER 1000 ms" in bad
    assert "OVER 70 MiB" in bad


def test_a_jack_that_was_never_heard_has_no_figure() -> None:
    told = text(tables.agent_tables(agents([], 60.0)))
    assert "not measured" in told
    assert "heard 0 times" in told
    assert "bumble" in told
