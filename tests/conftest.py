"""What every test gets: how Hypothesis searches, and which tests a machine runs that lacks some."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from fieldkit.bench import ciba_peer
from tests.browser import CHROMIUM
from tests.live.prometheus import PROMETHEUS
from tests.machines import IP, machines_can_be_made
from tests.mosquitto import MOSQUITTO
from tests.networks import networks_can_be_made, own_network
from tests.nginx import NGINX
from tests.postgresql import INITDB, Postgresql, postgresql_server
from tests.softhsm import MODULE, SoftHsm
from tests.sshd import SSHD
from tests.systemd import Systemd, listening

# No deadline: on a small shared machine a slow example is no fault of the code. The blob lets a
# failure that was only seen elsewhere be replayed here with @reproduce_failure.
settings.register_profile("desk", deadline=None, print_blob=True)
settings.register_profile("ci", settings.get_profile("desk"), max_examples=300)
settings.load_profile("ci" if os.environ.get("CI") else "desk")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the tests with a marker need of the machine: a file, and the package that has it.

    ``granted``: whether its kernel lets this user do what they do.
    """

    file: Path
    tests: str
    program: str
    package: str
    granted: Callable[[], bool] = lambda: True

    @property
    def there(self) -> bool:
        return self.file.exists() and self.granted()

    @property
    def advice(self) -> str:
        if self.file.exists():
            return (
                f"{self.tests} need a kernel that lets this user make it; to run them: be root, "
                "and in a container have CAP_SYS_ADMIN"
            )
        return f"{self.tests} need {self.program}; to run them: apt install {self.package}"


WANTED = {
    "chromium": Wanted(CHROMIUM, "tests of pages", "Chromium", "chromium"),
    "mosquitto": Wanted(MOSQUITTO, "tests with an MQTT broker", "Mosquitto", "mosquitto"),
    "nginx": Wanted(NGINX, "tests behind a proxy", "nginx", "nginx"),
    "postgresql": Wanted(INITDB, "tests on PostgreSQL", "PostgreSQL", "postgresql"),
    "prometheus": Wanted(PROMETHEUS, "tests of dashboard and alerts", "Prometheus", "prometheus"),
    "softhsm": Wanted(MODULE, "tests of keys in tokens", "SoftHSM", "softhsm2"),
    "sshd": Wanted(SSHD, "tests with machines over SSH", "an SSH server", "openssh-server"),
    "machines": Wanted(
        *(IP, "tests with a network for each machine", "ip", "iproute2"), machines_can_be_made
    ),
    # Workers have no network to install it from.
    "peer": Wanted(
        ciba_peer.installed_file(),
        "tests beside the peer",
        "oidc-provider",
        "nodejs npm && .venv/bin/python -m fieldkit.bench.ciba_peer",
    ),
}
#: Whole agents work in them, for minutes: first, or a worker would be alone with them in the end.
#: One folder after the other, so that the stage of one has ended before the next begins.
LONG = (
    "tests/journeys/",
    "tests/live/",
    "tests/adversaries/",
    "tests/trials/",
    "tests/fieldkit/soak/",
    "tests/fieldkit/trials/",
    "tests/fieldkit/test_hosts.py",
    "tests/fieldkit/bench/",
)
_LEFT_OUT = pytest.StashKey[dict[str, int]]()


def pytest_cmdline_main(config: pytest.Config) -> None:
    """Give each worker a network of its own; where none can be made, all tests run one by one."""
    if not config.option.tx or hasattr(config, "workerinput"):
        return
    if networks_can_be_made():
        config.option.tx = [own_network(worker) for worker in config.option.tx]
    else:
        config.option.tx, config.option.dist = [], "no"
        sys.stderr.write("No networks can be made here for workers: one test after the other.\n")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LEFT_OUT] = {}
    if not os.environ.get("CI"):
        return
    missing = [wanted for wanted in WANTED.values() if not wanted.file.exists()]
    if missing:
        packages = " ".join(wanted.package for wanted in missing)
        raise pytest.UsageError(f"there is no {missing[0].file}; run: apt install {packages}")


def _turn(item: pytest.Item) -> int:
    """Where its folder stands among the long ones; after them if it is none."""
    started = (turn for turn, folder in enumerate(LONG) if item.nodeid.startswith(folder))
    return next(started, len(LONG))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long ones first. Leave out those for which this machine lacks a program; never in CI."""
    items.sort(key=_turn)
    for marker, wanted in WANTED.items():
        left_out = [item for item in items if item.get_closest_marker(marker)]
        if not left_out or wanted.there:
            continue
        if os.environ.get("CI"):
            raise pytest.UsageError(wanted.advice)
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)
        config.stash[_LEFT_OUT][marker] = len(left_out)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Each worker has collected all tests; what it left out is told by the one that started it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash[_LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[_LEFT_OUT] |= getattr(node, "workeroutput", {}).get("left_out", {})


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    counts = config.stash[_LEFT_OUT]
    if counts:
        terminalreporter.section("not run", yellow=True)
    for marker, count in counts.items():
        terminalreporter.write_line(f"{count} {WANTED[marker].advice}")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    """A server for all tests that this process runs."""
    with postgresql_server() as server:
        yield server


@pytest.fixture
def softhsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftHsm]:
    """Tokens of this test alone. The library looks for them when it is first called."""
    hsm = SoftHsm(tmp_path / "softhsm")
    monkeypatch.setenv("SOFTHSM2_CONF", hsm.environment["SOFTHSM2_CONF"])
    yield hsm
    hsm.run(lambda library: library.finalize())


@pytest.fixture
async def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Systemd]:
    """What every agent that is started from here tells systemd, which wants signs of life."""
    async with listening(str(tmp_path / "notify")) as listener:
        for name, value in listener.environment.items():
            monkeypatch.setenv(name, value)
        yield listener
