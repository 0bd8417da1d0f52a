"""Says all that is written to a ring of files, without a gap: ``python -m fieldkit.ring_follower``.

Runs on the machine that has the ring, and ends with its standard input, hence with the connection.
``tail -F`` leaves out what was written between its last look and the turn of the ring.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from twochannel.ring import older, pieces

_LOOK_EVERY_S: Final = 0.02


class RingFollower:
    """Reads the pieces of a ring in order, by their numbers, each from where it was left."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number = 0
        self._offset = 0

    def news(self) -> Iterator[bytes]:
        """What was written since the last time. Raises OSError, but for what is not there yet."""
        for number, file in pieces(self._path):
            if number < self._number:
                continue
            try:
                yield self._rest(number, file)
            except FileNotFoundError:
                return  # the ring has turned just now; next time it has a number

    def _rest(self, number: int, file: Path) -> bytes:
        with file.open("rb") as opened:
            if file == self._path and older(file, number).exists():
                raise FileNotFoundError(file)  # turned since it was numbered: another piece now
            if number != self._number:
                self._number, self._offset = number, 0
            opened.seek(self._offset)
            data = opened.read()
        self._offset += len(data)
        return data


def follow(follower: RingFollower, out: BinaryIO, goes_on: Callable[[], bool]) -> None:
    """Write what is new to ``out`` for as long as ``goes_on`` says so, which waits meanwhile."""
    while goes_on():
        out.writelines(follower.news())
        out.flush()


def _goes_on() -> bool:
    ready, _, _ = select.select([sys.stdin], [], [], _LOOK_EVERY_S)
    return not ready or bool(os.read(sys.stdin.fileno(), 1))


if __name__ == "__main__":
    follow(RingFollower(Path(sys.argv[1])), sys.stdout.buffer, _goes_on)
