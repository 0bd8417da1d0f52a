"""The description of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from fieldkit.bench import machine

_PC = """processor\t: 0
model name\t: AMD EPYC 7B13
cpu MHz\t\t: 2449.998

processor\t: 1
model name\t: AMD EPYC 7B13
"""
_PI = """processor\t: 0
BogoMIPS\t: 108.00

Hardware\t: BCM2835
Model\t\t: Raspberry Pi 4 Model B Rev 1.4
"""


@pytest.mark.parametrize(
    ("cpuinfo", "model"),
    [(_PC, "AMD EPYC 7B13"), (_PI, "Raspberry Pi 4 Model B Rev 1.4"), ("", "unknown")],
)
def test_the_processor_is_named(cpuinfo: str, model: str) -> None:
    assert machine.cpu_model(cpuinfo) == model


def test_this_machine_is_described_without_its_name(tmp_path: Path) -> None:
    described = machine.describe(tmp_path)
    assert described.cores >= 1
    assert described.filesystem != "unknown"
    assert str(described).startswith(f"{described.cores} x {described.cpu}, Python 3.")
