"""What every test gets: how Hypothesis searches, and which tests a machine without SoftHSM runs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.softhsm import MODULE, SoftHsm
from tests.systemd import Systemd, listening

# No deadline: on a small shared machine a slow example is no fault of the code. The blob lets a
# failure that was only seen elsewhere be replayed here with @reproduce_failure.
settings.register_profile("desk", deadline=None, print_blob=True)
settings.register_profile("ci", settings.get_profile("desk"), max_examples=300)
settings.load_profile("ci" if os.environ.get("CI") else "desk")

_LEFT_OUT = pytest.StashKey[int]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests with tokens out where there is no SoftHSM; never in integration."""
    if MODULE.exists():
        return
    left_out = [item for item in items if item.get_closest_marker("softhsm")]
    if left_out and os.environ.get("CI"):
        raise pytest.UsageError(f"there is no {MODULE}; run: apt install softhsm2")
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
    config.stash[_LEFT_OUT] = len(left_out)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if count := config.stash.get(_LEFT_OUT, 0):
        terminalreporter.section("not run", yellow=True)
        terminalreporter.write_line(
            f"{count} tests of keys in tokens need SoftHSM; to run them: apt install softhsm2"
        )


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
