"""Where agents of a stage live: how they are started, asked and read there.

``Here`` is this machine, in its own network or in a network namespace; another machine, over SSH,
is ``fieldkit.ssh_place.There``. A stage, and the journeys on it, know no more than ``Place``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from fieldkit import trace
from fieldkit.process import READY_DEADLINE_S, Process, command
from fieldkit.trace import TraceFile
from twochannel import control

LOOPBACK: Final = "127.0.0.1"
_COMMAND_DEADLINE_S: Final = 90.0


class Place(Protocol):
    """One machine. ``address``: by which others reach it; ``folder``: of the states of agents."""

    @property
    def address(self) -> str: ...

    @property
    def folder(self) -> Path: ...

    def process(
        self, name: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str]
    ) -> Process:
        """A process that would run ``python ARGUMENTS`` there; ``log`` is here."""

    async def command(
        self, name: str, arguments: Sequence[str], expect: Sequence[int] = (0,)
    ) -> tuple[int, str]:
        """Run ``python ARGUMENTS`` to its end: exit code and output. CommandFailedError."""

    async def ask(
        self, agent: str, method: str, path: str, body: dict[str, object] | None, command: str
    ) -> dict[str, Any]:
        """One request to a running agent's control socket (``twochannel.control.ask``)."""

    async def trace(self, agent: str) -> TraceFile:
        """An agent's trace, followed from its first line."""

    async def read(self, file: Path) -> bytes:
        """The content of a file there. Raises StageError."""


class Here:
    """This machine. ``prefix``: what leads a command into another network namespace.

    ``patience``: how many times as long as on a desk everything may take.
    """

    def __init__(
        self,
        folder: Path,
        address: str = LOOPBACK,
        prefix: Sequence[str] = (),
        patience: float = 1.0,
    ) -> None:
        self.address = address
        self.folder = folder
        self.prefix = tuple(prefix)
        self._patience = patience

    @property
    def command_deadline_s(self) -> float:
        """How long a command may take."""
        return _COMMAND_DEADLINE_S * self._patience

    @property
    def ready_deadline_s(self) -> float:
        """How long an agent may take to be ready."""
        return READY_DEADLINE_S * self._patience

    def process(
        self, name: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str]
    ) -> Process:
        return Process(
            *(name, arguments, log, environment),
            prefix=self.prefix,
            ready_deadline_s=self.ready_deadline_s,
        )

    async def command(
        self, name: str, arguments: Sequence[str], expect: Sequence[int] = (0,)
    ) -> tuple[int, str]:
        line = (*self.prefix, sys.executable)
        deadline_s = self.command_deadline_s
        return await command(name, arguments, expect=expect, deadline_s=deadline_s, line=line)

    async def ask(
        self, agent: str, method: str, path: str, body: dict[str, object] | None, command: str
    ) -> dict[str, Any]:
        # A socket with a path is reached from every network namespace.
        state = self.folder / agent
        return await asyncio.to_thread(control.ask, state, method, path, body, agent=command)

    async def trace(self, agent: str) -> TraceFile:
        return TraceFile(agent, self.folder / agent / trace.FILE_NAME)

    async def read(self, file: Path) -> bytes:
        return await asyncio.to_thread(file.read_bytes)
