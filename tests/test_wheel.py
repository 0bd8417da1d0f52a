"""What is installed without a source tree is whole."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tmp_path = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    return installed


def test_the_published_clients_are_typed(installed: Path) -> None:
    for party in ("server", "cigarjack", "twochannel"):
        assert (installed / party / "py.typed").exists()


def test_an_installed_fieldkit_has_its_cast(installed: Path, tmp_path: Path) -> None:
    program = (
        "from fieldkit.cast import DEMO_CAST, load; load(DEMO_CAST); print(DEMO_CAST)\n"
        "from fieldkit.world import scenario; assert len(scenario.shipped()) >= 8"
    )
    said = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(installed)},
    ).stdout
    assert Path(said.strip()).is_relative_to(installed)
