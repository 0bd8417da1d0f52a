"""Trials that are played once for all tests of this folder."""

from __future__ import annotations

import pytest

from fieldkit.trials.scenario import SCENARIOS_FOLDER
from tests.trials.virtual import PlayedTrial, played


@pytest.fixture(scope="session")
def first_day(tmp_path_factory: pytest.TempPathFactory) -> PlayedTrial:
    return played(SCENARIOS_FOLDER / "first-day.toml", tmp_path_factory.mktemp("first-day"))


@pytest.fixture(scope="session")
def busy_day(tmp_path_factory: pytest.TempPathFactory) -> PlayedTrial:
    return played(SCENARIOS_FOLDER / "busy-day.toml", tmp_path_factory.mktemp("busy-day"))
