"""Another machine of a stage, over SSH: OpenSSH's own client, one connection for each agent.

The connection is a master that all else goes through, and carries a clock: a program there that
says its CLOCK_MONOTONIC, by which the times of traces there become times here. A control socket
there is forwarded to one here. A process there ends with the connection, however that is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from fieldkit import trace
from fieldkit.process import (
    LONGEST_LINE_BYTES,
    READY_DEADLINE_S,
    Process,
    Running,
    StageError,
    command,
    die_with_parent,
)
from fieldkit.trace import TraceFile
from twochannel import control

_CONNECT_DEADLINE_S: Final = 30.0
_CLOCK_QUESTIONS: Final = 9
_ASKED_AGAIN_S: Final = 0.5
#: Says the time for each line that it is asked. Loads as little as Python can.
_CLOCK: Final = "import sys,time\nfor _ in sys.stdin: print(time.monotonic_ns(), flush=True)"
#: Says the process's id, and kills it when the connection, hence standard input, ends.
_SUPERVISED: Final = """\
exec 3<&0
{command} </dev/null 3<&- & pid=$!
echo "$pid"
(cat <&3; kill -KILL "$pid") >/dev/null 2>&1 & watch=$!
wait "$pid"; code=$?
kill "$watch" 2>/dev/null
exit "$code"
"""


@dataclass(frozen=True, slots=True)
class Login:
    """How a machine is entered: ``target`` and ``options`` as ``ssh`` takes them; its Python."""

    target: str
    options: Sequence[str] = ()
    python: str = "python3"


async def end_process(process: asyncio.subprocess.Process) -> None:
    """Ask a process to end until it has.

    A signal that reaches ssh just before it waits is noted there and wakes nothing: it would end
    when it next has something to do, minutes later.
    """
    while process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ASKED_AGAIN_S):
                await process.wait()


class There:
    """A place for one agent. ``folder_here`` gets its trace and sockets: a short path.

    ``patience``: as for ``fieldkit.place.Here``.
    """

    def __init__(
        self, login: Login, address: str, folder_here: Path, patience: float = 1.0
    ) -> None:
        self.address = address
        #: Set once it is connected.
        self.folder = Path()
        self._login = login
        self._here = folder_here
        self._patience = patience
        self._master: asyncio.subprocess.Process | None = None
        self._follower: asyncio.subprocess.Process | None = None
        self._forwarding = asyncio.Lock()
        self._shift_ns = 0

    # --- the connection

    async def connect(self) -> None:
        """Connect, make a folder there, compare clocks. Raises StageError."""
        if shutil.which("ssh") is None:
            raise StageError("There is no ssh here; install it: apt install openssh-client")
        self._here.mkdir(parents=True, exist_ok=True)
        clock = shlex.join((self._login.python, "-u", "-c", _CLOCK))
        with self._log.open("ab") as log:
            self._master = await asyncio.create_subprocess_exec(
                *("ssh", "-M", *self._options, self._login.target, clock),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                preexec_fn=die_with_parent,
            )
        try:
            async with asyncio.timeout(_CONNECT_DEADLINE_S * self._patience):
                self._shift_ns = await self._compare_clocks()
        except (TimeoutError, OSError, ValueError):
            said = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
            hint = "check ssh and python of this host in the bench file"
            raise StageError(f"{self._login.target} cannot be used; {hint}", said[-5:]) from None
        made = await self.run(("mktemp", "-d", "/tmp/cj-XXXXXX"))  # noqa: S108
        self.folder = Path(made.strip())

    @property
    def shift_ns(self) -> int:
        """Nanoseconds to add to a CLOCK_MONOTONIC there for that of this machine."""
        return self._shift_ns

    async def close(self) -> None:
        """Remove the folder there and end the connection."""
        if self.folder.name.startswith("cj-"):
            with contextlib.suppress(StageError):
                await self.run(("rm", "-rf", str(self.folder)))
        for process in (self._follower, self._master):
            if process is not None:
                await end_process(process)

    async def _compare_clocks(self) -> int:
        """Nanoseconds to add to a time there; right to half of the quickest answer's way."""
        best = (1 << 63, 0)
        for _ in range(_CLOCK_QUESTIONS):
            asked_ns = time.monotonic_ns()
            there_ns = await self._time_there()
            answered_ns = time.monotonic_ns()
            best = min(best, (answered_ns - asked_ns, (asked_ns + answered_ns) // 2 - there_ns))
        return best[1]

    async def _time_there(self) -> int:
        master = self._master
        if master is None or master.stdin is None or master.stdout is None:
            raise ValueError("not connected")
        master.stdin.write(b"\n")
        await master.stdin.drain()
        return int(await master.stdout.readline())

    @property
    def _options(self) -> Sequence[str]:
        socket = ("-S", str(self._here / "ssh.sock"), "-o", "BatchMode=yes", "-T")
        return (*socket, *self._login.options)

    @property
    def _log(self) -> Path:
        return self._here / "ssh.log"

    def line(self, words: Sequence[str]) -> Sequence[str]:
        """The command here that runs ``words`` there."""
        return ("ssh", *self._options, self._login.target, shlex.join(words))

    async def run(self, words: Sequence[str]) -> str:
        """Run a program there to its end; what it printed. Raises StageError."""
        return (await self._output(self.line(words), words[0])).decode("utf-8", "replace")

    async def _output(self, line: Sequence[str], name: str) -> bytes:
        try:
            done = await asyncio.to_thread(
                subprocess.run,
                line,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_CONNECT_DEADLINE_S * self._patience,
                check=True,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            said = str(error.stderr or b"", "utf-8", "replace").strip().splitlines()
            why = said[-1] if said else "it said nothing"
            raise StageError(f"{name} failed on {self._login.target}: {why}", said[-5:]) from None
        return done.stdout

    # --- fieldkit.place.Place

    def process(
        self, name: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str]
    ) -> Process:
        return ProcessThere(self, name, arguments, log, environment, self._patience)

    def supervised(self, arguments: Sequence[str], environment: Mapping[str, str]) -> Sequence[str]:
        """The command here that keeps ``python ARGUMENTS`` running there while it runs itself."""
        settings = (f"{name}={value}" for name, value in environment.items())
        run = shlex.join(("env", *settings, self._login.python, *arguments))
        return self.line(("sh", "-c", _SUPERVISED.format(command=run)))

    async def command(
        self, name: str, arguments: Sequence[str], expect: Sequence[int] = (0,)
    ) -> tuple[int, str]:
        line = self.line((self._login.python, *arguments))
        return await command(name, (), expect=expect, line=line)

    async def ask(
        self, agent: str, method: str, path: str, body: dict[str, object] | None, command: str
    ) -> dict[str, Any]:
        socket = self._here / control.SOCKET_NAME
        async with self._forwarding:
            if not socket.exists():
                there = self.folder / agent / control.SOCKET_NAME
                forward = ("-O", "forward", "-L", f"{socket}:{there}", self._login.target)
                await self._output(("ssh", *self._options, *forward), "forwarding")
        return await asyncio.to_thread(control.ask, self._here, method, path, body, agent=command)

    async def trace(self, agent: str) -> TraceFile:
        """Follows to a copy here, also as the ring turns; times become those of this machine."""
        copy, there = self._here / trace.FILE_NAME, self.folder / agent / trace.FILE_NAME
        with copy.open("ab") as out, self._log.open("ab") as log:
            self._follower = await asyncio.create_subprocess_exec(
                *self.line((self._login.python, "-m", "fieldkit.ring_follower", str(there))),
                stdin=asyncio.subprocess.PIPE,
                stdout=out,
                stderr=log,
                preexec_fn=die_with_parent,
            )
        return TraceFile(agent, copy, shift_ns=self._shift_ns)

    async def read(self, file: Path) -> bytes:
        return await self._output(self.line(("cat", str(file))), "cat")


class ProcessThere(Process):
    """A process on another machine. Its id is the one that it has there."""

    def __init__(
        self,
        place: There,
        name: str,
        arguments: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        patience: float,
    ) -> None:
        super().__init__(
            *(name, arguments, log, environment), ready_deadline_s=READY_DEADLINE_S * patience
        )
        self._place = place
        self._pid_there = 0
        self._supervisor: asyncio.StreamWriter | None = None

    @property
    def pid(self) -> int:
        if not self._pid_there:
            raise StageError(f"{self.name} was not started")
        return self._pid_there

    async def _spawn(self, environment: Mapping[str, str], log: IO[bytes]) -> Running:
        process = await asyncio.create_subprocess_exec(
            *self._place.supervised(self._arguments, environment),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            limit=LONGEST_LINE_BYTES,
            preexec_fn=die_with_parent,
        )
        try:
            async with asyncio.timeout(self._ready_deadline_s):
                self._pid_there = int(await process.stdout.readline() if process.stdout else b"")
        except (TimeoutError, ValueError):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise StageError(f"{self.name} was not started there", self.last_log()) from None
        self._supervisor = process.stdin
        return process

    async def _signal(self, number: signal.Signals) -> None:
        if not self.running:
            return
        with contextlib.suppress(StageError):
            await self._place.run(("kill", f"-{number.value}", str(self._pid_there)))
        if number is signal.SIGKILL and self._supervisor is not None:
            # Where the connection is bad, this is heard there when it is noticed.
            self._supervisor.close()
