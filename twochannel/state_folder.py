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


class StateFolderError(Exception):
    """The folder cannot be used. The text says what to do next."""


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
        raise StateFolderError(
            f"an agent is already running in {folder}; stop it, or choose another --state"
        ) from None
