"""Has command lines and agents typed by a Python that has loaded them (``fieldkit.typewriter``)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Self

from fieldkit import typewriter
from fieldkit.place import LOOPBACK, Here
from fieldkit.process import (
    LONGEST_LINE_BYTES,
    READY_DEADLINE_S,
    Process,
    Running,
    StageError,
    judged,
    own_environment,
)


class Typed:
    """One typed command while it runs, as a sub-process of asyncio is seen (``Running``)."""

    def __init__(
        self,
        pid: int,
        stdout: asyncio.StreamReader,
        answers: asyncio.StreamReader,
        asked: asyncio.StreamWriter,
    ) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._asked = asked
        self._ended = asyncio.create_task(self._end(answers), name=f"typed {pid}")

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        return await asyncio.shield(self._ended)

    async def give_up(self) -> None:
        """Have it killed, by the only process that knows for sure whether it still runs."""
        self._asked.write_eof()
        await self.wait()

    async def _end(self, answers: asyncio.StreamReader) -> int:
        try:
            code = await answers.readline()
        finally:
            self._asked.close()
        # If the typewriter breaks, the kernel kills what it has typed.
        self.returncode = int(code) if code else -signal.SIGKILL
        return self.returncode


class Typist:
    """``async with Typist(folder)``: types commands. ``folder`` gets its ``socket`` and its log.

    It gets ready while the block runs; the first command waits for that.
    """

    def __init__(self, folder: Path, *, ready_deadline_s: float = READY_DEADLINE_S) -> None:
        self.socket = folder / "typewriter.sock"
        self._process = Process(
            "typewriter",
            ("-m", typewriter.__name__, str(self.socket)),
            folder / "logs" / "typewriter.log",
            ready_deadline_s=ready_deadline_s,
        )
        self._starting: asyncio.Task[object] | None = None

    async def __aenter__(self) -> Self:
        self._starting = asyncio.create_task(self._process.start())
        return self

    async def __aexit__(self, *failure: object) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self._process.stop()

    async def type(
        self,
        arguments: Sequence[str],
        errors: int,
        *,
        environment: Mapping[str, str] | None = None,
        namespace: str | None = None,
    ) -> Typed:
        """Begin ``python ARGUMENTS`` on a machine. Raises StageError.

        ``errors``: the descriptor of its standard error; ``environment`` is added to our own.
        """
        await self._ready()
        request = {
            "namespace": namespace,
            "arguments": list(arguments),
            "environment": own_environment() | dict(environment or {}),
            "folder": str(Path.cwd()),
        }
        async with _pipe() as (stdout, writing):
            try:
                answers, asked = await self._ask(request, (writing, errors))
                pid = await _pid(answers, asked)
            except (OSError, ValueError):
                raise StageError("the typewriter has broken", self._process.last_log()) from None
            return Typed(pid, stdout, answers, asked)

    async def command(
        self, arguments: Sequence[str], *, namespace: str | None = None
    ) -> tuple[int, str, str]:
        """Run ``python ARGUMENTS`` there to its end: exit code, output, errors. StageError."""
        async with _pipe() as (errors, writing):
            typed = await self.type(arguments, writing, namespace=namespace)
        try:
            said = await asyncio.gather(typed.stdout.read(), errors.read(), typed.wait())
        except BaseException:
            await typed.give_up()
            raise
        output, complaint, code = said
        return code, output.decode("utf-8", "replace"), complaint.decode("utf-8", "replace")

    async def _ready(self) -> None:
        if self._starting is None:
            raise StageError("the typewriter was not started")
        # Others wait for it as well, and one of them may give up.
        await asyncio.shield(self._starting)

    async def _ask(
        self, request: Mapping[str, object], descriptors: Sequence[int]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        line = json.dumps(request).encode() + b"\n"
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(self.socket))
            socket.send_fds(connection, [line], descriptors)
            return await asyncio.open_unix_connection(sock=connection)
        except BaseException:
            connection.close()
            raise


class TypedProcess(Process):
    """A long-running process that is typed."""

    def __init__(
        self,
        typist: Typist,
        name: str,
        arguments: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        *,
        namespace: str | None,
        ready_deadline_s: float,
    ) -> None:
        super().__init__(name, arguments, log, environment, ready_deadline_s=ready_deadline_s)
        self._typist = typist
        self._namespace = namespace

    async def _spawn(self, environment: Mapping[str, str], log: IO[bytes]) -> Running:
        return await self._typist.type(
            self._arguments,
            log.fileno(),
            environment=environment,
            namespace=self._namespace,
        )


class TypedCommands(Here):
    """This machine, or a network namespace of it, whose commands are typed."""

    def __init__(
        self,
        folder: Path,
        typist: Typist,
        address: str = LOOPBACK,
        namespace: str | None = None,
        patience: float = 1.0,
    ) -> None:
        prefix = ("ip", "netns", "exec", namespace) if namespace else ()
        super().__init__(folder, address, prefix, patience)
        self._namespace = namespace
        self._typist = typist

    async def command(
        self, name: str, arguments: Sequence[str], expect: Sequence[int] = (0,)
    ) -> tuple[int, str]:
        async with asyncio.timeout(self.command_deadline_s):
            typed = await self._typist.command(arguments, namespace=self._namespace)
        return judged(name, expect, *typed)


class TypedHere(TypedCommands):
    """One whose agents are typed as well."""

    def process(
        self, name: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str]
    ) -> Process:
        return TypedProcess(
            *(self._typist, name, arguments, log, environment),
            namespace=self._namespace,
            ready_deadline_s=self.ready_deadline_s,
        )


@contextlib.asynccontextmanager
async def _pipe() -> AsyncIterator[tuple[asyncio.StreamReader, int]]:
    """Its end to be read, and the descriptor of the other, which is closed in the end.

    What reads closes itself when all that write have ended.
    """
    reading, writing = os.pipe()
    try:
        reader = asyncio.StreamReader(LONGEST_LINE_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        pipe = os.fdopen(reading, "rb", buffering=0)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
        yield reader, writing
    finally:
        os.close(writing)


async def _pid(answers: asyncio.StreamReader, asked: asyncio.StreamWriter) -> int:
    """The process that was begun. Hangs up unless that is known. Raises ValueError."""
    try:
        return int(await answers.readline())
    except BaseException:
        asked.close()
        raise
