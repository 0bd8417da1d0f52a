"""A run of the car that needs nothing built; see stand_ins.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldkit.car import qemu
from fieldkit.car.image import Image
from fieldkit.car.run import Run


@pytest.fixture(autouse=True)
def nothing_tried() -> Iterator[None]:
    """Whether KVM works is found out once."""
    qemu._kvm_works.cache_clear()
    yield
    qemu._kvm_works.cache_clear()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv(qemu.ACCELERATOR_VARIABLE, "tcg")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    # A comma ends a value in QEMU's options.
    folder = tmp_path / "run,1"
    folder.mkdir()
    return Run(Image(tmp_path / "image"), folder, deadline_s=20)
