"""An agent's state folder: where it is, and that one agent at a time runs in it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from twochannel.control import SOCKET_NAME

#: sockaddr_un holds 108 bytes; a few are left for tools that append to a path.
MAX_SOCKET_PATH_BYTES: Final = 100
#: What the machine does not tell.
UNKNOWN: Final = "unknown"


class StateFolderError(Exception):
    """The folder cannot be used. The text says what to do next."""


class FolderInUseError(StateFolderError):
    """A running agent has it."""


def default_folder(command: str, environment: Mapping[str, str]) -> Path:
    """``/var/lib/<command>`` for root, else in the user's own state (XDG base directories)."""
    if os.geteuid() == 0:
        return Path("/var/lib") / command
    home = environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / command


def make(folder: Path) -> None:
    """Make the folder, private to its user, if it is not there. Raises StateFolderError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StateFolderError(
            f"cannot make {folder} ({error.strerror}); choose another with --state"
        ) from None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for one running agent. Raises StateFolderError.

    The kernel lets go of the lock when the process dies, however it dies.
    """
    make(folder)
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateFolderError(
            f"cannot write in {folder} ({error.strerror}); be its owner, or choose another with"
            " --state"
        ) from None
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def held(folder: Path) -> Iterator[Path]:
    """``locked``, for an agent with a control socket; gives its path. Raises StateFolderError."""
    socket = folder / SOCKET_NAME
    if len(os.fsencode(socket.absolute())) > MAX_SOCKET_PATH_BYTES:
        raise StateFolderError(
            f"the path of the state folder is too long for a socket in it: {folder};"
            " choose a shorter one with --state"
        )
    with locked(folder):
        # With the lock in hand, a socket file is what a dead agent left behind.
        socket.unlink(missing_ok=True)
        yield socket


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FolderInUseError(
            f"an agent is already running in {folder}; stop it, or choose another --state"
        ) from None


def filesystem_of(folder: Path, mounts: str) -> str:
    """The type of the file system that ``folder`` lies on, from the text of ``/proc/mounts``.

    On a ``tmpfs`` an fsync costs nothing, so no figure means anything without this.
    """
    found, depth = UNKNOWN, -1
    for line in mounts.splitlines():
        columns = line.split()
        if len(columns) < 3:
            continue
        point = Path(columns[1].replace("\\040", " "))
        # A later mount on the same point hides the earlier one.
        if folder.is_relative_to(point) and len(point.parts) >= depth:
            found, depth = columns[2], len(point.parts)
    return found
