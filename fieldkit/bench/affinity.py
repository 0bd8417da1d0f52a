"""Which core a process may use: the measured one has a core of its own, its load another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def pinned_to_core(pid: int, core: int | None) -> None:
    """Keep a process, with all its threads and those to come, on ``core``; None: anywhere.

    Raises OSError if it is gone.
    """
    if core is None:
        return
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


@contextmanager
def apart() -> Iterator[int | None]:
    """Keep this process, which makes the load, on a core while the block runs; gives another one.

    None on a machine with a single core.
    """
    before = os.sched_getaffinity(0)
    if len(before) == 1:
        yield None
        return
    measured, load, *_ = sorted(before)
    os.sched_setaffinity(0, {load})
    try:
        yield measured
    finally:
        os.sched_setaffinity(0, before)
