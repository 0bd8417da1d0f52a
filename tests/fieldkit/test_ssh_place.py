"""A place that is reached by SSH, with a real server on this loopback."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from fieldkit.process import CommandFailedError, Process, StageError
from fieldkit.ssh_place import Login, There, end_process
from tests.sshd import ADDRESS, Machine
from twochannel.control import ControlError
from twochannel.ring import pieces

pytestmark = pytest.mark.sshd

READY = (
    "import json, os, time; print(json.dumps(dict(e=os.environ['E'], p=os.getpid())), flush=True);"
)
DEADLINE_S = 20


@pytest.fixture
async def there(machine: Machine, folder: Path) -> AsyncIterator[There]:
    login = Login(machine.target, machine.options, sys.executable)
    place = There(login, ADDRESS, folder / "here")
    await place.connect()
    yield place
    await place.close()


def worker(there: There, folder: Path) -> Process:
    return there.process(
        *("worker", ["-c", READY + "time.sleep(60)"], folder / "log", {"E": "a 'b' $c"})
    )


def gone(process: psutil.Process) -> bool:
    _, alive = psutil.wait_procs([process], timeout=DEADLINE_S)
    return not alive


async def test_a_process_is_started_asked_to_end_and_killed(there: There, folder: Path) -> None:
    process = worker(there, folder)
    for end in (process.stop, process.kill):
        ready = await process.start()
        assert ready == {"e": "a 'b' $c", "p": process.pid}
        running = psutil.Process(process.pid)
        await end()
        assert gone(running)
        assert not process.ended_unasked


async def test_a_process_ends_with_the_connection(there: There, folder: Path) -> None:
    process = worker(there, folder)
    await process.start()
    running = psutil.Process(process.pid)
    for child in psutil.Process().children():
        # Those of earlier tests may be ending just now.
        with suppress(psutil.NoSuchProcess):
            if child.name() == "ssh":
                child.send_signal(signal.SIGKILL)
    assert await asyncio.to_thread(gone, running)
    await process.ended()
    assert process.ended_unasked


async def test_a_trace_there_is_followed_here(there: There, folder: Path) -> None:
    trace = await there.trace("jack")
    write = (
        "import pathlib, sys; from twochannel.trace import Trace;"
        "Trace('jack', pathlib.Path(sys.argv[1]), boot='b').event('agent_started')"
    )
    await there.command("write", ["-c", write, str(there.folder / "jack" / "trace.jsonl")])
    event = await trace.wait("agent_started", deadline_s=DEADLINE_S)
    assert event.party == "jack"


async def test_a_trace_there_is_followed_without_a_gap_while_its_ring_turns(there: There) -> None:
    trace = await there.trace("jack")
    last = 12_000
    write = (
        "import pathlib, sys, time; from twochannel.ring import Keep;"
        "from twochannel.trace import Trace;"
        "trace = Trace('jack', pathlib.Path(sys.argv[1]), boot='b', keep=Keep(mib=1))\n"
        f"for number in range({last} + 1):\n"
        "  trace.event('lane_heard', number=number)\n"
        "  if number % 200 == 0: time.sleep(0.02)\n"
    )
    path = there.folder / "jack" / "trace.jsonl"
    await there.command("write", ["-c", write, str(path)])
    await trace.wait("lane_heard", where=lambda f: f["number"] == last, deadline_s=DEADLINE_S)
    assert [event.fields["number"] for event in trace.events()] == list(range(last + 1))
    assert pieces(path)[0][0] > 1  # what came first is there no more


async def test_a_command_tells_its_exit_code_and_a_file_its_content(
    there: There, folder: Path
) -> None:
    assert await there.command("three", ["-c", "print('x'); exit(3)"], (3,)) == (3, "x\n")
    with pytest.raises(CommandFailedError, match=r"four failed \(exit code 4\)"):
        await there.command("four", ["-c", "exit(4)"])
    (there.folder / "it").write_bytes(b"\0\xff")
    assert await there.read(there.folder / "it") == b"\0\xff"
    with pytest.raises(StageError, match=f"cat failed on .*@{ADDRESS}: cat: .*none.*No such file"):
        await there.read(there.folder / "none")
    with pytest.raises(StageError, match=r"false failed on .*: it said nothing"):
        await there.run(("false",))


async def test_an_agent_that_does_not_run_does_not_answer(there: There) -> None:
    for _ in range(2):
        with pytest.raises(ControlError, match="cigarjack is not running"):
            await there.ask("jack", "GET", "/v1/status", None, "cigarjack")


async def test_what_cannot_be_started_there_is_told(folder: Path) -> None:
    machine = Machine(folder / "switched-off", ADDRESS)
    (folder / "here").mkdir()
    place = There(Login(machine.target, machine.options, sys.executable), ADDRESS, folder / "here")
    process = worker(place, folder)
    with pytest.raises(StageError, match="worker was not started there"):
        await process.start()
    assert not process.running


async def test_who_misses_the_first_signal_is_asked_again() -> None:
    deaf = (
        "import signal, sys\n"
        "def miss(*_): signal.signal(signal.SIGTERM, signal.SIG_DFL)\n"
        "signal.signal(signal.SIGTERM, miss)\n"
        "print(flush=True)\n"
        "while True: signal.pause()\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", deaf), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    async with asyncio.timeout(DEADLINE_S):
        await end_process(process)
    assert process.returncode == -signal.SIGTERM


async def test_nothing_is_left_there(machine: Machine, folder: Path) -> None:
    place = There(Login(machine.target, machine.options, sys.executable), ADDRESS, folder / "here")
    await place.connect()
    assert place.folder.is_dir()
    await place.close()
    assert not place.folder.exists()


async def test_a_host_that_cannot_be_used_is_named(machine: Machine, folder: Path) -> None:
    place = There(Login(machine.target, machine.options, "/no/python"), ADDRESS, folder / "here")
    with pytest.raises(StageError, match=f"@{ADDRESS} cannot be used; check ssh and python"):
        await place.connect()
    await place.close()
