"""Types the agents' command lines on the machines of the car (``fieldkit.car.typewriter``)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from fieldkit.car import typewriter
from fieldkit.car.machines import Machine
from fieldkit.place import Here
from fieldkit.process import Process, StageError, judged

#: It loads every agent, emulated, while others start.
_READY_DEADLINE_S: Final = 240.0


class Typist:
    """``async with Typist(folder)``: types commands. ``folder`` gets its log and its papers.

    It gets ready while the block runs; the first command waits for that.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "typewriter.sock"
        self._process = Process(
            "typewriter",
            ("-m", typewriter.__name__, str(self._socket)),
            folder / "logs" / "typewriter.log",
            ready_deadline_s=_READY_DEADLINE_S,
        )
        self._starting: asyncio.Task[object] | None = None
        self._numbers = itertools.count(1)

    async def __aenter__(self) -> Self:
        self._starting = asyncio.create_task(self._process.start())
        return self

    async def __aexit__(self, *failure: object) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self._process.stop()

    async def _ready(self) -> None:
        if self._starting is None:
            raise StageError("the typewriter was not started")
        # Others wait for it as well, and one of them may give up.
        await asyncio.shield(self._starting)

    async def command(self, machine: Machine, arguments: Sequence[str]) -> tuple[int, str, str]:
        """Run ``python ARGUMENTS`` there to its end: exit code, output, errors. StageError."""
        await self._ready()
        paper = self._folder / f"typed-{next(self._numbers)}"
        output, errors = paper.with_suffix(".out"), paper.with_suffix(".err")
        request = {
            "namespace": machine.namespace,
            "arguments": list(arguments),
            "output": str(output),
            "errors": str(errors),
        }
        try:
            code = await self._type(json.dumps(request).encode() + b"\n")
            return code, output.read_text("utf-8", "replace"), errors.read_text("utf-8", "replace")
        finally:
            output.unlink(missing_ok=True)
            errors.unlink(missing_ok=True)

    async def _type(self, request: bytes) -> int:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        with contextlib.closing(writer):
            writer.write(request)
            code = await reader.readline()
        if not code:
            raise StageError("the typewriter has broken", self._process.last_log())
        return int(code)


class TypedHere(Here):
    """A machine of the car whose commands are typed; agents are started there as everywhere."""

    def __init__(self, folder: Path, machine: Machine, patience: float, typist: Typist) -> None:
        address = machine.mobile_address or machine.wifi_address
        super().__init__(folder, address, machine.command(), patience)
        self._machine = machine
        self._typist = typist

    async def command(
        self, name: str, arguments: Sequence[str], expect: Sequence[int] = (0,)
    ) -> tuple[int, str]:
        async with asyncio.timeout(self.command_deadline_s):
            code, output, errors = await self._typist.command(self._machine, arguments)
        return judged(name, expect, code, output, errors)
