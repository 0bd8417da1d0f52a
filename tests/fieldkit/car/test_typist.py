"""Commands that are typed on a warm Python end as they do on a cold one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from fieldkit.car import typewriter
from fieldkit.car.machines import JACK, PHONE, Machine
from fieldkit.car.typist import TypedHere, Typist
from fieldkit.process import CommandFailedError, StageError, command

HERE = Machine("here", None, wifi_address="127.0.0.1")


@pytest.fixture
async def typist(tmp_path: Path) -> AsyncIterator[Typist]:
    (tmp_path / "logs").mkdir()
    async with Typist(tmp_path) as ready:
        yield ready


async def test_a_command_prints_and_ends_as_it_does_when_python_is_started_for_it(
    typist: Typist, tmp_path: Path
) -> None:
    for arguments in (
        ("-m", "payment_device", "--help"),
        ("-m", "server", "--state", str(tmp_path / "nowhere"), "payments", "list", "--json"),
        ("-m", "phone_agent", "no-such-command"),
    ):
        code, output, errors = await typist.command(HERE, arguments)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        expected = await process.communicate()
        assert (code, output, errors) == (process.returncode, *(e.decode() for e in expected))


async def test_commands_are_typed_at_once_and_leave_no_paper(
    typist: Typist, tmp_path: Path
) -> None:
    states = [tmp_path / name for name in ("one", "two", "three")]
    made = await asyncio.gather(
        *(typist.command(HERE, ("-m", "cigarjack", "--state", str(s), "init")) for s in states)
    )
    assert [code for code, _, _ in made] == [0, 0, 0]
    assert len({output for _, output, _ in made}) == 3  # keys of their own
    papers = await asyncio.to_thread(lambda: list(tmp_path.glob("typed-*")))
    assert papers == []


async def test_a_failure_is_told_as_everywhere(typist: Typist, tmp_path: Path) -> None:
    place = TypedHere(tmp_path, HERE, 1.0, typist)
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
    await typist.command(HERE, ("-m", "cigarjack", "--state", str(state), "init"))
    running = asyncio.create_task(typist.command(HERE, line))
    process = await _typed()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await asyncio.to_thread(psutil.wait_procs, [process], 10) == ([process], [])


async def test_a_machine_that_is_not_there_is_told(typist: Typist) -> None:
    code, _, errors = await typist.command(PHONE, ("-m", "payment_device", "--help"))
    assert code == 1
    assert "/run/netns/phone" in errors


async def test_a_typewriter_that_breaks_fails_what_is_typed(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "typewriter.sock").mkdir()
    async with Typist(tmp_path) as typist:
        with pytest.raises(StageError, match="typewriter ended before it was ready"):
            await typist.command(JACK, ("-m", "payment_device", "--help"))


async def _typed() -> psutil.Process:
    """The command that runs, once it does: a fork of a fork of the typewriter."""
    async with asyncio.timeout(20):
        while True:
            children = psutil.Process().children()
            (mine,) = (child for child in children if typewriter.__name__ in child.cmdline())
            # Those of the command before may be ending just now.
            with suppress(psutil.NoSuchProcess):
                for waiter in mine.children():
                    for typed in waiter.children():
                        return typed
            await asyncio.sleep(0.05)
