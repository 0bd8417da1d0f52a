"""Processes of a stage, with small real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from fieldkit.process import CommandFailedError, Process, StageError, command

READY = "import json, time; print(json.dumps({'event': 'ready', 'port': 7}), flush=True);"


def process(tmp_path: Path, program: str, **environment: str) -> Process:
    return Process("worker", ["-c", program], tmp_path / "worker.log", environment)


async def test_is_ready_when_it_says_so(tmp_path: Path) -> None:
    worker = process(tmp_path, READY + "time.sleep(60)")
    assert await worker.start() == {"event": "ready", "port": 7}
    assert worker.running
    assert psutil.pid_exists(worker.pid)
    ended = await worker.stop(), worker.running, worker.ended_unasked
    assert ended == (-signal.SIGTERM, False, False)


async def test_keeps_what_it_says_in_its_log(tmp_path: Path) -> None:
    talking = READY + "import sys; print('more'); print('trouble', file=sys.stderr)"
    worker = process(tmp_path, talking)
    await worker.start()
    assert await worker.ended() == 0
    assert sorted(worker.last_log()) == ["more", "trouble"]
    assert worker.ended_unasked


async def test_sigterm_that_is_ignored_becomes_sigkill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieldkit.process.STOP_DEADLINE_S", 0.1)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + READY
    worker = process(tmp_path, deaf + "time.sleep(60)")
    await worker.start()
    assert await worker.stop() == -signal.SIGKILL


async def test_starts_again_with_other_settings(tmp_path: Path) -> None:
    telling = "import json, os; print(json.dumps(dict(a=os.environ['A'], b=os.environ.get('B'))))"
    worker = process(tmp_path, telling, A="1")
    assert await worker.start() == {"a": "1", "b": None}
    await worker.ended()
    assert await worker.start({"B": "2"}) == {"a": "1", "b": "2"}
    await worker.ended()


async def test_is_what_a_prefix_has_become(tmp_path: Path) -> None:
    telling = "import json, os; print(json.dumps(dict(a=os.environ['A'], pid=os.getpid())))"
    worker = Process("worker", ["-c", telling], tmp_path / "worker.log", prefix=("env", "A=1"))
    assert await worker.start() == {"a": "1", "pid": worker.pid}
    await worker.ended()


async def test_one_that_ends_before_it_is_ready_is_named_with_its_log(tmp_path: Path) -> None:
    worker = process(tmp_path, "raise SystemExit('no such radio')")
    with pytest.raises(StageError, match=r"worker ended before it was ready \(exit code 1\)") as e:
        await worker.start()
    assert e.value.log == ("no such radio",)


async def test_one_that_never_is_ready_is_ended_and_tells_where_it_was(tmp_path: Path) -> None:
    sleeper = ["-c", "import time\ndef dawdle(): time.sleep(60)\ndawdle()"]
    worker = Process("worker", sleeper, tmp_path / "worker.log", ready_deadline_s=1.0)
    with pytest.raises(StageError, match="not ready in time") as e:
        await worker.start()
    assert not worker.running
    assert any("in dawdle" in line for line in e.value.log)


async def test_settings_of_agents_outside_the_stage_stay_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIGARJACK_STATE", "/elsewhere")
    monkeypatch.setenv("PHONE_AGENT_PROMPT_S", "1")
    telling = "import json, os; print(json.dumps(sorted(os.environ)))"
    _, output = await command("tell", ["-c", telling])
    assert "CIGARJACK_STATE" not in output
    assert "PHONE_AGENT_PROMPT_S" not in output
    assert "PATH" in output


async def test_a_command_says_why_it_failed() -> None:
    failing = """import sys; print("Looking …", file=sys.stderr);"""
    failing += """sys.exit('{"error": {"code": "no", "detail": "It is late."}}')"""
    with pytest.raises(
        CommandFailedError, match=r"tell failed \(exit code 1\): It is late"
    ) as failed:
        await command("tell", ["-c", failing])
    assert failed.value.code == 1
    assert failed.value.problem["code"] == "no"
    code, _ = await command("tell", ["-c", failing], expect=(1, 3))
    assert code == 1


async def test_a_command_that_is_given_up_is_ended() -> None:
    before = set(psutil.Process().children())
    with pytest.raises(TimeoutError):
        await command("tell", ["-c", "import time; time.sleep(60)"], deadline_s=0.1)
    assert set(psutil.Process().children()) == before


async def test_nothing_outlives_a_stage_that_is_killed(tmp_path: Path) -> None:
    """SIGKILL of the parent, who can do nothing about it: the kernel ends its children."""
    parent = f"""
import asyncio, json, pathlib
from fieldkit.process import Process
async def main():
    log = pathlib.Path({str(tmp_path)!r}) / "log"
    child = Process("child", ["-c", {READY + "time.sleep(60)"!r}], log)
    await child.start()
    print(json.dumps({{"pid": child.pid}}), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-c", parent, stdout=asyncio.subprocess.PIPE
    )
    assert running.stdout
    line = await asyncio.wait_for(running.stdout.readline(), 20)
    child = psutil.Process(int(line.split(b":")[1].strip(b" }\n")))
    os.kill(running.pid, signal.SIGKILL)
    await running.wait()
    gone, _ = await asyncio.to_thread(psutil.wait_procs, [child], 10)
    assert gone == [child]
