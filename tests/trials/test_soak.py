"""``fieldkit soak`` for a few minutes: its exit code, its document and its page."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

DEADLINE_S = 500
#: The least there is: a stretch of payments takes longer.
HOURS = "0.01"


def begun(folder: Path, hours: str, *options: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "fieldkit", "soak", "--hours", hours, "--seed", "3"]
    line += ["--report", str(folder / "soak.html"), "--json", str(folder / "soak.json")]
    line += options
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def document(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "soak.json").read_text())
    return found


def judged(folder: Path, found: dict[str, Any]) -> None:
    """What holds for every soak that went well."""
    page = (folder / "soak.html").read_text()
    assert found["ok"] is True
    assert found["problems"] == []
    assert found["audit"] == {"made": True, "findings": []}
    agents = {"server", "lane-1", "pump-3", "mina-jack", "mina-phone", "joon-jack", "joon-phone"}
    assert set(found["agents"]) == {sample["agent"] for sample in found["samples"]} == agents
    assert all(s["rss_mib"] >= s["pss_mib"] > 1 and s["descriptors"] > 3 for s in found["samples"])
    assert len(found["latencies"]) == sum(found["payments"].values()) >= 1
    assert all(agent["memory_mib"]["verdict"] == "unknown" for agent in found["agents"].values())
    assert page.count("<svg") == 4
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    assert "All well for" in page


def test_a_short_soak_ends_well(tmp_path: Path) -> None:
    with begun(tmp_path, HOURS, "--rotation-exponent", "4") as running:
        said, errors = running.communicate(timeout=DEADLINE_S)
    assert running.returncode == 0, said + errors
    found = document(tmp_path)
    judged(tmp_path, found)
    assert found["interrupted"] is False
    assert found["lasted_s"] >= float(HOURS) * 3600
    # Every 16 s; less the one that a car without power has missed.
    assert found["rotation_exponent"] == 4
    assert min(found["codes"].values()) >= found["lasted_s"] // 16 - 1
    assert "the audit is clean" in said


def test_an_interrupted_soak_still_audits_and_reports(tmp_path: Path) -> None:
    with begun(tmp_path, "10") as running:
        assert running.stderr
        while "0%: 0 payments" not in running.stderr.readline():
            assert running.poll() is None
        # Somebody who looks on: one stretch is over.
        while "%: 8 payments" not in running.stderr.readline():
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        said, _ = running.communicate(timeout=DEADLINE_S)
    assert running.returncode == 0, said
    found = document(tmp_path)
    judged(tmp_path, found)
    assert found["interrupted"] is True
    assert "interrupted" in (tmp_path / "soak.html").read_text()
