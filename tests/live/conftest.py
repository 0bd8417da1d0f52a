"""One stage whose agents tell live how they are: figures for Prometheus from each of them."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from fieldkit import journeys
from fieldkit.cast import DEMO_CAST, load
from fieldkit.stage import SERVER, Stage
from tests.live.observed import Observed
from tests.mosquitto import MOSQUITTO, Broker

CAST = load(DEMO_CAST)
LANE = CAST.terminals[0].name
PREFIXES: Mapping[str, str] = {
    SERVER: "CIGARJACK_SERVER",
    CAST.jack.name: "CIGARJACK",
    CAST.phone.name: "PHONE_AGENT",
    LANE: "PAYMENT_DEVICE",
}


@pytest.fixture(scope="package")
def ports() -> Mapping[str, int]:
    """A free port for each agent's figures."""
    with ExitStack() as stack:
        sockets = {agent: stack.enter_context(socket.socket()) for agent in PREFIXES}
        for one in sockets.values():
            one.bind(("127.0.0.1", 0))
        return {agent: one.getsockname()[1] for agent, one in sockets.items()}


@pytest.fixture(scope="package")
def stage_folder() -> Iterator[Path]:
    """A short path: sockets lie in it, and pytest's own folders are too deep for them."""
    with tempfile.TemporaryDirectory(prefix="cigarjack-") as folder:
        yield Path(folder)


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Broker]:
    """Where the agents publish. Without Mosquitto nobody is there, which harms none of them."""
    made = Broker(tmp_path_factory.mktemp("mosquitto"))
    if MOSQUITTO.exists():
        await made.start()
    yield made
    await made.kill()


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def observed(
    stage_folder: Path, ports: Mapping[str, int], broker: Broker
) -> AsyncIterator[Observed]:
    """Everyone is running, and one payment has been made at the first lane."""
    settings = {
        agent: {
            f"{prefix}_METRICS_PORT": str(ports[agent]),
            f"{prefix}_MQTT": f"mqtt://127.0.0.1:{broker.port}/site",
            f"{prefix}_MQTT_NAME": agent,
        }
        for agent, prefix in PREFIXES.items()
    }
    async with Stage(CAST, stage_folder, settings=settings) as stage:
        await stage.provision()
        await journeys.arrive(stage, LANE)
        payment = await journeys.charge(stage, LANE, "4.50")
        assert payment["status"] == "captured"
        yield Observed(stage, LANE, ports)
        assert [p.name for p in stage.processes.values() if p.ended_unasked] == []
