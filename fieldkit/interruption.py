"""SIGTERM ends a command as Ctrl-C does: in order, with every process stopped and nothing left."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """While the block runs, in the main thread. asyncio.run belongs inside of it.

    Ctrl-C means something then also where a script's shell has it ignored, as of what it runs in
    the background: else SIGTERM would mean nothing either.
    """
    ctrl_c = signal.getsignal(signal.SIGINT)
    if ctrl_c is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, ctrl_c)
