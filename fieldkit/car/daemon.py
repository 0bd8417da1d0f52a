"""Programs of the guest that are not ours: run to their end, or kept while a block runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final, Self

from fieldkit.process import STOP_DEADLINE_S, StageError, die_with_parent

_COMMAND_DEADLINE_S: Final = 60.0
_POLL_S: Final = 0.02


async def run(*command: str, deadline_s: float = _COMMAND_DEADLINE_S) -> str:
    """Run a program to its end; what it printed. Raises StageError if it fails."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent,
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), deadline_s)
    except BaseException:
        await _end(process, signal.SIGKILL)
        raise
    if process.returncode:
        said = errors.decode("utf-8", "replace").strip()
        raise StageError(f"{' '.join(command)} failed (exit code {process.returncode}): {said}")
    return output.decode("utf-8", "replace")


@contextlib.asynccontextmanager
async def recording(command: Sequence[str], file: Path) -> AsyncIterator[None]:
    """A program writes ``file`` while the block runs, and nobody wants what it prints.

    Raises StageError if it does not begin to, or ends before the block does.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
    except OSError as error:
        raise StageError(f"{command[0]} cannot be run: {error}") from None
    try:
        await _until_written(process, file)
        yield
        if process.returncode is not None:
            raise StageError(f"{command[0]} ended by itself (exit code {process.returncode})")
    finally:
        await _end(process, signal.SIGTERM)


async def _until_written(process: asyncio.subprocess.Process, file: Path) -> None:
    try:
        async with asyncio.timeout(_COMMAND_DEADLINE_S):
            # A file tells nobody when it begins.
            while process.returncode is None and not _begun(file):  # noqa: ASYNC110
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise StageError(f"nothing was written to {file} in time") from None


def _begun(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


class Daemon:
    """A program that runs while the block does, and says on its output what it does."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._command = tuple(command)
        self._log = log
        self._lines: list[str] = []
        self._news = asyncio.Condition()
        self._ended = False
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
        self._listening = asyncio.create_task(self._listen(self._process))
        return self

    async def __aexit__(self, *failure: object) -> None:
        if self._process is not None:
            await _end(self._process, signal.SIGTERM)
        if self._listening is not None:
            await self._listening

    @property
    def lines_said(self) -> int:
        """How many lines it has said so far: for ``said`` with what comes after."""
        return len(self._lines)

    async def said(self, text: str, deadline_s: float, after: int = 0) -> str:
        """Wait for a line with ``text``, the first ``after`` lines apart. Raises StageError."""
        try:
            async with asyncio.timeout(deadline_s), self._news:
                await self._news.wait_for(lambda: self._ended or self._line(text, after))
        except TimeoutError:
            raise StageError(self._silence(text), self._lines[-10:]) from None
        if (line := self._line(text, after)) is None:
            raise StageError(self._silence(text), self._lines[-10:])
        return line

    def _line(self, text: str, after: int) -> str | None:
        return next((line for line in self._lines[after:] if text in line), None)

    def _silence(self, text: str) -> str:
        how = "has ended and" if self._ended else "runs, but"
        return f'{self._command[0]} {how} did not say "{text}"; its log: {self._log}'

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            raise ValueError("the daemon's output is not piped")
        with self._log.open("ab", buffering=0) as log:
            async for line in process.stdout:
                log.write(line)
                await self._tell(line.decode("utf-8", "replace").rstrip())
        self._ended = True
        await self._tell(None)

    async def _tell(self, line: str | None) -> None:
        async with self._news:
            if line is not None:
                self._lines.append(line)
            self._news.notify_all()


async def _end(process: asyncio.subprocess.Process, how: signal.Signals) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, how)
    try:
        await asyncio.wait_for(process.wait(), STOP_DEADLINE_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()
