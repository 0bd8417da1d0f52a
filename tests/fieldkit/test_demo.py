"""``fieldkit demo`` as a person runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from fieldkit.cast import DEMO_CAST
from fieldkit.legs import NAMES

JOURNEYS = [
    "coffee",
    "refuelling",
    "owner-declines",
    "replayed-code",
    "jack-restarted-1970",
    "wifi-lost",
]
DEADLINE_S = 180


def start(temporary: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "fieldkit", "demo", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary), "PATH": os.defpath},
    )


def children(parent: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(parent.pid).children(recursive=True)


def read_until(demo: subprocess.Popen[str], end: str) -> str:
    """Its output up to a line that begins with ``end``. Fails when it ends before."""
    assert demo.stdout
    read = []
    for line in demo.stdout:
        read.append(line)
        if line.startswith(end):
            return "".join(read)
    raise AssertionError("".join(read))


def test_every_journey_ends_as_it_must_and_keep_leaves_it_running(
    tmp_path: Path, temporary: Path
) -> None:
    document_file, report_file = tmp_path / "demo.json", tmp_path / "report.html"
    options = ("--json", str(document_file), "--report", str(report_file), "--keep", "--seed", "3")
    with start(temporary, *options) as demo:
        said = read_until(demo, "Ctrl-C ends it")
        running = children(demo)
        demo.send_signal(signal.SIGINT)
        rest, _ = demo.communicate(timeout=DEADLINE_S)
    assert demo.returncode == 0, said + rest
    assert "6 of 6 journeys ended as they must." in said
    assert "Audit: clean." in said
    (folder,) = temporary.iterdir()
    assert f"payment-device --state {folder}/lane-1 charge" in said
    assert f'export PATH="{Path(sys.executable).parent}:$PATH"' in said
    assert len(running) >= 8  # air, server, jack, phone, four terminals
    _, alive = psutil.wait_procs(running, timeout=10)
    assert alive == []
    assert_document(json.loads(document_file.read_text(encoding="utf-8")))
    report = report_file.read_text(encoding="utf-8")
    assert "All 6 journeys ended as they must" in report
    assert "Audit clean" in report
    # Four lanes that the jack heard, and GATT there and back.
    assert report.count('class="message radio"') >= 6


def assert_document(document: dict[str, object]) -> None:
    """Exactly the members that programs are promised."""
    assert set(document) == {"ok", "journeys"}
    assert document["ok"] is True
    entries = document["journeys"]
    assert isinstance(entries, list)
    assert [journey["name"] for journey in entries] == JOURNEYS
    for journey in entries:
        assert set(journey) == {"name", "ok", "payment", "legs_ms"}
        assert journey["ok"] is True
        payment = {"id", "status", "currency", "authorized_minor", "captured_minor"}
        assert set(journey["payment"]) == payment
        assert list(journey["legs_ms"]) == list(NAMES)
    totals = [(j["payment"]["status"], j["payment"]["captured_minor"]) for j in entries]
    assert totals == [
        ("captured", 450),
        ("captured", 4217),
        ("declined", 0),
        ("declined", 0),
        ("captured", 620),
        ("captured", 340),
    ]


def test_a_stage_that_cannot_be_set_up_says_which_process_failed(
    tmp_path: Path, temporary: Path
) -> None:
    cast = tmp_path / "cast.toml"
    text = DEMO_CAST.read_text(encoding="utf-8")
    cast.write_text(text.replace("fading_sd_db", "faiding_sd_db"), encoding="utf-8")
    document = tmp_path / "demo.json"
    with start(temporary, "--cast", str(cast), "--json", str(document)) as demo:
        said, _ = demo.communicate(timeout=DEADLINE_S)
    assert demo.returncode == 1
    assert "air ended before it was ready" in said
    assert "faiding_sd_db" in said
    (folder,) = temporary.iterdir()
    assert f"logs are kept in {folder}" in said
    assert json.loads(document.read_text(encoding="utf-8")) == {"ok": False, "journeys": []}


@pytest.mark.parametrize(
    ("moment", "how"), [("… enrolment", signal.SIGTERM), ("▸ Refuelling", signal.SIGINT)]
)
def test_a_demo_that_is_interrupted_leaves_nothing(
    tmp_path: Path, temporary: Path, moment: str, how: signal.Signals
) -> None:
    document = tmp_path / "demo.json"
    document.write_text('{"ok": true}', encoding="utf-8")
    options = ("--report", str(tmp_path / "report.html"), "--json", str(document))
    with start(temporary, *options) as demo:
        read_until(demo, moment)
        running = children(demo)
        demo.send_signal(how)
        said, _ = demo.communicate(timeout=DEADLINE_S)
    assert demo.returncode == 1
    assert "everything was stopped" in said
    assert running
    _, alive = psutil.wait_procs(running, timeout=10)
    assert alive == []
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "report.html").exists()
    assert json.loads(document.read_text(encoding="utf-8"))["ok"] is False
