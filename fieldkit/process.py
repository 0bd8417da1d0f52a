"""One real process of a stage: started, waited for, asked, stopped or killed; never orphaned."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, Protocol

#: Python starts, keys are made and a radio is opened on one busy core within this time.
READY_DEADLINE_S: Final = 30.0
STOP_DEADLINE_S: Final = 6.0
#: prctl(2), linux/prctl.h: the signal that the kernel sends when the parent dies.
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
LONGEST_LINE_BYTES: Final = 1 << 20
_SHOWN_LINES: Final = 12


class StageError(Exception):
    """Something on the stage failed. The text is for a person; ``log`` its last log lines."""

    def __init__(self, text: str, log: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.log = tuple(log)


class CommandFailedError(StageError):
    """A command ended with an exit code that was not expected.

    ``problem``: ``code``, ``detail`` and ``next_step`` as it told programs, empty if it did not.
    """

    def __init__(
        self, text: str, code: int, problem: Mapping[str, Any], log: Sequence[str]
    ) -> None:
        super().__init__(text, log)
        self.code = code
        self.problem = problem


class Running(Protocol):
    """What is known of a process once it runs, as asyncio's own sub-processes tell it."""

    @property
    def pid(self) -> int: ...

    @property
    def stdout(self) -> asyncio.StreamReader | None: ...

    @property
    def returncode(self) -> int | None: ...

    async def wait(self) -> int: ...


class Process:
    """A long-running process that prints one JSON line on standard output when it is ready."""

    #: What runs its arguments.
    interpreter = sys.executable

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        *,
        prefix: Sequence[str] = (),
        ready_deadline_s: float = READY_DEADLINE_S,
    ) -> None:
        """``arguments`` follow ``python``; ``environment`` is added to this process's own.

        ``prefix``: a command that becomes the one that follows it, as ``ip netns exec NAME`` does.
        """
        self.name = name
        self.log = log
        self.ready: dict[str, Any] = {}
        self._arguments = tuple(arguments)
        self._prefix = tuple(prefix)
        self._ready_deadline_s = ready_deadline_s
        self._environment = dict(environment or {})
        self._process: Running | None = None
        self._drain: asyncio.Task[None] | None = None
        self._asked_to_end = False

    @property
    def pid(self) -> int:
        """Its process id. StageError if it was never started."""
        if self._process is None:
            raise StageError(f"{self.name} was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def ended_unasked(self) -> bool:
        """Whether it has ended though neither ``stop`` nor ``kill`` was called."""
        return self._process is not None and not self.running and not self._asked_to_end

    async def start(self, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Start it, wait until it is ready, and return its ready line. Raises StageError.

        ``environment`` is added for this run alone.
        """
        if self.running:
            raise StageError(f"{self.name} runs already")
        self._asked_to_end = False
        with self.log.open("ab") as log:
            self._process = await self._spawn(self._environment | dict(environment or {}), log)
        self.ready = await self._read_ready_line()
        self._drain = asyncio.create_task(self._read_on(), name=f"drain {self.name}")
        return self.ready

    async def stop(self) -> int:
        """Ask it to end (SIGTERM), and kill it if it does not; its exit code."""
        return await self._end(signal.SIGTERM)

    async def kill(self) -> int:
        """End it without warning (SIGKILL), as a power cut would; its exit code."""
        return await self._end(signal.SIGKILL)

    async def ended(self) -> int:
        """Wait until it has ended by itself; its exit code."""
        if self._process is None:
            raise StageError(f"{self.name} was not started")
        code = await self._process.wait()
        if self._drain is not None:
            await self._drain
        return code

    def last_log(self, lines: int = _SHOWN_LINES) -> list[str]:
        """The last lines of its log."""
        if not self.log.exists():
            return []
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]

    async def _spawn(self, environment: Mapping[str, str], log: IO[bytes]) -> Running:
        return await asyncio.create_subprocess_exec(
            *(*self._prefix, self.interpreter, *self._arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=own_environment() | {"PYTHONFAULTHANDLER": "1"} | dict(environment),
            limit=LONGEST_LINE_BYTES,
            preexec_fn=die_with_parent,
        )

    async def _signal(self, number: signal.Signals) -> None:
        """Send it a signal; no effect once it has ended."""
        if self._process is not None:
            _signal(self._process, number)

    async def _end(self, how: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._asked_to_end = self.running
        await self._signal(how)
        try:
            return await asyncio.wait_for(self.ended(), STOP_DEADLINE_S)
        except TimeoutError:
            await self._signal(signal.SIGKILL)
            return await self.ended()

    async def _read_ready_line(self) -> dict[str, Any]:
        try:
            line = await asyncio.wait_for(self._readline(), self._ready_deadline_s)
            ready: dict[str, Any] = json.loads(line)
        except TimeoutError:
            await self._end(signal.SIGABRT)  # its log then tells what it was at
            raise StageError(f"{self.name} was not ready in time", self.last_log()) from None
        except json.JSONDecodeError:
            code = await self.kill()
            raise StageError(
                f"{self.name} ended before it was ready (exit code {code})", self.last_log()
            ) from None
        except asyncio.CancelledError:
            await self.kill()
            raise
        return ready

    async def _readline(self) -> bytes:
        if self._process is None or self._process.stdout is None:
            raise StageError(f"{self.name} was not started")
        return await self._process.stdout.readline()

    async def _read_on(self) -> None:
        """Keep what it still prints, and keep its pipe from filling."""
        with self.log.open("ab") as log:
            while line := await self._readline():
                log.write(line)


async def command(
    name: str,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    expect: Sequence[int] = (0,),
    deadline_s: float = 90.0,
    line: Sequence[str] = (sys.executable,),
) -> tuple[int, str]:
    """Run ``python ARGUMENTS`` to its end: exit code and standard output.

    ``line`` begins the command line in place of this Python. Raises CommandFailedError for an exit
    code that is not in ``expect``.
    """
    process = await asyncio.create_subprocess_exec(
        *line,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=own_environment() | dict(environment or {}),
        preexec_fn=die_with_parent,
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), deadline_s)
    except BaseException:
        _signal(process, signal.SIGKILL)
        await process.wait()
        raise
    said = errors.decode("utf-8", "replace")
    return judged(name, expect, process.returncode or 0, output.decode("utf-8", "replace"), said)


def judged(
    name: str, expect: Sequence[int], code: int, output: str, errors: str
) -> tuple[int, str]:
    """Of a command that has ended: exit code and output. CommandFailedError as ``command``."""
    if code not in expect:
        said = errors.strip()
        problem = _problem(said)
        lines = said.splitlines()[-_SHOWN_LINES:]
        why = str(problem.get("detail") or (lines[-1] if lines else "it said nothing"))
        raise CommandFailedError(f"{name} failed (exit code {code}): {why}", code, problem, lines)
    return code, output


def _problem(said: str) -> dict[str, Any]:
    """The error that a command with ``--json`` writes last: ``code``, ``detail``, ``next_step``."""
    try:
        document = json.loads(said.rpartition("\n")[2])
    except json.JSONDecodeError:
        return {}
    error = document.get("error") if isinstance(document, dict) else None
    return error if isinstance(error, dict) else {}


def _signal(process: Running, number: signal.Signals) -> None:
    """Not by ``send_signal``, which reaps a process that has just ended: its exit code is lost."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def own_environment() -> dict[str, str]:
    """This process's environment without settings meant for agents outside the stage."""
    foreign = ("CIGARJACK_", "PAYMENT_DEVICE_", "PHONE_AGENT_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def die_with_parent() -> None:
    """In a new process: its own group, so that Ctrl-C reaches the stage alone, which then stops
    it in order; and the kernel kills it should the stage die without a chance to.
    """
    os.setpgid(0, 0)
    killed_with_parent()


def killed_with_parent() -> None:
    """In a new process that stays in this one's group: the kernel kills it with its parent."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
