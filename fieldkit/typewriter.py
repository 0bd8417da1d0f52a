"""Runs command lines and agents without loading them anew: a Python that has loaded them all.

A command takes a second to load and far less for what it is for; where system calls are dear, as in
the virtual car, many. Here each is a fork of one process, which runs ``python -m PACKAGE …`` in
itself, as that would, on the machine it is told.

``python -m fieldkit.typewriter SOCKET`` takes one connection a command. It is asked in a line of
JSON: ``arguments`` of python, the whole ``environment``, the ``folder`` to be in, and ``namespace``
of the network or null; with it come two descriptors, standard output and standard error. It
answers with the process id and, once the command has ended, its exit code, a line each. To hang up
ends the command.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from fieldkit.process import die_with_parent

#: What the commands and agents load, some of it late.
_LOADED: Final = (
    *("cigarjack.cli", "cigarjack.agent", "cigarjack.door", "cigarjack.identity"),
    *("cigarjack.memory", "cigarjack.operator_service", "cigarjack.services"),
    *("payment_device.cli", "payment_device.agent", "payment_device.calibration"),
    "payment_device.enrolment",
    *("phone_agent.cli", "phone_agent.agent", "phone_agent.onboarding", "phone_agent.overview"),
    *("server.cli", "server.agent", "server.auditor", "server.audit_command"),
    *("server.evidence_chain", "server.evidence_commands", "server.evidence_file"),
    *("server.evidence_parties", "server.journal_proof", "server.payment_commands"),
    *("server.processors.simulated", "server.registry_commands"),
    *("server.schema.admins", "server.schema.tables"),
    *("twochannel.logs", "twochannel.radio.bluez", "twochannel.radio.bumble"),
    *("alembic.config", "bumble.transport.tcp_client"),
    *("cryptography.hazmat.backends.openssl.backend", "segno.writers"),
    *("uvicorn.lifespan.off", "uvicorn.protocols.http.h11_impl"),
    *("uvicorn.protocols.http.httptools_impl", "uvloop"),
    # Of fieldkit.processor_books, which is itself run as a program.
    "sqlite3",
)
#: setns(2), linux/sched.h.
_CLONE_NEWNET: Final = 0x40000000
_NAMESPACES: Final = Path("/run/netns")
_CHUNK_BYTES: Final = 1 << 17
#: Whoever connects has its line ready.
_REQUEST_DEADLINE_S: Final = 5.0
#: What a Python ends with whose output could not be written.
_NOT_WRITTEN: Final = 120


class _Ending:
    """How this process ends. ``code`` None: as any Python does."""

    def __init__(self) -> None:
        self.code: int | None = None
        # Before all else is loaded, for the first one that was registered is called last.
        atexit.register(self._leave)

    def is_that_of(self, ending: BaseException) -> None:
        """A text as the code of SystemExit is printed as an error, and so is any exception."""
        code = ending.code if isinstance(ending, SystemExit) else 1
        self.code = code if isinstance(code, int) else int(code is not None)
        if isinstance(ending, KeyboardInterrupt):
            self.code = None  # by the signal

    def _leave(self) -> None:
        """To tidy up would touch, and so copy, all of the typewriter's memory."""
        if self.code is None:
            return
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError):
            self.code = self.code or _NOT_WRITTEN
        os._exit(self.code)


def main() -> None:
    """Type what is asked for, until ended. In a fork of this process: be that command."""
    ending = _Ending()
    for name in _LOADED:
        importlib.import_module(name)
    # Nothing of this is garbage, and looking at it would copy it for each command.
    gc.collect()
    gc.freeze()
    path = Path(sys.argv[1])
    path.unlink(missing_ok=True)  # of one that was killed
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    print("{}", flush=True)
    _be(_Typewriter(listener).next_command(), ending)


def _be(arguments: Sequence[str], ending: _Ending) -> None:
    """Run ``python -m MODULE …`` to its end, which has all but the tidying of memory."""
    option, *sys.argv = arguments
    try:
        if option != "-m":
            raise SystemExit("only modules are typed: -m MODULE")
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except BaseException as raised:
        ending.is_that_of(raised)
        raise
    ending.code = 0


@dataclass(slots=True)
class _Command:
    """One that runs. ``ended``: a descriptor of its process; ``asker`` is told, or hangs up."""

    pid: int
    ended: int
    asker: socket.socket

    def tell(self, number: int) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.asker.sendall(b"%d\n" % number)

    def close(self) -> None:
        os.close(self.ended)
        self.asker.close()


class _Typewriter:
    """Waits for requests, for the ends of commands, and for those who hang up."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._commands: list[_Command] = []
        self._waiting = selectors.DefaultSelector()
        self._wait(listener, self._take)

    def next_command(self) -> list[str]:
        """Return in a process that is to be a command, and nowhere else: python's arguments."""
        while True:
            # One at a time: it may do away with what others of these are about.
            (key, _), *_ = self._waiting.select()
            arguments: list[str] | None = key.data()
            if arguments:
                return arguments

    def _wait(self, source: int | socket.socket, then: Callable[[], list[str] | None]) -> None:
        self._waiting.register(source, selectors.EVENT_READ, then)

    def _take(self) -> list[str] | None:
        """Fork; in the new process the arguments."""
        asker, _ = self._listener.accept()
        text, descriptors = _request(asker)
        if not text:
            _close_all(descriptors)
            asker.close()
            return None
        if (pid := os.fork()) == 0:
            asker.close()
            self._close()
            return _become_command(json.loads(text), descriptors)
        _close_all(descriptors)  # whoever reads waits for the last writer
        command = _Command(pid, os.pidfd_open(pid), asker)
        self._commands.append(command)
        command.tell(pid)
        self._wait(command.ended, partial(self._end, command))
        self._wait(asker, partial(self._give_up, command))
        return None

    def _end(self, command: _Command) -> None:
        _, status = os.waitpid(command.pid, 0)
        self._waiting.unregister(command.ended)
        with contextlib.suppress(KeyError):
            self._waiting.unregister(command.asker)
        command.tell(os.waitstatus_to_exitcode(status))
        command.close()
        self._commands.remove(command)

    def _give_up(self, command: _Command) -> None:
        """Whoever asked has hung up."""
        self._waiting.unregister(command.asker)
        os.kill(command.pid, signal.SIGKILL)

    def _close(self) -> None:
        """In a command: have nothing of the typewriter's."""
        self._waiting.close()
        self._listener.close()
        for command in self._commands:
            command.close()


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _become_command(request: Mapping[str, Any], descriptors: Sequence[int]) -> list[str]:
    """Should it crash, faulthandler tells where: the typewriter's, on the same descriptor 2."""
    die_with_parent()
    for number, descriptor in enumerate(descriptors, start=1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    if request["namespace"]:
        _enter(request["namespace"])
    arguments: list[str] = request["arguments"]
    return arguments


def _request(asker: socket.socket) -> tuple[bytes, Sequence[int]]:
    """A line and the descriptors that came with it. Empty if no whole line comes."""
    asker.settimeout(_REQUEST_DEADLINE_S)
    text, descriptors = b"", list[int]()
    try:
        text, descriptors, _, _ = socket.recv_fds(asker, _CHUNK_BYTES, 2)
        while not text.endswith(b"\n"):
            more = asker.recv(_CHUNK_BYTES)
            if not more:
                return b"", descriptors
            text += more
    except OSError:
        return b"", descriptors
    return text, descriptors


def _enter(namespace: str) -> None:
    with (_NAMESPACES / namespace).open("rb") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter the network of {namespace}")


if __name__ == "__main__":
    main()
