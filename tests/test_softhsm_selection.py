"""A machine without SoftHSM is told which tests it did not run; integration must run them all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def collected(**environment: str) -> subprocess.CompletedProcess[str]:
    """Collect two files of tests where there is no SoftHSM."""
    kept = {name: value for name, value in os.environ.items() if name != "CI"}
    files = ["tests/twochannel/keystore/test_pkcs11.py", "tests/twochannel/keystore/test_pin.py"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *files],
        cwd=ROOT,
        env=kept | {"SOFTHSM2_MODULE": "/nowhere/libsofthsm2.so"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_user_without_softhsm_is_told_what_did_not_run() -> None:
    run = collected()
    assert run.returncode == 0, run.stdout
    assert "test_pin.py::" in run.stdout
    assert "test_pkcs11.py::" not in run.stdout
    assert "tests of keys in tokens need SoftHSM; to run them: apt install softhsm2" in run.stdout


def test_integration_without_softhsm_fails() -> None:
    run = collected(CI="true")
    assert run.returncode != 0
    assert "apt install softhsm2" in run.stdout + run.stderr
