"""Commands that are typed on a warm Python end as they do on a cold one."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from fieldkit.process import CommandFailedError, Process, StageError, command
from fieldkit.typist import TypedHere, Typist

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def typist(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Typist]:
    folder = tmp_path_factory.mktemp("typist")
    (folder / "logs").mkdir()
    async with Typist(folder) as ready:
        yield ready


async def test_a_command_prints_and_ends_as_it_does_when_python_is_started_for_it(
    typist: Typist, tmp_path: Path
) -> None:
    for arguments in (
        ("-m", "payment_device", "--help"),
        ("-m", "server", "--state", str(tmp_path / "nowhere"), "payments", "list", "--json"),
        ("-m", "phone_agent", "no-such-command"),
        ("-m", "fieldkit.processor_books", str(tmp_path), "no-such-payment"),
    ):
        code, output, errors = await typist.command(arguments)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        expected = [said.decode() for said in await process.communicate()]
        assert (code, output) == (process.returncode, expected[0])
        # Of a crash only what it says in the end: it came through other hands.
        assert errors.splitlines()[-1:] == expected[1].splitlines()[-1:]
        assert errors == expected[1] or "Traceback" in errors


async def test_commands_are_typed_at_once(typist: Typist, tmp_path: Path) -> None:
    states = [tmp_path / name for name in ("one", "two", "three")]
    made = await asyncio.gather(
        *(typist.command(("-m", "cigarjack", "--state", str(s), "init")) for s in states)
    )
    assert [code for code, _, _ in made] == [0, 0, 0]
    assert len({output for _, output, _ in made}) == 3  # keys of their own


async def test_a_failure_is_told_as_everywhere(typist: Typist, tmp_path: Path) -> None:
    place = TypedHere(tmp_path, typist)
    line = ("-m", "cigarjack", "--state", str(tmp_path / "jack"), "status", "--json")
    with pytest.raises(CommandFailedError) as typed:
        await place.command("cigarjack status", line)
    with pytest.raises(CommandFailedError) as started:
        await command("cigarjack status", line)
    assert (typed.value.code, typed.value.problem, str(typed.value)) == (
        *(started.value.code, started.value.problem, str(started.value)),
    )


async def test_a_command_that_is_given_up_is_ended(typist: Typist, tmp_path: Path) -> None:
    state = tmp_path / "jack"
    line = ("-m", "cigarjack", "--state", str(state), "run", "--radio", "bumble:tcp-client:[::1]:1")
    await typist.command(("-m", "cigarjack", "--state", str(state), "init"))
    running = asyncio.create_task(typist.command(line))
    process = await _typed(typist)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await asyncio.to_thread(psutil.wait_procs, [process], 10) == ([process], [])


async def test_a_machine_that_is_not_there_is_told(typist: Typist) -> None:
    code, _, errors = await typist.command(("-m", "payment_device", "--help"), namespace="nowhere")
    assert code == 1
    assert "/run/netns/nowhere" in errors


async def test_a_typewriter_that_breaks_fails_what_is_typed(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "typewriter.sock").mkdir()
    async with Typist(tmp_path) as typist:
        with pytest.raises(StageError, match="typewriter ended before it was ready"):
            await typist.command(("-m", "payment_device", "--help"))


async def test_an_agent_is_typed_and_asked_to_end_like_any_process(
    typist: Typist, tmp_path: Path
) -> None:
    server = await _server(typist, tmp_path)
    ready = await server.start({"CIGARJACK_SERVER_HOST": "127.0.0.3"})
    assert str(ready["url"]).startswith("https://127.0.0.3:")
    assert await server.stop() == 0
    assert not server.ended_unasked
    assert server.log.read_text() != ""


async def test_an_agent_that_is_killed_tells_the_signal(typist: Typist, tmp_path: Path) -> None:
    server = await _server(typist, tmp_path)
    await server.start()
    os.kill(server.pid, signal.SIGKILL)
    assert await server.ended() == -signal.SIGKILL
    assert server.ended_unasked


async def test_an_agent_ends_with_its_typewriter(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    async with Typist(tmp_path) as typist:
        server = await _server(typist, tmp_path)
        await server.start()
        process = psutil.Process(server.pid)
    assert await asyncio.to_thread(psutil.wait_procs, [process], 10) == ([process], [])
    assert await server.ended() == -signal.SIGKILL


async def test_one_that_says_nothing_keeps_nobody_waiting(typist: Typist) -> None:
    await typist.command(("-m", "payment_device", "--help"))  # it is ready by then
    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as leaving:
        silent.connect(str(typist.socket))
        leaving.connect(str(typist.socket))
        leaving.sendall(b'{"arguments": ')
        leaving.close()
        code, _, _ = await typist.command(("-m", "payment_device", "--help"))
    assert code == 0


async def test_a_stage_may_be_set_up_where_one_was_killed(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(tmp_path / "typewriter.sock"))
    async with Typist(tmp_path) as typist:
        code, _, _ = await typist.command(("-m", "payment_device", "--help"))
    assert code == 0


async def _server(typist: Typist, folder: Path) -> Process:
    line = ("-m", "server", "--state", str(folder / "server"))
    code, _, errors = await typist.command((*line, "init"))
    assert code == 0, errors
    return TypedHere(folder, typist).process("server", (*line, "run"), folder / "server.log", {})


async def _typed(typist: Typist) -> psutil.Process:
    """The command that runs, once it does: a fork of the typewriter."""
    async with asyncio.timeout(20):
        while True:
            children = psutil.Process().children()
            (mine,) = (child for child in children if str(typist.socket) in child.cmdline())
            for typed in mine.children():
                return typed
            await asyncio.sleep(0.05)
