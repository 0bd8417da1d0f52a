"""A ring of files: always written to, bounded in size and age, and hardly hurt by a power cut.

``name.jsonl`` is written now; ``name.000001.jsonl`` and so on came before it. A piece is never
changed again, so that whoever collects them resumes by their names. What was written is on disk
within a second, by a thread, so that a slow SD card holds nobody up.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: After a power cut, what was written in the last second may be missing.
SYNC_EVERY_S: Final = 1.0
#: So much of the ring goes at once when it is full.
_PIECES: Final = 8
_DAY_S: Final = 86_400
#: A clock that tells an earlier time (than 2025) is wrong, and no file's age is known by it.
_EARLIEST_S: Final = 1_735_689_600


@dataclass(frozen=True, slots=True)
class Keep:
    """At most ``mib`` MiB, of the last ``days`` days. A piece is an eighth, or a day (UTC)."""

    mib: int = 64
    days: int = 30

    @property
    def piece_bytes(self) -> int:
        return self.mib * 2**20 // _PIECES


#: What is kept unless somebody says otherwise.
USUAL: Final = Keep()


def pieces(path: Path) -> list[tuple[int, Path]]:
    """What there is of a ring, numbered, the oldest first; the piece being written comes last."""
    found = sorted((number, file) for file in _siblings(path) if (number := _number(path, file)))
    newest = found[-1][0] if found else 0
    return [*found, (newest + 1, path)] if path.exists() else found


def older(path: Path, number: int) -> Path:
    """What a piece is called when it is written no more."""
    return path.with_name(f"{path.stem}.{number:06}{path.suffix}")


def _siblings(path: Path) -> list[Path]:
    return list(path.parent.glob(f"{path.stem}.*{path.suffix}"))


def _number(path: Path, file: Path) -> int:
    """0 for a file that is no older piece of this ring."""
    digits = file.name.removeprefix(f"{path.stem}.").removesuffix(path.suffix)
    return int(digits) if digits.isascii() and digits.isdigit() else 0


class Ring:
    """The writer. One for each path at a time."""

    def __init__(
        self,
        path: Path,
        keep: Keep,
        *,
        header: bytes = b"",
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """Its folder is made. Raises OSError.

        With a ``header`` every piece begins with it, records are written whole or not at all, and
        what was written before is left alone: a new piece is begun.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._keep = keep
        self._header = header
        self._now_s = now_s
        self._lock = threading.Lock()
        self._descriptor, self._size, self._written_s = self._opened()
        self._turns = -1 if header and self._size else 0
        if self._turns:
            self._turn()
        self._forget()
        self._dirty = threading.Event()
        self._closing = threading.Event()
        self._syncing = threading.Thread(target=self._sync_for_ever, name="ring", daemon=True)
        self._syncing.start()

    def write(self, data: bytes) -> bool:
        """Hand ``data`` to the operating system in one write. Whether it took all.

        Raises OSError.
        """
        return self.write_made(lambda _piece: data)

    def write_made(self, make: Callable[[int], bytes]) -> bool:
        """As ``write``, of what is made for the piece that it goes to; the first one here is 0."""
        with self._lock:
            now_s = self._now_s()
            data = make(self._turns)
            another_day = now_s // _DAY_S != self._written_s // _DAY_S
            full = another_day or self._size + len(data) > self._keep.piece_bytes
            if full and self._size > len(self._header):
                self._turn()
                data = make(self._turns)
            self._begin()
            written = os.write(self._descriptor, data)
            self._cut_back(bool(self._header) and written < len(data), self._size)
            self._size, self._written_s = self._size + written, now_s
        self._dirty.set()
        return written == len(data)

    @property
    def number(self) -> int:
        """Of the piece that is written now."""
        return pieces(self._path)[-1][0]

    def close(self) -> None:
        """What was written is on disk then."""
        self._closing.set()
        self._dirty.set()
        self._syncing.join()
        os.close(self._descriptor)

    def _opened(self) -> tuple[int, int, float]:
        """The piece to write to, how large it is, and when it was written to."""
        # Who paid where and when is nobody else's business.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        status = os.fstat(descriptor)
        return descriptor, status.st_size, status.st_mtime if status.st_size else self._now_s()

    def _begin(self) -> None:
        """Write the header of a new piece."""
        if self._header and not self._size:
            self._size = os.write(self._descriptor, self._header)
            self._cut_back(self._size < len(self._header), 0)

    def _cut_back(self, cut_short: bool, size: int) -> None:
        """Records have no mark at which reading could begin again."""
        if cut_short:
            os.ftruncate(self._descriptor, size)
            self._size = size
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _turn(self) -> None:
        number, _ = pieces(self._path)[-1]
        before = self._descriptor
        with contextlib.suppress(FileNotFoundError):  # it was, and a full disk gave no next one
            self._path.rename(older(self._path, number))
        self._descriptor, self._size, self._written_s = self._opened()
        self._turns += 1
        _sync(before)
        os.close(before)
        self._forget()

    def _forget(self) -> None:
        """Remove what is too much or too old, never the newest: by its number the next is named."""
        *before, _ = pieces(self._path)
        room = self._keep.mib * 2**20 - self._keep.piece_bytes
        for place, (_, file) in enumerate(reversed(before)):
            status = file.stat()
            room -= status.st_size
            if place and (room < 0 or self._too_old(status.st_mtime)):
                file.unlink()

    def _too_old(self, written_s: float) -> bool:
        now_s = self._now_s()
        clocks_are_right = min(written_s, now_s) >= _EARLIEST_S
        return clocks_are_right and now_s - written_s > self._keep.days * _DAY_S

    def _sync_for_ever(self) -> None:
        closing = False
        while not closing:
            self._dirty.wait()
            self._dirty.clear()
            closing = self._closing.is_set()
            with self._lock:
                descriptor = os.dup(self._descriptor)
            _sync(descriptor)
            os.close(descriptor)
            self._closing.wait(SYNC_EVERY_S)


def _sync(descriptor: int) -> None:
    """A device that cannot be synchronised holds nothing back."""
    with contextlib.suppress(OSError):
        os.fdatasync(descriptor)
