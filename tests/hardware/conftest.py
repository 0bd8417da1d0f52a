"""The journeys on real machines: ``pytest tests/hardware --bench bench.toml`` (docs/bench.md).

Without a bench nothing here is collected. Journeys that the bench cannot play are named, with the
reason, before the first one starts, and again at the end.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fieldkit import journeys
from fieldkit.cast import DEMO_CAST, Cast, load
from fieldkit.hosts import Bench, BenchError, Hosts
from fieldkit.journeys import Journey
from fieldkit.results import JourneyResult
from fieldkit.screen import told
from fieldkit.stage import Stage

_BENCH = pytest.StashKey[Bench]()
_CAST = pytest.StashKey[Cast]()
_LEFT_OUT = pytest.StashKey[dict[str, str]]()
_RESULTS = pytest.StashKey[list[JourneyResult]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bench", type=Path, help="TOML file of the machines to play on (docs/bench.md)."
    )


def pytest_configure(config: pytest.Config) -> None:
    file = config.getoption("--bench")
    if file is None:
        raise pytest.UsageError("say on which machines: --bench bench.toml (docs/bench.md)")
    try:
        bench = Bench.load(file)
        config.stash[_BENCH], config.stash[_CAST] = bench, bench.cast(load(DEMO_CAST))
    except BenchError as error:
        raise pytest.UsageError(str(error)) from None
    reasons = {journey.name: bench.lacks(journey) for journey in journeys.JOURNEYS}
    config.stash[_LEFT_OUT] = {name: reason for name, reason in reasons.items() if reason}
    config.stash[_RESULTS] = []


def pytest_report_header(config: pytest.Config) -> list[str]:
    return [f"not played, {name}: {why}" for name, why in config.stash[_LEFT_OUT].items()]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    names = {f"[{name}]" for name in config.stash[_LEFT_OUT]}
    left_out = [item for item in items if any(item.name.endswith(name) for name in names)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    terminalreporter.section("journeys on this bench")
    for result in config.stash[_RESULTS]:
        terminalreporter.write_line(told(result))
    for name, why in config.stash[_LEFT_OUT].items():
        terminalreporter.write_line(f"{name}: not played. {why}", yellow=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(pytestconfig: pytest.Config) -> AsyncIterator[Stage]:
    """Everyone on a machine of the bench; in the end the books are clean."""
    bench, cast = pytestconfig.stash[_BENCH], pytestconfig.stash[_CAST]
    # A short path: forwarded sockets lie in it.
    with tempfile.TemporaryDirectory(prefix="cj-") as folder:
        async with Stage(cast, Path(folder), venue=Hosts(bench)) as provisioned:
            await provisioned.provision()
            yield provisioned
            findings = [c.findings for c in await journeys.audit(provisioned) if c.findings]
            assert findings == []


@pytest.fixture
def played(pytestconfig: pytest.Config) -> list[JourneyResult]:
    """Results of the journeys, for the table at the end."""
    return pytestconfig.stash[_RESULTS]


@pytest.fixture(params=journeys.JOURNEYS, ids=lambda journey: str(journey.name))
def journey(request: pytest.FixtureRequest) -> Journey:
    chosen: Journey = request.param
    return chosen
