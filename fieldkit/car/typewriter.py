"""Runs command lines of the agents without loading them anew: a Python that has loaded them all.

Emulated, a command takes seconds to load and far less for what it is for. Here each is a fork of
one process, which runs ``python -m PACKAGE …`` in itself, as that would, on the machine it is told.
Agents that stay are not started in this way.

``python -m fieldkit.car.typewriter SOCKET`` takes one connection a command. It is asked in a line
of JSON: ``namespace`` of the network or null, ``arguments`` of python, and the files ``output`` and
``errors``. It answers with the exit code once the command has ended. To hang up ends the command.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any, Final

from fieldkit.process import die_with_parent

#: What the commands load, some of it late.
_LOADED: Final = (
    *("cigarjack.cli", "cigarjack.identity", "cigarjack.memory"),
    *("payment_device.cli", "payment_device.agent", "payment_device.enrolment"),
    *("phone_agent.cli", "phone_agent.agent", "phone_agent.overview"),
    *("server.cli", "server.agent", "server.audit_command", "server.evidence_commands"),
    *("server.payment_commands", "server.registry_commands"),
    "fieldkit.processor_books",
)
#: setns(2), linux/sched.h.
_CLONE_NEWNET: Final = 0x40000000
_NAMESPACES: Final = Path("/run/netns")


def main() -> None:
    """Type what is asked for, until ended. In a fork of this process: be that command."""
    for name in _LOADED:
        importlib.import_module(name)
    # Nothing of this is garbage, and looking at it would copy it for each command.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen()
        print("{}", flush=True)
        arguments = _next_command(listener)
    sys.argv = arguments[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _next_command(listener: socket.socket) -> list[str]:
    """Return in a process that is to be a command, and nowhere else: python's arguments."""
    while True:
        connection, _ = listener.accept()
        with connection:
            if os.fork() == 0:
                return _become_command(connection)


def _become_command(connection: socket.socket) -> list[str]:
    """Fork once more, for somebody must wait for the exit code and tell it."""
    die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with connection.makefile("rb") as asked:
        request: dict[str, Any] = json.loads(asked.readline())
    if command := os.fork():
        _wait_for(command, connection)
        os._exit(0)
    die_with_parent()
    for number, file in ((1, request["output"]), (2, request["errors"])):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    if request["namespace"]:
        _enter(request["namespace"])
    arguments: list[str] = request["arguments"]
    return arguments


def _wait_for(command: int, connection: socket.socket) -> None:
    ended = os.pidfd_open(command)
    if ended not in select.select((ended, connection.fileno()), (), ())[0]:
        os.kill(command, signal.SIGKILL)  # whoever asked has given up
    _, status = os.waitpid(command, 0)
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


def _enter(namespace: str) -> None:
    with (_NAMESPACES / namespace).open("rb") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter the network of {namespace}")


if __name__ == "__main__":
    main()
